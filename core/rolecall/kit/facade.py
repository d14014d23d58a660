"""Methods derived from others, so that each signature and docstring is written once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")
Facade = TypeVar("Facade")
_Function = TypeVar("_Function", bound=Callable[..., Any])


def derived(
    function: _Function,
    method: Callable[..., Any],
    *,
    name: str | None = None,
    returned: str | None = None,
    without: str | None = None,
) -> _Function:
    """Give ``function`` the name, the signature and the docstring of the method that it calls.

    :param name: the name, if it differs.
    :param returned: the class of the result, if it differs.
    :param without: an argument of ``method`` that ``function`` does not have.
    """
    made: Any = function
    made.__name__ = made.__qualname__ = name or method.__name__
    made.__doc__ = method.__doc__ if without is None else _without(without, method.__doc__ or "")
    # Not __wrapped__, which would make a sync function look like the async one that it calls.
    signature = inspect.signature(method)
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name != without]
    made.__signature__ = signature.replace(parameters=parameters)
    # Evaluated, because names in the method's annotations may be unknown in the function's module.
    made.__annotations__ = inspect.get_annotations(method, eval_str=True)
    made.__annotations__.pop(without, None)
    if returned is not None:
        made.__signature__ = made.__signature__.replace(return_annotation=returned)
        made.__annotations__["return"] = returned
    return function


def written_out(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, Result]],
) -> Callable[[Callable[Concatenate[Facade, P], Result]], Callable[Concatenate[Facade, P], Result]]:
    """Give a method that is written out for speed the docstring of the async one; type checkers compare signatures."""

    def document(function: Callable[Concatenate[Facade, P], Result]) -> Callable[Concatenate[Facade, P], Result]:
        function.__doc__ = method.__doc__
        return function

    return document


def _without(argument: str, doc: str) -> str:
    return re.sub(rf"\n *:param {argument}:.*?(?=\n *:|\n *\Z)", "", doc, flags=re.DOTALL)
