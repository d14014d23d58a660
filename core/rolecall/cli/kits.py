"""What commands have in common: the kit of the environment, errors as a line or two, and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import click

from ..errors import InvalidToken, MalformedToken, RolecallError
from ..kit import Rolecall
from ..stores import Store
from .console import print_error, print_json
from .frameworks import current_framework
from .reports import refusal

REFUSED: Final = 1
FAILED: Final = 2

#: The variables that a kit needs.
ENVIRONMENT: Final = ("ROLECALL_API_KEY", "ROLECALL_API_SECRET")
#: Or these, for an application.
APPLICATION: Final = ("ROLECALL_APPLICATION_ID", "ROLECALL_PRIVATE_KEY")
#: Or these, for keys in a ring file. (The suffix _FILE is cut, as for variables that name a file with a value.)
RING_FILE: Final = ("ROLECALL_API_KEY", "ROLECALL_KEYS")
#: Or these, for keys in the store.
RING_STORE: Final = ("ROLECALL_API_KEY", "ROLECALL_KEYS_KEY")
_CONFIGURE: Final = f"Set {ENVIRONMENT[0]} and {ENVIRONMENT[1]} in the environment; see: rolecall --help"
EXIT_CODES: Final = """\b
Exit codes:
  0  done
  1  refused: the token, or a value asked for, is not valid
  2  not carried out: wrong usage, configuration, or something out of reach
"""

Clock: TypeAlias = Callable[[], float]


@contextmanager
def answering(as_json: bool = False, *, needs_kit: bool = True) -> Iterator[None]:
    """Turn the kit's errors into output and an exit code.

    :param needs_kit: whether the command needs the credentials of a kit.
    """
    try:
        yield
    except RolecallError as error:
        if as_json:
            print_json(refusal(error))
        else:
            _explain(error, configuration_hint() if needs_kit else "")
        # A status below 500 is the caller's mistake; others come from this machine's configuration or network.
        raise click.exceptions.Exit(REFUSED if error.status < 500 else FAILED) from None


def _explain(error: RolecallError, hint: str) -> None:
    if isinstance(error, MalformedToken):
        print_error(f"this is not a token that can be read: {error} ({error.code})")
    elif isinstance(error, InvalidToken):
        print_error(f"the token is refused: {error} ({error.code})", "See what is in it: rolecall token inspect -")
    else:
        print_error(f"{error} ({error.code})", hint)


def configuration_hint() -> str:
    """Advice where the credentials are not set."""
    if current_framework() is not None:
        return ""
    is_set = {name.removesuffix("_FILE") for name, value in os.environ.items() if value}
    has_credentials = any(is_set.issuperset(names) for names in (ENVIRONMENT, APPLICATION, RING_FILE, RING_STORE))
    return "" if has_credentials else _CONFIGURE


def store_of_framework(name: str | None) -> str | Store | None:
    """The store that the settings of the framework around the command name, or have by this name: a URL or a store.

    :param name: a name that a command was given; None for the store of the settings.
    :returns: None if there is no framework, or if it knows no such store.
    """
    framework = current_framework()
    return None if framework is None else framework.find_store(name)


def kit_of(clock: Clock, store: str | None = None) -> Rolecall:
    """The kit that the environment, or the framework around the command, configures.

    :param store: the store's URL; None for the one that is configured.
    """
    options: dict[str, Any] = {} if store is None else {"store": store}
    find_plugins_here()
    framework = current_framework()
    if framework is not None:
        return framework.make_kit(clock=clock, **options)
    return EnvironmentsKit.from_env(clock=clock, **options)


class EnvironmentsKit(Rolecall):
    """A kit of the environment alone."""

    # The environment is the app's: it may block and configure plugins that only the app's own code passes.
    _knows_all_plugins = False


def find_plugins_here() -> None:
    """Let plugins that the environment names be in the current folder, as web servers do."""
    # It comes last, so that nothing in it hides an installed package.
    if os.environ.get("ROLECALL_PLUGINS") and not sys.flags.safe_path and "" not in sys.path:
        sys.path.append("")
