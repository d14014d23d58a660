"""Token formats: how a grant is written into a token, and read from it."""

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

#: The signing keys of a format: the secrets of projects, the private key of an application, or that of an issuer.
Need = Literal["secret", "private_key", "issuer"]


class TokenFormat(ABC):
    """A format of tokens; each kit makes an instance.

    Tokens are ASCII bytes, and their length has been checked. The methods run for every token, on the request's thread
    or on the event loop, so they must not block.

    :param issuers: the issuers that it mints for, the default one first: each has an id (the API key, or the
        application's id) and keys. There is at least one.
    :param rules: checks the claims of a token after its signature; see
        :meth:`~rolecall.formats.claims.ClaimRules.grant`.
    """

    __slots__ = ()

    #: The keys that sign its tokens: ``"secret"`` (of each project), ``"private_key"`` (of the one application), or
    #: ``"issuer"`` (the private key of the kit's ``issuer``).
    needs: ClassVar[Need] = "secret"
    #: The claims with a meaning in its tokens, which no plugin may set. ``iss``, ``sub``, ``aud``, ``exp``, ``nbf``,
    #: ``iat`` and ``jti``, and the kit's own, are reserved in every format.
    reserved_claims: ClassVar[frozenset[str]] = frozenset()
    #: The shortest life of its tokens, in seconds.
    shortest_life: ClassVar[int] = 1
    #: The longest life of its tokens, in seconds, at most 30 days.
    longest_life: ClassVar[int] = MAX_LIFETIME
    #: Whether the id of a token that :meth:`mint` makes is ``options.new_token_id()``, in a claim. If not, no token is
    #: issued in the second of its session's reset.
    writes_epoch: ClassVar[bool] = False
    #: Whether its tokens say for which actor they are, ``options.subject``, so that excluding the actor revokes them.
    names_actor: ClassVar[bool] = True
    # The name of its tokens in the message that tells how to accept them.
    _known_as: ClassVar[str | None] = None
    # Whether it reads tokens that no accepted format recognizes, to report the problem with them.
    _reads_rest: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, issuers: Sequence[Issuer], rules: ClaimRules) -> None: ...

    @staticmethod
    @abstractmethod
    def recognizes(token: bytes) -> bool:
        """Whether the content of ``token`` shows that it is of this format and no other; nothing is verified."""

    @abstractmethod
    def mint(self, options: TokenOptions) -> tuple[str, str]:
        """Mint a token with validated options, signed for ``options.issuer``; return it and its token id."""

    @abstractmethod
    def verify(self, token: bytes, now: float) -> Grant:
        """Verify ``token`` at ``now`` (Unix seconds), and return its grant.

        :raises InvalidToken: a subclass that says what is wrong.
        """

    @staticmethod
    def issuer_of(token: bytes) -> str | None:  # noqa: ARG004
        """The issuer's id in ``token``, unverified; None if it has none."""
        return None

    def carries(self, role: Role, capabilities: frozenset[Capability]) -> bool:
        """Whether a token can carry these rights, and nobody reads more into it; otherwise it is not minted.

        :param role: the token's role.
        :param capabilities: the bearer's capabilities: those of the role, or those that policies left.
        """
        return True

    def wider(self, role: Role, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """What the bearer of a token for ``capabilities`` would be granted beyond them, and the app does not accept.

        That of a service which cannot hold rights apart; such a token is not minted.
        """
        return frozenset()

    def takes_session(self, session_id: str) -> bool:
        """Whether a token can name this session."""
        return True

    @staticmethod
    def inspect(token: bytes) -> Inspection:
        """Read ``token`` without verifying it.

        :raises MalformedToken: if it cannot be read.
        """
        return inspect_jwt(token)

    @staticmethod
    def fingerprint(token: bytes) -> bytes:
        """The cache key of ``token``: a part that differs between any two tokens.

        A miss proves that the token is new; a hit is confirmed by the whole token.
        """
        return token[-32:]  # in a JWT, the end of the signature


_FORMATS = {
    "opentok": "opentok:OpenTokFormat",
    "t1": "t1:T1Format",
    "vonage": "vonage:VonageFormat",
    "jwt": "own:JwtFormat",
}


#: The names of the kit's own formats.
FORMATS = tuple(_FORMATS)
#: The default format for each kind of credential.
USUAL_FORMATS: Final[Mapping[Need, str]] = {"secret": "opentok", "private_key": "vonage", "issuer": "jwt"}


def find_format(name: str, registered: Mapping[str, type[TokenFormat]]) -> type[TokenFormat]:
    """The format with this name; the kit's own are imported at their first use.

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
    form: type[TokenFormat] = getattr(import_module("." + module, __name__), attribute)
    return form


def is_own(form: TokenFormat) -> bool:
    """Whether a format is the kit's own, and not a plugin's subclass."""
    return type(form).__module__.partition(".")[0] == __name__.partition(".")[0]


def inspect_token(token: str) -> Inspection:
    """Read ``token`` without a key, and without verifying it.

    :raises MalformedToken: if it is not a token in a form that can be read.
    """
    raw = raw_token(token)
    around = wrapping(token)
    if around is not None:
        raise MalformedToken(f"the token has {around}; pass the token alone")
    form = _recognized(raw, FORMATS)
    return inspect_jwt(raw) if form is None else form[1].inspect(raw)


def unaccepted(token: bytes, accepted: Collection[str]) -> MalformedToken | None:
    """The error for a token of a format that the kit does not accept; None if it is of no such format.

    :param accepted: the names of the formats that the kit accepts.
    """
    recognized = _recognized(token, [name for name in FORMATS if name not in accepted])
    if recognized is None or recognized[1]._known_as is None:
        return None
    name, form = recognized
    return MalformedToken(
        f"the token is {form._known_as}, which this kit does not accept; "
        f"a kit for SDKs that still make it is told so: accept={[*accepted, name]}"
    )


def _recognized(token: bytes, names: Collection[str]) -> tuple[str, type[TokenFormat]] | None:
    forms = ((name, find_format(name, {})) for name in names)
    return next(((name, form) for name, form in forms if form.recognizes(token)), None)
