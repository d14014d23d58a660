"""Token formats: how a grant is written into a token, and read back."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

from ..errors import ConfigurationError
from ..keys import KeyRing
from ..tokens import ClaimRules, Grant, TokenOptions
from ..wording import shown


class Format(Protocol):
    """One way to write tokens. A format is made with the API key (``vonage``: the application id), its key ring and the
    rules for claims.

    It reads tokens as ASCII bytes of a length that has been checked.
    """

    def __init__(self, api_key: str, keys: KeyRing, rules: ClaimRules) -> None: ...

    def recognizes(self, token: bytes) -> bool:
        """Whether ``token`` looks like one of this format; nothing in it is checked yet."""

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        """The token for options that have been validated, and its token id."""

    def verify(self, token: bytes, now: float) -> Grant:
        """What ``token`` grants at ``now`` (Unix seconds).

        :raises InvalidToken: a subclass that says what was wrong.
        """


_FORMATS = {"opentok": "opentok:OpenTokFormat", "t1": "t1:T1Format", "vonage": "vonage:VonageFormat"}


#: The names of the kit's own formats.
FORMATS = tuple(_FORMATS)


def find_format(name: str, registered: Mapping[str, type[Format]]) -> type[Format]:
    """The format of this name; the kit's own are loaded when first asked for.

    :param registered: the formats of plugins.
    :raises ConfigurationError: if there is none.
    """
    if isinstance(name, str) and name in registered:
        return registered[name]
    if not isinstance(name, str) or name not in _FORMATS:
        raise ConfigurationError(
            f"token format {shown(name)} does not exist; the formats are {', '.join((*_FORMATS, *registered))}"
        )
    module, _, attribute = _FORMATS[name].partition(":")
    found: type[Format] = getattr(import_module("." + module, __name__), attribute)
    return found
