"""The kit's own token, for verifiers in any language: a JWT that an asymmetric key signs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from json import JSONEncoder
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import ClassVar, Final

from ..encoding import jws, strict_json
from ..errors import InvalidToken, MalformedToken
from ..keys.issuers import Issuer
from ..keys.signers import Signer
from ..roles import Capability, Role
from ..tokens import CAPABILITIES_CLAIM, Grant, TokenOptions
from ..wording import shown
from . import Need, TokenFormat
from .claims import OPENTOK_CLAIMS, ClaimRules, actor_claim, text_claim, wrong_claim
from .inspection import claims_in

_encoded = JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=dict).encode
_quoted = lru_cache(1024)(encode_basestring)
#: The further claims that are checked by the rules of all formats.
_SHARED: Final = ("nbf", "connection_data", "initial_layout_class_list", CAPABILITIES_CLAIM)


class JwtFormat(TokenFormat):
    """Mints and verifies tokens of one issuer. Their ``kid`` is demanded, and looked up exactly.

    ``sid`` is the session, ``sub`` the actor, ``role`` the role by its own name, and ``scope`` the capabilities.
    """

    __slots__ = ("_audience", "_codec", "_head", "_issuer", "_rules")

    needs: ClassVar[Need] = "issuer"
    reserved_claims: ClassVar[frozenset[str]] = OPENTOK_CLAIMS | {"sid"}
    writes_epoch: ClassVar[bool] = True
    _reads_rest: ClassVar[bool] = True

    def __init__(self, issuers: Sequence[Issuer], rules: ClaimRules) -> None:
        (issuer,) = issuers
        self._issuer = issuer.id
        self._audience = issuer.audience if isinstance(issuer, Signer) else None
        audience = f',"aud":{encode_basestring(self._audience)}' if self._audience else ""
        self._head = f'{{"iss":{encode_basestring(self._issuer)}{audience}'
        self._rules = rules
        self._codec = self._codec_of(issuer)

    def _codec_of(self, issuer: Issuer) -> jws.Codec | None:
        return jws.Codec(issuer, jws.OWN_TYPE)

    @staticmethod
    def recognizes(token: bytes) -> bool:
        return _is_own(token.partition(b".")[0])

    @staticmethod
    def issuer_of(token: bytes) -> str | None:
        """The issuer in ``token``, unverified; None if it has none."""
        try:
            named = claims_in(jws.split(token)[2]).get("iss")
        except MalformedToken:
            return None
        return named if isinstance(named, str) else None

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        session_id, role, issued_at, expires_at, data, layout, claims, narrowed, _, subject, *_ = options
        token_id = options.new_token_id()
        payload = (
            f'{self._head},"sid":{_quoted(session_id)},"role":"{role}",'
            f'"scope":"{_scope(role.capabilities)}",'
            f'"iat":{issued_at},"exp":{expires_at},"jti":"{token_id}"'
        )
        if subject is not None:
            payload += f',"sub":{encode_basestring(subject)}'
        if layout:
            payload += f',"initial_layout_class_list":{encode_basestring(" ".join(layout))}'
        if data:
            payload += f',"connection_data":{encode_basestring(data)}'
        if narrowed is not None:
            # Beside the scope, which never has more than the role: so whoever reads those two grants no more.
            payload += f',"{CAPABILITIES_CLAIM}":"{_scope(narrowed)}"'
        for name, value in claims.items():
            payload += f",{_encoded(name)}:{_encoded(value)}"
        assert self._codec is not None
        return self._codec.sign(f"{payload}}}".encode()), token_id

    def verify(self, token: bytes, now: float) -> Grant:
        try:
            claims = strict_json.loads(self._open(token))
        except ValueError as error:
            raise MalformedToken(f"the token's payload is malformed: {error}") from None
        get = claims.get
        if get("iss") != self._issuer:
            raise wrong_claim("iss", f"{shown(self._issuer, 100)}, compared exactly")
        if "aud" in claims or self._audience is not None:
            self._check_audience(get("aud"))
        if "iat" not in claims or "exp" not in claims:
            raise wrong_claim("exp" if "iat" in claims else "iat", "a time")
        session_id = text_claim("sid", get("sid"))
        actor_id = actor_claim("sub", claims["sub"]) if "sub" in claims else None
        name = get("role")
        role = self._rules.roles.find(name) if type(name) is str else None
        if role is None:
            raise wrong_claim("role", "a role that is known here")
        # These have the same names and rules in the other formats.
        shared = {"session_id": session_id, "role": role.wire_name, "iat": claims["iat"], "exp": claims["exp"]}
        for shared_name in _SHARED:
            if shared_name in claims:
                shared[shared_name] = claims[shared_name]
        grant = self._rules.grant(shared, now, get("jti"))
        capabilities = _capabilities(get("scope"), role)
        if CAPABILITIES_CLAIM in claims:
            capabilities = grant.capabilities
        return tuple.__new__(
            Grant,
            (session_id, role, capabilities, grant.expires_at, grant.token_id, MappingProxyType(claims), actor_id),
        )

    def _open(self, token: bytes) -> bytes:
        """Check the signature of ``token``, and return its payload."""
        assert self._codec is not None
        return self._codec.verify(token)

    def _check_audience(self, named: object) -> None:
        """Check ``aud`` (RFC 7519, section 4.1.3): one that names nobody known here is for somebody else."""
        audiences = named if type(named) is tuple else (named,)
        if self._audience is None or self._audience not in audiences or not all(type(one) is str for one in audiences):
            raise wrong_claim("aud", "none" if self._audience is None else shown(self._audience, 100))


@lru_cache(64)
def _is_own(header: bytes) -> bool:
    try:
        return jws.read_header(header).get("typ") == jws.OWN_TYPE
    except InvalidToken:
        return False


@lru_cache(256)
def _scope(capabilities: frozenset[Capability]) -> str:
    return " ".join(sorted(capabilities))


def _capabilities(scope: object, role: Role) -> frozenset[Capability]:
    """The capabilities in ``scope``, which never has more than the role."""
    try:
        found = _parsed(scope) if type(scope) is str else None
    except ValueError:
        found = None
    if not found or not found <= role.capabilities:
        raise wrong_claim("scope", f"capabilities of the role {role}, each once, separated by spaces")
    return found


@lru_cache(256)
def _parsed(scope: str) -> frozenset[Capability]:
    names = scope.split(" ")
    found = frozenset(map(Capability, names))
    if len(found) != len(names):
        raise ValueError
    return found
