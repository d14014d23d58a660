"""The URLs of PostgreSQL stores: what libpq gets, and the store's own options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ..errors import ConfigurationError
from .following import MAX_STALENESS
from .url_options import Limits, apart, check_known, numbers_in, options_in

#: The URL schemes. All of them mean psycopg.
SCHEMES: Final = ("postgresql", "postgresql+psycopg", "postgres")
#: The store's own options: the least, the most and the default number.
_NUMBERS: Final[Mapping[str, Limits]] = {
    "timeout": (0.05, 10.0, 0.4),
    "max_staleness": (0.2, 60.0, MAX_STALENESS),
    "connections": (1, 1000, 4),
}
#: Parameters of libpq that the store sets itself, and what to write instead.
_OWN: Final = {"client_encoding": "it is always UTF8", "connect_timeout": "write timeout"}


@dataclass(frozen=True, slots=True)
class SQLURL:
    """A PostgreSQL store's URL, taken apart and checked.

    :param parameters: for libpq: the server, the login, TLS.
    :param timeout: the longest time of one call, in seconds.
    :param max_staleness: the longest time out of touch before checks are refused, in seconds.
    :param connections: the most connections of one process, without the follower's.
    """

    parameters: dict[str, Any] = field(repr=False)
    timeout: float = 0.4
    max_staleness: float = MAX_STALENESS
    connections: int = 4

    @classmethod
    def parse(cls, url: str) -> SQLURL:
        """Take a URL apart.

        :raises ConfigurationError: says what is wrong with it, without quoting it: it may hold a password.
        """
        scheme, _, rest = url.partition("://")
        if scheme not in SCHEMES or "\0" in url:
            raise _wrong("is not of the form postgresql://user:password@host:5432/database")
        place, query = apart(rest, _wrong)
        options = options_in(query, _wrong)
        _check_names(options)
        numbers = numbers_in(options, _NUMBERS, _wrong)
        for_libpq = {name: value for name, value in options.items() if name not in _NUMBERS}
        try:
            parameters = conninfo_to_dict(f"postgresql://{place}?{urlencode(for_libpq, quote_via=quote)}")
        except (psycopg.Error, ValueError):
            raise _wrong(
                "cannot be read by libpq; expected postgresql://user:password@host:5432/database, "
                "with the characters : / ? # [ ] @ % in a user or password written as %3A and so on"
            ) from None
        return cls(parameters, numbers["timeout"], numbers["max_staleness"], int(numbers["connections"]))


def _wrong(problem: str) -> ConfigurationError:
    return ConfigurationError(f"the PostgreSQL store's URL {problem}")


def _check_names(options: Mapping[str, str]) -> None:
    known = {*_NUMBERS, "ssl", *(option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults())}
    for name in options:
        if name in _OWN:
            raise _wrong(f"has the option {name}, which the store sets itself: {_OWN[name]}")
        check_known(name, known, f"{', '.join(_NUMBERS)}, or a parameter of libpq", _wrong)
