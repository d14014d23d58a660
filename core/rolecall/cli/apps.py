"""Finds the app of the command line, and the adapters that can list its routes."""

from __future__ import annotations

import ast
import gc
import importlib
import inspect
import re
import sys
import traceback
from contextlib import redirect_stdout
from importlib.metadata import entry_points
from types import FrameType, ModuleType
from typing import Any, Final

from ..http.guards.audit import Adapter, GuardedRoute, list_routes
from ..kit import Rolecall
from ..wording import printable, shown

#: An app's usual names, tried if the command line has none.
NAMES: Final = ("app", "application")
_FACTORIES: Final = ("create_app", "make_app")
_EXPECTED: Final = "expected MODULE:APP, for example school.web:app or 'school.web:create_app()'"
_REFERENCE: Final = re.compile(
    r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?::([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\(.*\))?)?", re.DOTALL
)
#: The entry point group of adapters. Each entry is named after a module that every app of its framework imports.
ADAPTERS: Final = "rolecall.adapters"


class AppNotFound(Exception):
    """There is no such app; ``hint`` is advice."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def find_app(reference: str) -> Any:
    """The app at ``module:attribute``, or the app that the factory ``module:create_app(testing=True)`` returns.

    A factory's arguments are literals, as in Flask's command.

    :raises AppNotFound: says what is wrong.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise AppNotFound(f"{shown(reference, 80)} names no app; {_EXPECTED}")
    # The output of the app's import is no part of the answer.
    with redirect_stdout(sys.stderr):
        module = _import(match[1])
        app = _attribute(module, match[2]) if match[2] else _default(module)
        if match[3]:
            app = _call(app, reference, *_arguments(match[3], reference))
    if not _is_app(app) and not any(adapter.is_app(app) for adapter in adapters()):
        raise AppNotFound(f"{reference} is {_described(app)}, and no app", _factory_hint(reference, app))
    return app


def find_app_and_kits(reference: str) -> tuple[Any, list[Rolecall]]:
    """:func:`find_app`, and the app's kits: those that its module holds by name, and those made meanwhile."""
    before = _living_kits()
    app = find_app(reference)
    beside = vars(sys.modules[reference.partition(":")[0]]).values()
    kits = [
        *(value for value in beside if isinstance(value, Rolecall)),
        # A factory, or another module, may keep a kit anywhere.
        *(kit for kit in _living_kits() if all(kit is not one for one in before)),
    ]
    return app, list({id(kit): kit for kit in kits}.values())


def routes_of(app: Any) -> list[GuardedRoute]:
    """The routes of an app, by the adapters of the frameworks that are imported."""
    return list_routes(app, [adapter.routes_of for adapter in adapters()])


def adapters() -> list[Adapter]:
    """The installed adapters of the frameworks that are imported, by the names of their entry points."""
    return [point.load() for point in sorted(entry_points(group=ADAPTERS)) if point.name in sys.modules]


def _living_kits() -> list[Rolecall]:
    # By their own type: an object that stands for another one, as in Flask, may fail when it is asked for its class.
    return [one for one in gc.get_objects() if issubclass(type(one), Rolecall)]


def _import(name: str) -> ModuleType:
    # As web servers do: the current folder may hold the app, and comes first.
    if not sys.flags.safe_path and "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            hint = "Run this in the folder from which the app is served, or install the app's package."
            raise AppNotFound(f"there is no module {error.name!r}; {_EXPECTED}", hint) from None
        raise _failed(f"importing {name!r}", error) from None
    except (Exception, SystemExit) as error:
        raise _failed(f"importing {name!r}", error) from None


def _attribute(module: ModuleType, path: str) -> Any:
    value: Any = module
    for name in path.split("."):
        try:
            value = getattr(value, name)
        except AttributeError:
            raise AppNotFound(f"the module {module.__name__!r} has no {path!r}", _apps_in(module)) from None
    return value


def _default(module: ModuleType) -> Any:
    for name in NAMES:
        if hasattr(module, name):
            return getattr(module, name)
    raise AppNotFound(f"the module {module.__name__!r} has neither 'app' nor 'application'", _apps_in(module))


def _apps_in(module: ModuleType) -> str:
    """A hint at apps that the module has."""
    factories = [f"{name}()" for name in _FACTORIES if callable(getattr(module, name, None))]
    apps = [name for name, value in vars(module).items() if not name.startswith("_") and _looks_like_an_app(value)]
    if not apps and not factories:
        return ""
    return "Perhaps: " + ", ".join(f"{module.__name__}:{name}" for name in [*apps, *factories])


def _looks_like_an_app(value: Any) -> bool:
    if isinstance(value, type) or inspect.isroutine(value):
        return False
    return _is_app(value) or any(adapter.is_app(value) for adapter in adapters())


def _arguments(brackets: str, reference: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments in brackets: Python literals."""
    try:
        call = ast.parse(f"factory{brackets}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("no call")
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        if None in named:
            raise ValueError("a mapping with stars")
        return tuple(map(ast.literal_eval, call.args)), {str(name): value for name, value in named.items()}
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise AppNotFound(
            f"the arguments in {shown(reference, 80)} are no literals; expected such as "
            "'school.web:create_app(testing=True)'"
        ) from None


def _call(factory: Any, reference: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not callable(factory):
        raise AppNotFound(f"{reference.partition('(')[0]} is {_described(factory)}, and cannot be called")
    try:
        inspect.signature(factory).bind(*args, **kwargs)
    except TypeError as error:
        how = "with these arguments" if args or kwargs else "without arguments"
        raise AppNotFound(f"{shown(reference, 80)} cannot be called {how}: {error}") from None
    except ValueError:  # no signature: the call itself will show
        pass
    try:
        return factory(*args, **kwargs)
    except (Exception, SystemExit) as error:
        raise _failed(f"calling {reference}", error) from None


def _is_app(value: Any) -> bool:
    """Whether a server could call it as a WSGI or ASGI app: with two arguments, or with three."""
    if isinstance(value, type) or not callable(value):
        return False
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # no signature
        return True
    except Exception:  # a proxy for an object that exists only during a request
        return False
    return any(_binds(signature, count) for count in (2, 3))


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _factory_hint(reference: str, value: Any) -> str:
    is_factory = inspect.isroutine(value) and not reference.endswith(")")
    return f"If it makes the app, write it with brackets: '{reference}()'" if is_factory else ""


def _described(value: Any) -> str:
    if isinstance(value, ModuleType):
        return "a module"
    return "a class" if isinstance(value, type) else f"a {type(value).__name__}"


def _failed(doing: str, error: BaseException) -> AppNotFound:
    """The error in the app's own code, and its line."""
    text = printable(" ".join(str(error).split()))
    frames = [frame for frame in traceback.walk_tb(error.__traceback__) if _is_of_the_app(frame[0])]
    where = f"It happened at {frames[-1][0].f_code.co_filename}:{frames[-1][1]}" if frames else ""
    return AppNotFound(f"{doing} failed with {type(error).__name__}{': ' if text else ''}{text}", where)


def _is_of_the_app(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    # An error in one of Rolecall's packages, adapters of others included, is caused by the line that called it.
    is_own = package == "importlib" or package.partition("_")[0] == "rolecall"
    return not is_own and "site-packages" not in path and not path.startswith("<")
