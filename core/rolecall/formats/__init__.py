"""Token formats: how a grant is written into a token, and read back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import ClassVar, Final, Literal

from ..encoding.jws import raw_token
from ..errors import ConfigurationError, MalformedToken
from ..keys.issuers import Issuer
from ..roles import Capability, Role
from ..tokens import MAX_LIFETIME, Grant, TokenOptions
from ..wording import shown, wrapping
from .claims import ClaimRules
from .inspection import Inspection, inspect_jwt

#: What a format signs with: the secrets of projects, or the private key of an application.
Need = Literal["secret", "private_key"]


class TokenFormat(ABC):
    """One way to write tokens, made once for each kit.

    It reads tokens as ASCII bytes of a length that has been checked. Its methods run for every token, on the request's
    thread or on the event loop: they do not wait.

    :param issuers: all that it mints for, the first one first: each has an id (the API key, or the application's id)
        and keys. At least one is there.
    :param rules: judge the claims of a token whose signature is good; see
        :meth:`~rolecall.formats.claims.ClaimRules.grant`.
    """

    __slots__ = ()

    #: What its tokens are signed with: ``"secret"`` (of each project), or ``"private_key"`` (of the one application).
    needs: ClassVar[Need] = "secret"
    #: The claims that have a meaning in its tokens, so that no plugin may set them; ``iss``, ``sub``, ``aud``, ``exp``,
    #: ``nbf``, ``iat`` and ``jti``, and the kit's own, are so in any format.
    reserved_claims: ClassVar[frozenset[str]] = frozenset()
    #: The fewest seconds that its tokens may live.
    shortest_life: ClassVar[int] = 1
    #: The most seconds that its tokens may live, at most 30 days.
    longest_life: ClassVar[int] = MAX_LIFETIME
    # What tokens of this format are called where a kit is to be told that it can accept them.
    _known_as: ClassVar[str | None] = None
    # Whether it reads what no accepted format recognizes, so as to say what is wrong with it.
    _reads_rest: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, issuers: Sequence[Issuer], rules: ClaimRules) -> None: ...

    @staticmethod
    @abstractmethod
    def recognizes(token: bytes) -> bool:
        """Whether ``token`` is one of this format by what it holds, and of no other; nothing in it is checked yet."""

    @abstractmethod
    def mint(self, options: TokenOptions) -> tuple[str, str]:
        """The token for options that have been validated, signed for ``options.issuer``; and its token id."""

    @abstractmethod
    def verify(self, token: bytes, now: float) -> Grant:
        """What ``token`` grants at ``now`` (Unix seconds).

        :raises InvalidToken: a subclass that says what was wrong.
        """

    @staticmethod
    def issuer_of(token: bytes) -> str | None:  # noqa: ARG004
        """The id of the issuer that ``token`` names, which nothing proves yet; None if it names none."""
        return None

    def carries(self, role: Role, capabilities: frozenset[Capability]) -> bool:
        """Whether a token can hold this, and grants no more where it goes; a role that is not carried is not minted.

        :param role: the token's role.
        :param capabilities: what its bearer may do: those of the role, or what policies left of them.
        """
        return True

    @staticmethod
    def inspect(token: bytes) -> Inspection:
        """What ``token`` says, with nothing checked.

        :raises MalformedToken: if it cannot be read.
        """
        return inspect_jwt(token)

    @staticmethod
    def fingerprint(token: bytes) -> bytes:
        """The key of ``token`` among those that were verified before: a part in which no two tokens are the same.

        A miss proves that the token is new; a hit is confirmed by its SHA-256.
        """
        return token[-32:]  # of a JWT a piece of the signature


_FORMATS = {"opentok": "opentok:OpenTokFormat", "t1": "t1:T1Format", "vonage": "vonage:VonageFormat"}


#: The names of the kit's own formats.
FORMATS = tuple(_FORMATS)
#: The format that is minted, and accepted, where a kit has what it needs and nothing else is said.
USUAL_FORMATS: Final[Mapping[Need, str]] = {"secret": "opentok", "private_key": "vonage"}


def find_format(name: str, registered: Mapping[str, type[TokenFormat]]) -> type[TokenFormat]:
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
    found: type[TokenFormat] = getattr(import_module("." + module, __name__), attribute)
    return found


def is_own(form: TokenFormat) -> bool:
    """Whether a format is the kit's own, and no class of a plugin that is derived from it."""
    return type(form).__module__.startswith(f"{__name__}.")


def inspect_token(token: str) -> Inspection:
    """Take ``token`` apart without a key, and without trusting any of it.

    :raises MalformedToken: if it is not a token in a form that can be read.
    """
    raw = raw_token(token)
    around = wrapping(token)
    if around is not None:
        raise MalformedToken(f"the token has {around}; pass the token alone")
    form = _recognized(raw, FORMATS)
    return inspect_jwt(raw) if form is None else form[1].inspect(raw)


def unaccepted(token: bytes, accepted: Collection[str]) -> MalformedToken | None:
    """What to say of a token of a format that a kit has to be told to accept; None if it is of no such format.

    :param accepted: the names of the formats that the kit accepts.
    """
    found = _recognized(token, [name for name in FORMATS if name not in accepted])
    if found is None or found[1]._known_as is None:
        return None
    name, form = found
    return MalformedToken(
        f"the token is {form._known_as}, which this kit does not accept; "
        f"a kit for SDKs that still make it is told so: accept={[*accepted, name]}"
    )


def _recognized(token: bytes, names: Collection[str]) -> tuple[str, type[TokenFormat]] | None:
    forms = ((name, find_format(name, {})) for name in names)
    return next(((name, form) for name, form in forms if form.recognizes(token)), None)
