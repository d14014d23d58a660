"""The parts of a store's URL: the login, apart from all else, and the options behind the ``?``.

Each option is known, given once, and a number within its limits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias
from urllib.parse import parse_qsl

from ..errors import ConfigurationError
from ..wording import nearest, shown

#: Makes the error for a URL with this problem, a clause such as ``has an option twice``.
Wrong: TypeAlias = Callable[[str], ConfigurationError]
#: The least, the most and the default number of an option; a whole number if the least is one.
Limits: TypeAlias = tuple[float, float, float]


def apart(rest: str, wrong: Wrong) -> tuple[str, str]:
    """What stands before the ``?``, and the query.

    A password with an ``@``, ``/`` or ``?`` of its own is refused: a part of it would be taken for a host, a port or an
    option, of which errors tell.
    """
    place, _, query = rest.partition("?")
    if rest.count("@") > 1 or "@" in place.partition("/")[2] + query:
        raise wrong("has an @ where none can be; in a user or password write @ / ? as %40 %2F %3F, elsewhere @ as %40")
    return place, query


def options_in(query: str, wrong: Wrong) -> dict[str, str]:
    """The options in a query, by name."""
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) < len(pairs):
        raise wrong("has an option twice")
    return options


def check_known(name: str, known: Collection[str], expected: str, wrong: Wrong) -> None:
    """Refuse an option that is not known.

    :param expected: what is known, in words.
    """
    if name not in known:
        close = nearest(name, known)
        hint = f"did you mean {close}?" if close else f"expected {expected}"
        raise wrong(f"has the unknown option {shown(name)}; {hint}")


def numbers_in(options: Mapping[str, str], limits: Mapping[str, Limits], wrong: Wrong) -> dict[str, float]:
    """The numbers among the options, by name; the default where one is not given."""
    return {name: _number(name, options.get(name), *limit, wrong) for name, limit in limits.items()}


def _number(name: str, text: str | None, least: float, most: float, default: float, wrong: Wrong) -> float:
    if text is None:
        return default
    try:
        number = int(text) if isinstance(least, int) else float(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise wrong(f"has {name}={shown(text)}; expected a number from {least:g} to {most:g}")
    return number
