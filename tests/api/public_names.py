"""The public API as text: every public name, its signature, and the first line of its docstring.

``python tests/api/public_names.py`` writes the files in ``names/`` anew, where a change is meant.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final, ForwardRef, get_origin

from django.conf import settings

#: One file each. Of a module without ``__all__``, what it defines itself is public.
MODULES: Final = (
    "rolecall",
    "rolecall.connector",
    "rolecall.errors",
    "rolecall.events",
    "rolecall.hookspecs",
    "rolecall.media",
    "rolecall.media.calls",
    "rolecall.media.tokens",
    "rolecall.moderation",
    "rolecall.observing",
    "rolecall.opentok",
    "rolecall.policies",
    "rolecall.stores",
    "rolecall.testing",
    "rolecall.testing.conformance",
    "rolecall.testing.store_parts",
    "rolecall.testing.stores",
    "rolecall_aiohttp",
    "rolecall_django",
    "rolecall_django.channels",
    "rolecall_django.rest",
    "rolecall_flask",
    "rolecall_graphql",
    "rolecall_socketio",
    "rolecall_starlette",
    "rolecall_fastapi",
    "rolecall_tornado",
    "rolecall_wsgi",
)
NAMES: Final = Path(__file__).parent / "names"
# What an app writes without its name: with, async with, a call.
_SPECIAL: Final = ("__call__", "__enter__", "__aenter__")


def file_of(module: str) -> Path:
    """Where the names of a module are kept."""
    return NAMES / f"{module}.txt"


def lines_of(module: str) -> Iterator[str]:
    """The public names of a module, one a line; what belongs to a class is indented below it."""
    loaded = import_module(module)
    public = {name: getattr(loaded, name) for name in sorted(_public_names(loaded))}
    top = import_module("rolecall")
    short = {name: getattr(top, name) for name in top.__all__}
    for name, value in public.items():
        if module.startswith("rolecall.") and short.get(name) is value:
            yield f"{name} = rolecall.{name}"
        elif get_origin(value) is Annotated:
            yield f"{name} = Annotated[{value.__origin__.__name__}]"
        elif inspect.isclass(value):
            yield from _lines_of_class(name, value, [*public.values()])
        elif _is_function_like(value):
            yield f"{_kind(value)} {name}{_signature(value)}{_first_line(value)}"
        else:
            yield f"{name}: {type(value).__name__}"


def _is_function_like(value: Any) -> bool:
    """Whether it is called, and no proxy, which would ask for the request that it stands for."""
    return callable(value) and type(value).__name__ != "LocalProxy"


def _public_names(module: ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def _lines_of_class(name: str, cls: type, public: list[object]) -> Iterator[str]:
    hidden = [object, *(base for base in cls.__bases__ if _is_private_base(base, public))]
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base not in hidden)
    yield f"class {name}{f'({bases})' if bases else ''}{_first_line(cls)}"
    if issubclass(cls, Enum):
        yield f"    = {', '.join(cls.__members__)}"
    elif not getattr(cls, "_is_protocol", False) and any(map(inspect.isfunction, (cls.__init__, cls.__new__))):
        yield f"    (){_signature(cls)}"
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base is cls or _is_private_base(base, public):
            members |= vars(base)
    for member in sorted(members):
        if (not member.startswith("_") or member in _SPECIAL) and cls not in type(members[member]).__mro__:
            yield f"    {_member(member, members[member])}"


def _is_private_base(base: type, public: list[object]) -> bool:
    """Whether what this base has is said nowhere else."""
    own = base.__module__.partition(".")[0].startswith("rolecall")
    return own and base not in public and not issubclass(base, Exception)


def _member(name: str, value: Any) -> str:
    if isinstance(value, property):
        getter: Any = value.fget
        written = "" if value.fset is None else ", settable"
        return f"{name}: {_annotation(inspect.signature(getter).return_annotation)}{written}{_first_line(value)}"
    if isinstance(value, classmethod | staticmethod):
        return f"{type(value).__name__} {name}{_signature(value.__func__)}{_first_line(value.__func__)}"
    if inspect.isroutine(value) and not inspect.isbuiltin(value):
        try:
            return f"{_kind(value)} {name}{_signature(value)}{_first_line(value)}"
        except (TypeError, ValueError):  # a slot, or a field of a NamedTuple
            pass
    if inspect.isdatadescriptor(value):
        return name
    return f"{name} = {value!r}" if isinstance(value, str | int | None) else f"{name}: {type(value).__name__}"


def _kind(function: Any) -> str:
    return "async def" if inspect.iscoroutinefunction(function) else "def"


def _signature(value: Any) -> str:
    """As ``inspect`` has it, in the same words on every version of Python."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "(…)"
    parameters = [
        parameter.replace(annotation=_Text(_annotation(parameter.annotation)), default=_default(parameter))
        if parameter.annotation is not parameter.empty
        else parameter.replace(default=_default(parameter))
        for parameter in signature.parameters.values()
    ]
    returned = signature.return_annotation
    text = str(signature.replace(parameters=parameters, return_annotation=signature.empty))
    return text if returned is signature.empty else f"{text} -> {_annotation(returned)}"


class _Text:
    """Something that is shown as this text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _default(parameter: inspect.Parameter) -> Any:
    if parameter.default is parameter.empty:
        return parameter.empty
    return _Text(re.sub(r" at 0x[0-9a-f]+", "", repr(parameter.default)))


def _annotation(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    return inspect.formatannotation(annotation).replace("typing.", "")


def _first_line(value: Any) -> str:
    # Its own: what is inherited says nothing of it.
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    return f"  # {inspect.cleandoc(doc).splitlines()[0]}" if doc else ""


if __name__ == "__main__":
    settings.configure()  # Django REST framework reads them as it is imported
    for module in MODULES:
        file_of(module).write_text("".join(f"{line}\n" for line in lines_of(module)), "utf-8")
