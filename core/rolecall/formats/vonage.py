"""The application JWT of the newer Vonage service: RS256 with an application's private key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from json import JSONEncoder
from types import MappingProxyType
from typing import Any, ClassVar, Final

from ..encoding import jws, strict_json
from ..errors import InvalidToken, MalformedToken, UnknownKey, WrongTokenKind
from ..keys.issuers import Issuer
from ..tokens import ACTOR_CLAIM, Grant, TokenOptions
from ..wording import shown_key
from . import Need, TokenFormat
from .claims import OPENTOK_CLAIMS, SCOPE, ClaimRules, wrong_claim
from .inspection import claims_in

_LAYOUT: Final = "initial_layout_class_list"
_ACL: Final[dict[str, Any]] = {"paths": {"/session/**": {}}}
#: The ``sub`` of the token; one SDK writes it as ``subject``.
_SUBJECT: Final = "video"
_encoded = JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=dict).encode


class VonageFormat(TokenFormat):
    """Mints and verifies application JWTs of one application, for sessions of the kit's first project."""

    __slots__ = ("_application_id", "_codec", "_rules")

    needs: ClassVar[Need] = "private_key"
    reserved_claims: ClassVar[frozenset[str]] = OPENTOK_CLAIMS
    writes_epoch: ClassVar[bool] = True

    def __init__(self, issuers: Sequence[Issuer], rules: ClaimRules) -> None:
        (application,) = issuers
        self._application_id = application.id
        self._codec = jws.Codec(application)
        self._rules = rules

    @staticmethod
    def recognizes(token: bytes) -> bool:
        return _is_usual(token.partition(b".")[0])

    @staticmethod
    def issuer_of(token: bytes) -> str | None:
        """The application's id in ``token``, unverified; None if it has none."""
        try:
            named = claims_in(jws.split(token)[2]).get("application_id")
        except MalformedToken:
            return None
        return named if isinstance(named, str) else None

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        token_id = options.new_token_id()
        claims: dict[str, Any] = {
            "application_id": self._application_id,
            "iat": options.issued_at,
            "exp": options.expires_at,
            "jti": token_id,
            "session_id": options.session_id,
            "role": options.role.wire_name,
            "scope": SCOPE,
            "acl": _ACL,
            "sub": _SUBJECT,
        }
        if options.layout:
            claims[_LAYOUT] = " ".join(options.layout)
        if options.data:
            claims["connection_data"] = options.data
        if options.subject is not None:
            claims[ACTOR_CLAIM] = options.subject  # not ``sub``, which the service itself has taken
        claims.update(options.own_claims)
        return self._codec.sign(_encoded(claims).encode()), token_id

    def verify(self, token: bytes, now: float) -> Grant:
        try:
            claims = strict_json.loads(self._codec.verify(token))
        except ValueError as error:
            raise MalformedToken(f"the token's payload is malformed: {error}") from None
        if claims.get("application_id") != self._application_id:
            raise UnknownKey(
                f"the token's application_id is {shown_key(claims.get('application_id'))}, not this kit's application"
            )
        if not _is_for_a_client(claims):
            raise WrongTokenKind(
                f"the token is not for a client: it needs a scope, a session_id, the sub {_SUBJECT!r}, and no other acl"
            )
        token_id = claims["jti"] if "jti" in claims else hashlib.sha256(jws.split(token)[0]).hexdigest()
        layout = claims.get(_LAYOUT)
        if type(layout) is not tuple:
            return self._rules.grant(claims, now, token_id)
        # The SDK for Python writes the classes as a list, all others as a text.
        if not all(type(name) is str for name in layout):
            raise wrong_claim(_LAYOUT, "class names")
        grant = self._rules.grant({**claims, _LAYOUT: " ".join(layout)}, now, token_id)
        return grant._replace(claims=MappingProxyType(claims))


def _is_for_a_client(claims: dict[str, Any]) -> bool:
    # The SDK for Python writes "subject", the one for Node "sub". A credential for the service's API has neither
    # session nor scope, and one for another of its products has its own paths.
    return (
        "scope" in claims
        and "session_id" in claims
        and ("sub" in claims or "subject" in claims)
        and claims.get("sub", _SUBJECT) == claims.get("subject", _SUBJECT) == _SUBJECT
        and claims.get("acl", _ACL) == _ACL
    )


@lru_cache(64)
def _is_usual(header: bytes) -> bool:
    """Whether this is the header of such a token, and not of the kit's own format, which also has RS256."""
    try:
        read = jws.read_header(header)
    except InvalidToken:
        return False
    return read.get("alg") == "RS256" and read.get("typ") != jws.OWN_TYPE
