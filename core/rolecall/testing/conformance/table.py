"""The table of the conformance suite: requests, and the answers of every adapter.

A row has the expected status and code, by rules that are written down here a second time, so that the suite fails even
if the core and all adapters are wrong in the same way. The rest of an answer is compared with the core's, byte by
byte.
"""

# mypy takes what a row is unpacked from for a tuple of any length, and values of any kind for values of none.
# mypy: disable-error-code="call-arg, misc, var-annotated"

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import unquote

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from ... import Rolecall
from .kits import (
    API_KEY,
    API_SECRET,
    APPLICATION,
    CONNECTIONS,
    COOKIE,
    ENDED,
    FOREIGN,
    ISSUER,
    MEDIA_SECRET,
    NOW,
    OF_APPLICATION,
    OF_SECOND,
    OPEN,
    ORIGIN,
    OTHER,
    QUERY,
    SECOND_KEY,
    SECOND_SECRET,
    STREAMS,
    UNKNOWN,
    make_kit,
    private_key,
)
from .traits import Trait

Headers = tuple[tuple[str, str], ...]


class Case(NamedTuple):
    """A request, and its answer.

    :param name: unique; part of the test's id.
    :param kit: the name of the kit that answers.
    :param target: path and query, as in the request line.
    :param headers: names and values, in order; a repeated header is listed twice. ``Host`` is added.
    :param body: None for no body, and no ``Content-Length``.
    :param chunked: whether the body is sent in chunks rather than with a ``Content-Length``.
    :param status: the status of the answer.
    :param code: the ``code`` of the problem; None for an answer that is none.
    :param has: further headers of the answer, by lower-case name; None for a header that is missing.
    :param says: a part of the answer's body; of a problem, the whole text for people.
    :param once: whether it has a single-use credential.
    """

    name: str
    method: str
    target: str
    status: int
    code: str | None = None
    headers: Headers = ()
    body: bytes | None = None
    chunked: bool = False
    kit: str = "plain"
    has: Mapping[str, str | None] = {}
    says: str = ""
    once: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is for one of the app's own endpoints, not one of the kit's."""
        return not self.target.startswith(("/video", "/session/", "/v2/"))

    @property
    def traits(self) -> frozenset[Trait]:
        """The traits of the request that some server or framework treats in its own way."""
        path, names = self.target.partition("?")[0], [name for name, _ in self.headers]
        has = {
            Trait.UNKNOWN_METHOD: self.method == "ROLECALL",
            Trait.DOUBLED_TYPE: names.count("Content-Type") > 1,
            Trait.LONG_HEADER: any(len(value) > 8192 for _, value in self.headers),
            Trait.LONG_TARGET: len(self.target) > 4094,
            Trait.EMPTY_CHUNKS: self.chunked and not self.body,
            Trait.UNDECODABLE_PATH: "\ufffd" in unquote(path, errors="replace"),
        }
        return frozenset(trait for trait, holds in has.items() if holds)

    @property
    def framing(self) -> str:
        """The framing of the body."""
        if self.body is None:
            return "none"
        return "chunked" if self.chunked else "by its length"

    @property
    def is_of_oauth(self) -> bool:
        """Whether it is for one of the routes whose refusals are OAuth's errors."""
        return self.target.startswith("/video/tokens/")

    @property
    def changes(self) -> bool:
        """Whether it may take something back, or use up a credential, that other requests need."""
        takes_back = any(part in self.target for part in ("/reset", "/exclusions", "/tokens/revoke"))
        ends = self.method == "DELETE" and not self.is_own and "/connection" not in self.target
        return self.once or takes_back or ends


_KIT = make_kit("plain")


def token(role: Any = "moderator", session_id: str = OPEN, kit: Rolecall = _KIT, **options: Any) -> str:
    """Mint a token of the kits, as their own server would."""
    return kit.generate_token(session_id, role, **options)


def forged(
    headers: dict[str, Any] | None = None, secret: str = API_SECRET, drop: tuple[str, ...] = (), **claims: Any
) -> str:
    """A JWT that differs from a good one of a moderator."""
    good = {
        "session_id": OPEN,
        "role": "moderator",
        "scope": "session.connect",
        "iss": API_KEY,
        "ist": "project",
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
        "jti": "a-token-id",
    }
    payload = {name: value for name, value in (good | claims).items() if name not in drop}
    return jwt.encode(payload, secret, "HS256", headers=headers)


def signed(header: bytes, payload: bytes) -> str:
    """Make a JWS over bytes that no JSON encoder writes, with the right signature."""
    signing_input = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    signature = hmac.digest(API_SECRET.encode(), signing_input, hashlib.sha256)
    return (signing_input + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def bearer(text: str) -> Headers:
    return (("Authorization", f"Bearer {text}"),)


#: The header with the credential of a project's server.
AUTH = "X-OPENTOK-AUTH"


def server_claims(drop: tuple[str, ...] = (), **claims: Any) -> dict[str, Any]:
    """The claims of a server's credential, as the SDKs write them; without ``jti``, so for any number of uses.

    :param claims: different or additional claims.
    """
    good = {"iss": API_KEY, "ist": "project", "iat": int(NOW), "exp": int(NOW) + 180}
    return {name: value for name, value in (good | claims).items() if name not in drop}


def server_jwt(
    headers: dict[str, Any] | None = None, secret: str = API_SECRET, drop: tuple[str, ...] = (), **claims: Any
) -> str:
    """The credential of a project's server."""
    return jwt.encode(server_claims(drop, **claims), secret, "HS256", headers=headers)


def application_jwt(drop: tuple[str, ...] = (), key: Any = None, **claims: Any) -> str:
    """The credential of an application's server."""
    good = {"application_id": APPLICATION, "iat": int(NOW), "exp": int(NOW) + 300}
    payload = {name: value for name, value in (good | claims).items() if name not in drop}
    return jwt.encode(payload, key or _application_key(), "RS256")


@cache
def _application_key() -> rsa.RSAPrivateKey:
    key = load_pem_private_key(private_key().encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


# -- credentials -----------------------------------------------------------------------------------

_CAPABILITIES = {
    "subscriber": {"subscribe"},
    "publisher": {"subscribe", "publish", "signal"},
    "publisheronly": {"publish"},
    "moderator": {"subscribe", "publish", "signal", "moderate"},
}


class Credential(NamedTuple):
    """Headers, and their meaning: a role in a session, or the same refusal everywhere."""

    name: str
    headers: Headers
    role: str = ""
    session_id: str = OPEN
    refusal: tuple[int, str] | None = None


MISSING, MALFORMED = (401, "missing_token"), (400, "malformed_credential")
NO_TOKEN, NOT_SIGNED, WRONG_CLAIM = (401, "malformed_token"), (401, "bad_signature"), (401, "invalid_claim")
WRONG_KIND, EXPIRED, TOO_LONG = (401, "wrong_token_kind"), (401, "expired_token"), (431, "credential_too_large")
FUTURE, UNKNOWN_KEY, REVOKED = (401, "token_not_yet_valid"), (401, "unknown_key"), (401, "revoked_token")

GOOD = token()
_HEAD, _PAYLOAD, _SIGNATURE = GOOD.split(".")
_PAYLOAD_JSON = base64.urlsafe_b64decode(_PAYLOAD + "=" * (-len(_PAYLOAD) % 4))
_HS256 = b'{"alg":"HS256","typ":"JWT"}'
_T1_KIT = Rolecall(API_KEY, API_SECRET, format="t1", clock=lambda: NOW, entry_points=False)


def _good_credentials() -> Iterator[Credential]:
    for role in _CAPABILITIES:
        yield Credential(role, bearer(token(role)), role)
        yield Credential(f"{role}-t1", bearer(token(role, kit=_T1_KIT)), role)
        yield Credential(f"{role}-of-other", bearer(token(role, OTHER)), role, OTHER)
    for scheme in ("bearer", "BEARER", "bEaReR"):
        yield Credential(f"scheme-{scheme}", (("Authorization", f"{scheme} {GOOD}"),), "moderator")
    yield Credential("two-spaces", (("Authorization", f"Bearer  {GOOD}"),), "moderator")
    yield Credential("space-around", (("Authorization", f"  Bearer {GOOD}\t "),), "moderator")
    yield Credential("name-in-small-letters", (("authorization", f"Bearer {GOOD}"),), "moderator")
    yield Credential("name-in-capitals", (("AUTHORIZATION", f"Bearer {GOOD}"),), "moderator")
    yield Credential("beside-proxy-authorization", (("Proxy-Authorization", "Bearer x"), *bearer(GOOD)), "moderator")
    yield Credential("unknown-session", bearer(token("moderator", UNKNOWN)), "moderator", UNKNOWN)
    yield Credential("data-of-any-script", bearer(token("publisher", data='Zoë "雪" \U0001f600')), "publisher")
    yield Credential("without-jti", bearer(forged(drop=("jti",))), "moderator")
    yield Credential("without-exp", bearer(forged(drop=("exp",))), "moderator")
    yield Credential("expired-within-leeway", bearer(forged(exp=int(NOW) - 9, iat=int(NOW) - 60)), "moderator")
    yield Credential("issued-within-leeway", bearer(forged(iat=int(NOW) + 9)), "moderator")
    yield Credential("further-claims", bearer(forged(color="blue", nested={"a": [1]})), "moderator")


_NOT_ONE_TOKEN = {
    "scheme-alone": "Bearer",
    "tab-for-space": f"Bearer\t{GOOD}",
    "two-words": f"Bearer {GOOD} {GOOD}",
    "comma-behind": f"Bearer {GOOD},",
    "comma-joined": f"Bearer {GOOD},{GOOD}",
    "joined-bearers": f"Bearer {GOOD}, Bearer {GOOD}",
    "scheme-twice": f"Bearer Bearer {GOOD}",
    "basic-then-bearer": f"Basic dXNlcjpwYXNz, Bearer {GOOD}",
    "bearer-then-basic": f"Bearer {GOOD}, Basic dXNlcjpwYXNz",
    "colon": f"Bearer:{GOOD}",
    "equals": f"Bearer={GOOD}",
    "no-space": f"Bearer{GOOD}",
    "auth-param": f"Bearer token={GOOD}, realm=rolecall",
    "no-break-space": f"Bearer \xa0{GOOD}",
}
_NO_BEARER = {
    "empty": "",
    "basic": "Basic dXNlcjpwYXNz",
    "digest": 'Digest username="u", response="x"',
    "token-scheme": f"Token {GOOD}",
    "jwt-scheme": f"JWT {GOOD}",
    "bare": GOOD,
    "quoted-scheme": f"'{GOOD}'",
}
_BAD_TOKENS: dict[str, tuple[str, tuple[int, str]]] = {
    "garbage": ("x", NO_TOKEN),
    "two-dots": ("..", NO_TOKEN),
    "three-dots": ("a.b.c.d", NO_TOKEN),
    "dot-behind": (GOOD + ".", NO_TOKEN),
    "no-signature": (f"{_HEAD}.{_PAYLOAD}.", NOT_SIGNED),
    "only-two-parts": (f"{_HEAD}.{_PAYLOAD}", NO_TOKEN),
    "cut": (GOOD[:-2], NO_TOKEN),  # of a length that no base64 has, whatever the signature is
    "quoted": (f'"{GOOD}"', NO_TOKEN),
    "percent": (GOOD.replace(".", "%2E"), NO_TOKEN),
    "not-ascii": (GOOD + "é", NO_TOKEN),
    "html": ("<script>alert(1)</script>", NO_TOKEN),
    "quote-and-backslash": ('a"b\\c', NO_TOKEN),
    "longest": ("x" * 8150, NO_TOKEN),
    "wrong-secret": (forged(secret="f" * 40), NOT_SIGNED),
    "other-payload": (forged().replace(".", f".{_PAYLOAD}."), NO_TOKEN),
    "swapped-payload": (".".join((_HEAD, _PAYLOAD, forged().split(".")[2])), NOT_SIGNED),
    "alg-none": (jwt.encode({"session_id": OPEN, "role": "moderator"}, "", "none"), WRONG_KIND),
    "alg-hs512": (jwt.encode({"session_id": OPEN}, API_SECRET * 2, "HS512"), WRONG_KIND),
    "other-typ": (forged({"typ": "at+jwt"}), WRONG_KIND),
    "unknown-kid": (forged({"kid": "k1"}), UNKNOWN_KEY),
    "kid-with-a-line-break": (forged({"kid": '"\r\nX-Evil: 1\\'}), UNKNOWN_KEY),
    "alg-with-a-line-break": (signed(b'{"alg":"\\"\\r\\nX-Evil: 1","typ":"JWT"}', b"{}"), WRONG_KIND),
    "iss-with-a-line-break": (forged(iss='"\r\nX-Evil: \u2028\x7f'), UNKNOWN_KEY),
    "crit": (forged({"crit": ["b64"]}), NO_TOKEN),
    "zip": (forged({"zip": "DEF"}), NO_TOKEN),
    "expired": (forged(iat=int(NOW) - 7200, exp=int(NOW) - 3600), EXPIRED),
    "expired-at-leeway": (forged(iat=int(NOW) - 60, exp=int(NOW) - 10), EXPIRED),
    "expired-without-exp": (forged(drop=("exp",), iat=int(NOW) - 86_500), EXPIRED),
    "from-the-future": (forged(iat=int(NOW) + 11), FUTURE),
    "not-yet-valid": (forged(nbf=int(NOW) + 60), FUTURE),
    "no-times": (forged(drop=("exp", "iat")), WRONG_CLAIM),
    "too-long-a-life": (forged(exp=int(NOW) + 31 * 86_400), WRONG_CLAIM),
    "exp-as-text": (signed(_HS256, _PAYLOAD_JSON.replace(b'"exp":', b'"exp":"4102444800","x":')), WRONG_CLAIM),
    "exp-as-bool": (signed(_HS256, _PAYLOAD_JSON.replace(b'"exp":', b'"exp":true,"x":')), WRONG_CLAIM),
    "duplicate-claim": (signed(_HS256, _PAYLOAD_JSON[:-1] + b',"role":"moderator"}'), NO_TOKEN),
    "payload-with-bom": (signed(_HS256, b"\xef\xbb\xbf" + _PAYLOAD_JSON), NO_TOKEN),
    "payload-no-object": (signed(_HS256, b"[]"), NO_TOKEN),
    "payload-nan": (signed(_HS256, _PAYLOAD_JSON[:-1] + b',"x":NaN}'), NO_TOKEN),
    "unknown-role": (forged(role="admin"), WRONG_CLAIM),
    "role-in-capitals": (forged(role="MODERATOR"), WRONG_CLAIM),
    "role-look-alike": (forged(role="ｍoderator"), WRONG_CLAIM),
    "role-as-list": (forged(role=["moderator"]), WRONG_CLAIM),
    "session-as-number": (forged(session_id=1), WRONG_CLAIM),
    "other-scope": (forged(scope="session.admin"), WRONG_KIND),
    "other-api-key": (forged(iss="654321"), UNKNOWN_KEY),
    "account-key": (forged(ist="account"), WRONG_KIND),
    "rest-auth": (forged(drop=("scope", "session_id", "role")), WRONG_KIND),
    "ended-session": (forged(session_id=ENDED), REVOKED),
    "t1-garbage": ("T1==AAAA", NO_TOKEN),
    "t1-wrong-secret": (
        "T1=="
        + base64.b64encode(
            f"partner_id={API_KEY}&sig={'0' * 40}:session_id={OPEN}&create_time={int(NOW)}&role=moderator".encode()
        ).decode(),
        NOT_SIGNED,
    ),
}


def _credentials() -> Iterator[Credential]:
    yield Credential("none", (), refusal=MISSING)
    yield from _good_credentials()
    for name, value in _NOT_ONE_TOKEN.items():
        yield Credential(name, (("Authorization", value),), refusal=MALFORMED)
    for name, value in _NO_BEARER.items():
        yield Credential(name, (("Authorization", value),), refusal=MISSING)
    for name, (text, refusal) in _BAD_TOKENS.items():
        yield Credential(name, bearer(text), session_id=ENDED if name == "ended-session" else OPEN, refusal=refusal)
    basic = (("Authorization", "Basic dXNlcjpwYXNz"),)
    yield Credential("doubled", bearer(GOOD) * 2, refusal=MALFORMED)
    yield Credential("good-then-bad", (*bearer(GOOD), *bearer("x")), refusal=MALFORMED)
    yield Credential("bad-then-good", (*bearer("x"), *bearer(GOOD)), refusal=MALFORMED)
    yield Credential("good-then-empty", (*bearer(GOOD), ("Authorization", "")), refusal=MALFORMED)
    yield Credential("two-schemes", (*basic, *bearer(GOOD)), refusal=MALFORMED)
    yield Credential("two-schemes-turned", (*bearer(GOOD), *basic), refusal=MALFORMED)
    yield Credential("basic-twice", basic * 2, refusal=MISSING)
    yield Credential("other-header", (("X-OpenTok-Auth", GOOD),), refusal=MISSING)
    yield Credential("servers-header", ((AUTH, server_jwt()),), refusal=MISSING)
    yield Credential("servers-credential", bearer(server_jwt()), refusal=WRONG_KIND)
    yield Credential("beside-servers-header", ((AUTH, server_jwt()), *bearer(GOOD)), "moderator")
    yield Credential("proxy-authorization", (("Proxy-Authorization", f"Bearer {GOOD}"),), refusal=MISSING)
    yield Credential("x-authorization", (("X-Authorization", f"Bearer {GOOD}"),), refusal=MISSING)
    yield Credential("switched-off-cookie", (("Cookie", f"{COOKIE}={GOOD}"),), refusal=MISSING)
    yield Credential("over-long", bearer("x" * 16_385), refusal=TOO_LONG)
    yield Credential("over-long-and-good", bearer(GOOD + "x" * 16_385), refusal=TOO_LONG)


CREDENTIALS = tuple(_credentials())
#: One of each meaning, in the same order.
_OF_EACH_MEANING = tuple({one._replace(name="", headers=()): one for one in reversed(CREDENTIALS)}.values())[::-1]
_BY_NAME = {credential.name: credential for credential in CREDENTIALS}


# -- guarded routes --------------------------------------------------------------------------------


class Guarded(NamedTuple):
    """A route, its requirement, and its session; None if it checks none.

    :param granted: the status of an answer to an admitted request.
    """

    name: str
    path: str
    requires: set[str]
    session_id: str | None
    method: str = "GET"
    granted: int = 200


GUARDED = (
    Guarded("moderate", f"/rooms/{OPEN}/moderate", {"moderate"}, OPEN),
    Guarded("publish", f"/rooms/{OPEN}/publish", {"subscribe", "publish", "signal"}, OPEN, "POST"),
    Guarded("signal", f"/rooms/{OPEN}/signal", {"signal"}, OPEN, "PUT"),
    Guarded("join", f"/rooms/{OPEN}/join", set(), OPEN),
    Guarded("named", f"/named/{OPEN}", {"moderate"}, OPEN, "PATCH"),
    Guarded("unbound", f"/unbound/{OPEN}", set(), None),
    Guarded("me", "/me", {"subscribe", "publish", "signal"}, None, "DELETE"),
    Guarded("inside", f"/inside/{OPEN}", set(), OPEN),
    Guarded("session", f"/video/sessions/{OPEN}", set(), OPEN),
    Guarded("end", f"/video/sessions/{OPEN}", {"moderate"}, OPEN, "DELETE", 204),
)
CONNECTION, STREAM, ACTOR = "connection-1", "stream-1", "ada"
#: The routes for acts in a running session.
MODERATED = (
    Guarded("acting-signal", f"/video/sessions/{OPEN}/signal", {"signal"}, OPEN, "POST", 204),
    Guarded("acting-connection", f"/video/sessions/{OPEN}/connections/{CONNECTION}", {"moderate"}, OPEN, "DELETE", 204),
    Guarded("acting-connections", f"/video/sessions/{OPEN}/connections", {"moderate"}, OPEN),
    Guarded("acting-streams", f"/video/sessions/{OPEN}/streams", {"moderate"}, OPEN),
    Guarded("acting-stream-mute", f"/video/sessions/{OPEN}/streams/{STREAM}/mute", {"moderate"}, OPEN, "POST", 204),
    Guarded("acting-mute", f"/video/sessions/{OPEN}/mute", {"moderate"}, OPEN, "POST", 204),
)


def refusal_of(route: Guarded, credential: Credential) -> tuple[int, str] | None:
    """The reason why a credential is refused; None if it is admitted."""
    if credential.refusal == REVOKED and route.session_id not in (None, credential.session_id):
        return 403, "wrong_session"
    if credential.refusal is not None:
        return credential.refusal
    if route.session_id not in (None, credential.session_id):
        return 403, "wrong_session"
    if not route.requires <= _CAPABILITIES[credential.role]:
        return 403, "insufficient_role"
    return None


#: The routes that are asked with every credential, one of each kind: guarded by a decorator, with and without a session
#: and from within, the kit's own, and one for acts. The others are asked with one credential of each meaning.
_ASKED_IN_FULL = ("moderate", "me", "inside", "session", "acting-signal")


def _credentials_for(route: Guarded, in_full: Collection[str] = _ASKED_IN_FULL) -> tuple[Credential, ...]:
    return CREDENTIALS if route.name in in_full else _OF_EACH_MEANING


def _guarded() -> Iterator[Case]:
    for route in GUARDED + MODERATED:
        for credential in _credentials_for(route):
            status, code = refusal_of(route, credential) or (route.granted, None)
            name = f"{route.name}-{credential.name}"
            yield Case(name, route.method, route.path, status, code, credential.headers)


#: The answer of policies that ask to come again later.
BUSY = (429, "busy")


def retry_after(status: int) -> dict[str, str | None]:
    return {"retry-after": "30" if status == 429 else None}


def _guarded_by_policy() -> Iterator[Case]:
    """Cases in which policies vote: they take another code path, with the same answers."""
    for route in GUARDED[:2] + GUARDED[-2:] + MODERATED[:2]:
        for credential in _credentials_for(route, in_full=("moderate", "session")):
            status, code = refusal_of(route, credential) or (route.granted, None)
            name = f"voting-{route.name}-{credential.name}"
            yield Case(name, route.method, route.path, status, code, credential.headers, kit="voting")
    shut, narrow, broken, busy = ((("X-Door", state),) for state in ("shut", "narrow", "broken", "busy"))
    for route in GUARDED + MODERATED:
        good = bearer(GOOD)
        narrowed = None if route.requires <= _CAPABILITIES["subscriber"] else "insufficient_role"
        rows = [
            ("shut", shut, 403, "policy_denied"),
            ("narrow", narrow, 403 if narrowed else route.granted, narrowed),
            ("broken", broken, 503, "policy_fault"),
            ("busy", busy, *BUSY),
        ]
        for name, door, status, code in rows:
            yield Case(
                f"voting-{route.name}-{name}",
                route.method,
                route.path,
                status,
                code,
                (*good, *door),
                kit="voting",
                has=retry_after(status),
            )
    for name, path in (("create", "/video/sessions"), ("issue", f"/video/sessions/{OPEN}/tokens")):
        yield Case(f"voting-{name}-busy", "POST", path, *BUSY, busy, kit="voting", has=retry_after(429))


# -- methods ---------------------------------------------------------------------------------------

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "ROLECALL")


class KitRoute(NamedTuple):
    name: str
    path: str
    allow: str
    #: The status of each method for an admitted request, without a body.
    granted: dict[str, int]
    #: Who is admitted: everybody, bearers of a "token" (or a server, too), a "server", or a "client" of OAuth.
    needs: str = "nothing"
    #: The methods that need nothing of that.
    open: tuple[str, ...] = ()
    query: str = ""
    #: The code of a 501.
    lacks: str = "not_served"

    def answer(self, method: str) -> tuple[int, str | None]:
        """Status and code for an admitted request; for SDKs' calls that the kit does not have, those of a refusal."""
        status = self.granted.get(method, 405)
        codes = {400: "invalid_actor", 404: "route_not_found", 405: "method_not_allowed", 501: self.lacks}
        if self.needs == "client":
            codes = dict.fromkeys((400, 405), "invalid_request")
        return status, codes.get(status)

    @property
    def credential(self) -> Headers:
        """The headers of an admitted request."""
        return ((AUTH, SERVER),) if self.needs in ("server", "client") else bearer(GOOD)


SERVER = server_jwt()
NO_SERVER = (403, "invalid_server_credential")
NOT_SERVED = (501, "not_served")
#: The same in OAuth's words.
NO_CLIENT = (401, "invalid_client")
REFUSALS = {"token": MISSING, "server": NO_SERVER, "client": NO_CLIENT}
#: The beginning of the routes for acts by a project's servers.
ACTS = f"/video/v2/project/{API_KEY}/session/{OPEN}"

KIT_ROUTES = (
    KitRoute(
        "sessions",
        "/video/sessions",
        "GET, POST, HEAD, OPTIONS",
        {"GET": 200, "HEAD": 200, "POST": 201},
        "server",
        open=("POST",),
        # Of nobody, because servers keep what other rows have created.
        query="?created_by=nobody",
    ),
    KitRoute(
        "session",
        f"/video/sessions/{OPEN}",
        "GET, DELETE, HEAD, OPTIONS",
        {"GET": 200, "HEAD": 200, "DELETE": 204},
        "token",
    ),
    KitRoute(
        "tokens",
        f"/video/sessions/{OPEN}/tokens",
        "GET, POST, HEAD, OPTIONS",
        {"GET": 200, "HEAD": 200, "POST": 201},
        "token",
        open=("POST",),
        # Of nobody, because the ledger keeps what other rows have issued.
        query="?actor=nobody",
    ),
    KitRoute(
        "ticket",
        f"/video/sessions/{OPEN}/ticket",
        "POST, OPTIONS",
        {"POST": 501},
        "token",
        lacks="no_media_service",
    ),
    # The suite's usual kits have no media service, and so no webhooks.
    KitRoute("webhook", "/video/media/livekit/webhook", "POST, OPTIONS", {"POST": 404}),
    KitRoute("signal", f"/video/sessions/{OPEN}/signal", "POST, OPTIONS", {"POST": 204}, "token"),
    KitRoute(
        "connection",
        f"/video/sessions/{OPEN}/connections/{CONNECTION}",
        "DELETE, OPTIONS",
        {"DELETE": 204},
        "token",
    ),
    KitRoute(
        "connections", f"/video/sessions/{OPEN}/connections", "GET, HEAD, OPTIONS", {"GET": 200, "HEAD": 200}, "token"
    ),
    KitRoute("streams", f"/video/sessions/{OPEN}/streams", "GET, HEAD, OPTIONS", {"GET": 200, "HEAD": 200}, "token"),
    KitRoute("stream-mute", f"/video/sessions/{OPEN}/streams/{STREAM}/mute", "POST, OPTIONS", {"POST": 204}, "token"),
    KitRoute("mute", f"/video/sessions/{OPEN}/mute", "POST, OPTIONS", {"POST": 204}, "token"),
    KitRoute(
        "exclusion",
        f"/video/sessions/{OPEN}/exclusions/{ACTOR}",
        "PUT, DELETE, OPTIONS",
        {"PUT": 200, "DELETE": 204},
        "token",
    ),
    # Whom, says a body.
    KitRoute("exclusions", f"/video/sessions/{OPEN}/exclusions", "POST, OPTIONS", {"POST": 400}, "token"),
    KitRoute("readmissions", f"/video/sessions/{OPEN}/readmissions", "POST, OPTIONS", {"POST": 400}, "token"),
    KitRoute("reset", f"/video/sessions/{OPEN}/reset", "POST, OPTIONS", {"POST": 200}, "token"),
    KitRoute("revoke", "/video/tokens/revoke", "POST, OPTIONS", {"POST": 400}, "client"),
    KitRoute("introspect", "/video/tokens/introspect", "POST, OPTIONS", {"POST": 400}, "client"),
    KitRoute("sdk-create", "/video/session/create", "POST, OPTIONS", {"POST": 200}, "server"),
    KitRoute("sdk-signal", f"{ACTS}/signal", "POST, OPTIONS", {"POST": 204}, "server"),
    KitRoute(
        "sdk-connection-signal", f"{ACTS}/connection/{CONNECTION}/signal", "POST, OPTIONS", {"POST": 204}, "server"
    ),
    KitRoute("sdk-connection", f"{ACTS}/connection/{CONNECTION}", "DELETE, OPTIONS", {"DELETE": 204}, "server"),
    KitRoute("sdk-connections", f"{ACTS}/connection", "GET, HEAD, OPTIONS", {"GET": 200, "HEAD": 200}, "server"),
    KitRoute("sdk-stream-mute", f"{ACTS}/stream/{STREAM}/mute", "POST, OPTIONS", {"POST": 200}, "server"),
    KitRoute("sdk-mute", f"{ACTS}/mute", "POST, OPTIONS", {"POST": 200}, "server"),
    KitRoute(
        "sdk-streams", f"{ACTS}/stream", "GET, PUT, HEAD, OPTIONS", {"GET": 200, "PUT": 501, "HEAD": 200}, "server"
    ),
    KitRoute("sdk-streams-again", f"{ACTS}/stream/", "GET, HEAD, OPTIONS", {"GET": 200, "HEAD": 200}, "server"),
    KitRoute("sdk-stream", f"{ACTS}/stream/{STREAM}", "GET, HEAD, OPTIONS", {"GET": 200, "HEAD": 200}, "server"),
    KitRoute(
        "sdk-other",
        f"/video/v2/project/{API_KEY}/archive",
        "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS",
        dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"), 501),
        "server",
    ),
    KitRoute("healthz", "/video/healthz", "GET, HEAD, OPTIONS", {"GET": 200, "HEAD": 200}),
    KitRoute("readyz", "/video/readyz", "GET, HEAD, OPTIONS", {"GET": 200, "HEAD": 200}),
    # The suite's kits sign with a secret, which has no public half.
    KitRoute("jwks", "/video/jwks.json", "GET, HEAD, OPTIONS", {"GET": 404, "HEAD": 404}),
    KitRoute("openapi", "/video/openapi.json", "GET, HEAD, OPTIONS", {"GET": 200, "HEAD": 200}),
)
#: The routes for SDKs again, at the place where an SDK that drops the path of its URL expects them.
ROOT_ROUTES = tuple(
    route._replace(name=f"root-{route.name}", path=route.path.removeprefix("/video"))
    for route in KIT_ROUTES
    if route.name.startswith("sdk-")
)


def _methods() -> Iterator[Case]:
    for route in KIT_ROUTES + ROOT_ROUTES:
        for method in METHODS:
            for who, headers in (("somebody", route.credential), ("nobody", ())):
                status, code = route.answer(method)
                has: dict[str, str | None] = {"allow": None}
                if method == "OPTIONS":
                    status, code, has = 204, None, {"allow": route.allow, "www-authenticate": None}
                elif status == 405:
                    has = {"allow": route.allow}
                elif route.needs in REFUSALS and method not in route.open and who == "nobody":
                    status, code = REFUSALS[route.needs]
                target = f"{route.path}{route.query}"
                yield Case(f"{route.name}-{method}-{who}", method, target, status, code, headers, has=has)
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        for path, guarded in (("/bare", False), ("/inside/open", False), ("/me", True), (f"/inside/{OPEN}", True)):
            cache = "no-store" if guarded else None
            yield Case(
                f"own{path}-{method}".replace(OPEN, "session"),
                method,
                path,
                200,
                headers=bearer(GOOD),
                has={"cache-control": cache},
            )
            refusal = MISSING if guarded else (200, None)
            yield Case(f"own{path}-{method}-nobody".replace(OPEN, "session"), method, path, *refusal)


def _kept() -> Iterator[Case]:
    """Answers that the app lets caches keep: for the bearer of the token alone, wherever it may have been."""
    path, query = f"/kept/{OPEN}", f"?{QUERY}={GOOD}"
    ways = {"header": ("", bearer(GOOD)), "cookie": ("", (("Cookie", f"{COOKIE}={GOOD}"),)), "query": (query, ())}
    of_kits = {"plain": ["header"], "cookie": ["header", "cookie"], "query": ["header", "query"], "browser": [*ways]}
    for kit, of_kit in of_kits.items():
        for way in of_kit:
            target, headers = ways[way]
            vary = "Authorization, Cookie" if "cookie" in of_kit else "Authorization"
            has: dict[str, str | None] = {"cache-control": "private, max-age=60", "vary": vary}
            yield Case(f"kept-{kit}-{way}", "GET", path + target, 200, None, headers, kit=kit, has=has)
        has = {"cache-control": "no-store", "vary": None}
        yield Case(f"kept-{kit}-nobody", "GET", path, *MISSING, kit=kit, has=has)


# -- sessions and ids ------------------------------------------------------------------------------


def _ids() -> Iterator[Case]:
    made_up = OPEN.replace("N6aXA1", "N6aXA2")
    ids = {
        "ended": (ENDED, (410, "session_ended"), REVOKED),
        "unknown": (UNKNOWN, (404, "session_not_found"), (404, "session_not_found")),
        "foreign": (FOREIGN, (400, "invalid_session_id"), (400, "invalid_session_id")),
        "made-up": (made_up, (400, "invalid_session_id"), (400, "invalid_session_id")),
        "garbage": ("x", (400, "invalid_session_id"), (400, "invalid_session_id")),
        "escaped": ("%31" + OPEN[1:], (201, None), (200, None)),
        "nul": ("1_%00", (400, "invalid_session_id"), (400, "invalid_session_id")),
        "not-utf-8": ("1_%FF%FE", (400, "invalid_session_id"), (400, "invalid_session_id")),
        "emoji": ("1_%F0%9F%98%80", (400, "invalid_session_id"), (400, "invalid_session_id")),
        "quote": ("1_%22%3E", (400, "invalid_session_id"), (400, "invalid_session_id")),
        "space": ("1_%20x", (400, "invalid_session_id"), (400, "invalid_session_id")),
        "semicolon": (OPEN + ";a=b", (400, "invalid_session_id"), (403, "wrong_session")),
        "cut": (OPEN[:-1], (400, "invalid_session_id"), (400, "invalid_session_id")),
        "padded": (OPEN + "=", (400, "invalid_session_id"), (400, "invalid_session_id")),
        "of-no-version": ("3_" + OPEN[2:], (400, "invalid_session_id"), (400, "invalid_session_id")),
        "in-capitals": (OPEN.upper(), (400, "invalid_session_id"), (400, "invalid_session_id")),
        "long": ("1_" + "x" * 300, (400, "invalid_session_id"), (400, "invalid_session_id")),
    }
    for name, (text, issued, read) in ids.items():
        yield Case(f"tokens-of-{name}", "POST", f"/video/sessions/{text}/tokens", *issued)
        # A token for the id in the path, if there can be one.
        named = {"ended": ENDED, "unknown": UNKNOWN}.get(name)
        subject = token(session_id=named) if named and named != ENDED else forged(session_id=named or OPEN)
        status, code = read if named or name in ("escaped",) else (403, "wrong_session")
        yield Case(f"read-{name}", "GET", f"/video/sessions/{text}", status, code, bearer(subject))
        yield Case(f"read-{name}-nobody", "GET", f"/video/sessions/{text}", *MISSING)
        if name in ("nul", "not-utf-8", "space", "semicolon"):
            continue  # a guard without a router refuses ambiguous paths before it reads the token
        yield Case(
            f"enter-{name}",
            "GET",
            f"/rooms/{text}/join",
            *{"escaped": (200, None), "ended": REVOKED, "unknown": (200, None)}.get(name, (403, "wrong_session")),
            bearer(subject),
        )
    yield Case("end-unknown", "DELETE", f"/video/sessions/{UNKNOWN}", 204, None, bearer(token(session_id=UNKNOWN)))


# -- bodies ----------------------------------------------------------------------------------------

JSON = (("Content-Type", "application/json"),)
MAX_BODY = 16_384
#: The longest body of a signal, and of an act that mutes all, in bytes.
MAX_SIGNAL_BODY, MAX_MUTE_BODY = 65_536, 262_144


def _padded(size: int) -> bytes:
    return b"{" + b" " * (size - 2) + b"}"


INVALID, TOO_LARGE, UNSUPPORTED = (400, "invalid_request"), (413, "body_too_large"), (415, "unsupported_media_type")


def _bodies_of_any_route(most: int = MAX_BODY) -> dict[str, tuple[Headers, bytes | None, tuple[int, str | None]]]:
    """Bodies and their results, by name.

    :param most: the longest body of the route, in bytes.
    """
    good = (201, None)
    rows: dict[str, tuple[Headers, bytes | None, tuple[int, str | None]]] = {
        "none": ((), None, good),
        "none-with-type": (JSON, None, good),
        "empty": (JSON, b"", good),
        "empty-object": (JSON, b"{}", good),
        "white-space-around": (JSON, b" \t\r\n{}\r\n", good),
        "white-space-alone": (JSON, b"  ", INVALID),
        "longest": (JSON, _padded(most), good),
        "too-long": (JSON, _padded(most + 1), TOO_LARGE),
        "far-too-long": (JSON, _padded(most + 84_000), TOO_LARGE),
        "too-long-of-no-type": ((), _padded(most + 1), TOO_LARGE),
        "unknown-member": (JSON, b'{"colour":"blue"}', INVALID),
        "member-in-capitals": (JSON, b'{"ROLE":"publisher"}', INVALID),
        "prototype": (JSON, b'{"__proto__":{}}', INVALID),
        "array": (JSON, b"[]", INVALID),
        "null": (JSON, b"null", INVALID),
        "text": (JSON, b'"a"', INVALID),
        "number": (JSON, b"1", INVALID),
        "two-objects": (JSON, b"{}{}", INVALID),
        "cut": (JSON, b'{"data":', INVALID),
        "not-json": (JSON, b"role=moderator", INVALID),
        "comment": (JSON, b"{/* */}", INVALID),
        "trailing-comma": (JSON, b'{"data":"a",}', INVALID),
        "single-quotes": (JSON, b"{'data':'a'}", INVALID),
        "bom": (JSON, b"\xef\xbb\xbf{}", INVALID),
        "utf-16": (JSON, "{}".encode("utf-16"), INVALID),
        "latin-1": (JSON, b'{"data":"\xe9"}', INVALID),
        "nan": (JSON, b'{"data":NaN}', INVALID),
        "infinity": (JSON, b'{"expires_in":Infinity}', INVALID),
        "minus-infinity": (JSON, b'{"expires_in":-Infinity}', INVALID),
        "beyond-a-float": (JSON, b'{"expires_in":1e999}', INVALID),
        "beyond-a-safe-integer": (JSON, b'{"expires_in":9007199254740993}', INVALID),
        "not-utf-8": (JSON, b'{"data":"\xff"}', INVALID),
        "many-members": (JSON, json.dumps({f"m{number}": 1 for number in range(65)}).encode(), INVALID),
        "nine-deep": (JSON, b'{"data":[[[[[[[[[]]]]]]]]]}', INVALID),
        "opened-16000-deep": (JSON, b'{"data":' + b"[" * 16_000, INVALID),
        "member-with-a-line-break": (JSON, b'{"\\"\\r\\nX-Evil: 1":1}', INVALID),
        "deep": (JSON, b'{"data":' + b"[" * 2000 + b"]" * 2000 + b"}", INVALID),
        "huge-number": (JSON, b'{"data":' + b"9" * 5000 + b"}", INVALID),
        "nul": (JSON, b"\x00", INVALID),
    }
    for name, media_type, answer in (
        ("charset", "application/json; charset=utf-8", good),
        ("capitals", "Application/JSON", good),
        ("space-before-parameter", "application/json ; charset=utf-8", good),
        ("no-value", "", UNSUPPORTED),
        ("text", "text/plain", UNSUPPORTED),
        ("form", "application/x-www-form-urlencoded", UNSUPPORTED),
        ("multipart", "multipart/form-data; boundary=x", UNSUPPORTED),
        ("problem", "application/problem+json", UNSUPPORTED),
        ("json-in-parameter", "text/plain; x=application/json", UNSUPPORTED),
        ("two-in-one", "application/json, text/plain", UNSUPPORTED),
        ("longer", "application/jsonp", UNSUPPORTED),
        ("quote-and-backslash", 'text/"\\plain', UNSUPPORTED),
    ):
        rows[f"type-{name}"] = ((("Content-Type", media_type),), b"{}", answer)
    rows["no-type"] = ((), b"{}", UNSUPPORTED)
    rows["form-of-no-body"] = ((("Content-Type", "application/x-www-form-urlencoded"),), b"", good)
    rows["type-twice"] = ((*JSON, ("Content-Type", "text/plain")), b"{}", UNSUPPORTED)
    rows["form-body"] = ((("Content-Type", "application/x-www-form-urlencoded"),), b"role=moderator", UNSUPPORTED)
    return rows


def _wrong(code: str) -> tuple[int, str]:
    return 400, code


_OPTION, _ROLE, _DATA, _TIME = map(
    _wrong, ("invalid_session_option", "invalid_role", "invalid_data", "invalid_expire_time")
)
_SESSION_BODIES: dict[str, tuple[Any, tuple[int, str | None]]] = {
    "routed": ({"media_mode": "routed", "archive_mode": "always"}, (201, None)),
    "all": ({"location": "203.0.113.7", "media_mode": "routed", "archive_mode": "manual", "e2ee": True}, (201, None)),
    "location-null": ({"location": None}, (201, None)),
    "location-v6": ({"location": "2001:db8::1"}, (201, None)),
    "location-name": ({"location": "Berlin"}, _OPTION),
    "location-number": ({"location": 1}, _OPTION),
    "location-zone": ({"location": "fe80::1%eth0"}, _OPTION),
    **{
        f"location-{place!a}": ({"location": place}, _OPTION)
        for place in ("", "203.0.113.7/24", "203.0.113.007", "::1~x", 0, True, False, [], {}, [1])
    },
    **{
        f"location-zone-{ascii(zone)[:9]}": ({"location": f"fe80::1%{zone}"}, _OPTION)
        for zone in ("é", "x" * 300, "a~b", "\r\n", "\x00")
    },
    "mode-unknown": ({"media_mode": "disabled"}, _OPTION),
    "mode-null": ({"media_mode": None}, _OPTION),
    "mode-list": ({"media_mode": ["routed"]}, _OPTION),
    "mode-capitals": ({"media_mode": "Routed"}, _OPTION),
    **{f"mode-{mode!a}": ({"media_mode": mode}, _OPTION) for mode in ("", 1, True, [], {})},
    **{
        f"archive-{mode!a}": ({"archive_mode": mode, "media_mode": "routed"}, _OPTION)
        for mode in ("", "ALWAYS", None, 1, True, [], {})
    },
    **{f"e2ee-{e2ee!a}": ({"e2ee": e2ee, "media_mode": "routed"}, _OPTION) for e2ee in ("", None, 0, 1, [], {})},
    "e2ee-always": ({"e2ee": True, "media_mode": "routed", "archive_mode": "always"}, _OPTION),
    "always-relayed": ({"archive_mode": "always"}, _OPTION),
    "e2ee-relayed": ({"e2ee": True}, _OPTION),
    "e2ee-text": ({"e2ee": "true"}, _OPTION),
    "e2ee-number": ({"e2ee": 1}, _OPTION),
    "media-null": ({"media": None}, (201, None)),
    **{f"media-{media!a}": ({"media": media}, _OPTION) for media in ("livekit", "", 1, True, [], {})},
}
_TOKEN_BODIES: dict[str, tuple[Any, tuple[int, str | None]]] = {
    **{f"role-{role}": ({"role": role}, (201, None)) for role in _CAPABILITIES},
    "all": (
        {"role": "publisher", "expires_in": 60, "data": "Ann", "initial_layout_class_list": ["focus"]},
        (201, None),
    ),
    "data-of-any-script": ({"data": 'Zoë "雪" \U0001f600 \u2028'}, (201, None)),
    "data-null": ({"data": None}, (201, None)),
    "data-longest": ({"data": "x" * 1000}, (201, None)),
    "data-too-long": ({"data": "x" * 1001}, _DATA),
    "data-number": ({"data": 1}, _DATA),
    "data-object": ({"data": {"name": "Ann"}}, _DATA),
    **{f"data-{data!a}": ({"data": data}, _DATA) for data in (True, [], {}, ["x"])},
    "role-unknown": ({"role": "admin"}, _ROLE),
    "role-capitals": ({"role": "Moderator"}, _ROLE),
    "role-null": ({"role": None}, _ROLE),
    "role-list": ({"role": ["moderator"]}, _ROLE),
    "role-look-alike": ({"role": "ｍoderator"}, _ROLE),
    **{f"role-{role!a}": ({"role": role}, _ROLE) for role in ("moderator ", "mod\x00", "", 1, True, [], {})},
    "expire-time": ({"expire_time": NOW + 60}, (201, None)),
    "expire-time-past": ({"expire_time": NOW - 1}, _TIME),
    "expire-time-milliseconds": ({"expire_time": NOW * 1000}, _TIME),
    "expire-time-text": ({"expire_time": "tomorrow"}, _TIME),
    "expire-time-bool": ({"expire_time": True}, _TIME),
    **{
        f"expire-time-{time!a}": ({"expire_time": time}, _TIME)
        for time in (0, -1, NOW, NOW + 0.5, NOW + 30 * 86_400 + 1, 1e300, -1e300, str(NOW + 60), "", [], {}, [NOW + 60])
    },
    "expire-time-longest": ({"expire_time": NOW + 30 * 86_400}, (201, None)),
    "no-times": ({"expires_in": None, "expire_time": None}, (201, None)),
    **{f"expires-in-{seconds!a}": ({"expires_in": seconds}, _TIME) for seconds in (-1, 0.5, 1e10, 1e300, True, [], {})},
    "expires-in-zero": ({"expires_in": 0}, _TIME),
    "expires-in-negative": ({"expires_in": -60}, _TIME),
    "expires-in-text": ({"expires_in": "60"}, _TIME),
    "expires-in-31-days": ({"expires_in": timedelta(days=31).total_seconds()}, _TIME),
    "both-times": ({"expires_in": 60, "expire_time": NOW + 60}, _TIME),
    "layout-text": ({"initial_layout_class_list": "focus"}, _DATA),
    "layout-numbers": ({"initial_layout_class_list": [1]}, _DATA),
    "layout-null": ({"initial_layout_class_list": None}, _DATA),
    **{
        f"layout-{layout!a}": ({"initial_layout_class_list": layout}, _DATA)
        for layout in (1, True, {}, {"focus": 1}, [None], [""], [" "], ["a b"], ["a+b"], ["a\n"])
    },
    "layout-too-long": ({"initial_layout_class_list": ["x" * 501, "y" * 500]}, _DATA),
    "cookie-off": ({"cookie": True}, INVALID),
    "cookie-false": ({"cookie": False}, (201, None)),
    "cookie-text": ({"cookie": "true"}, INVALID),
}


def _bodies() -> Iterator[Case]:
    targets = {"create": "/video/sessions", "issue": f"/video/sessions/{OPEN}/tokens"}
    for route, target in targets.items():
        for name, (headers, body, answer) in _bodies_of_any_route().items():
            yield Case(f"{route}-body-{name}", "POST", target, *answer, headers, body)
            if body:
                yield Case(f"{route}-chunks-{name}", "POST", target, *answer, headers, body, True)
        yield Case(f"{route}-chunks-empty", "POST", target, *INVALID, JSON, b"", True)
        yield Case(f"{route}-duplicate-member", "POST", target, *INVALID, JSON, b'{"data":"a","data":"b"}')
        yield Case(f"{route}-duplicate-by-escape", "POST", target, *INVALID, JSON, b'{"e2ee":true,"\\u00652ee":false}')
        yield Case(f"{route}-lone-surrogate", "POST", target, *INVALID, JSON, b'{"data":"\\ud800"}')
    for route, rows in (("create", _SESSION_BODIES), ("issue", _TOKEN_BODIES)):
        for name, (value, answer) in rows.items():
            body = json.dumps(value, ensure_ascii=False).encode()
            yield Case(f"{route}-{name}", "POST", targets[route], *answer, JSON, body)
    for route, target in targets.items():
        yield Case(f"{route}-closed", "POST", target, 403, "policy_denied", kit="closed")
        yield Case(f"{route}-closed-with-token", "POST", target, 403, "policy_denied", bearer(GOOD), kit="closed")
        for name, headers in (("origin", (("Origin", ORIGIN),)), ("sec-fetch", (("Sec-Fetch-Site", "cross-site"),))):
            yield Case(f"{route}-{name}-without-body", "POST", target, *UNSUPPORTED, headers)
            yield Case(f"{route}-{name}-with-type", "POST", target, 201, None, (*headers, *JSON))
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    yield Case("end-by-a-form", "DELETE", f"/video/sessions/{OPEN}", *MISSING, form, f"access_token={GOOD}".encode())
    overridden = (*bearer(GOOD), ("X-HTTP-Method-Override", "DELETE"))
    yield Case("read-overridden", "GET", f"/video/sessions/{OPEN}", 200, None, overridden)
    for method, name in (("GET", "read"), ("DELETE", "end")):
        done = 200 if method == "GET" else 204
        for kind, body in (("json", b"{}"), ("junk", b"\x00\xff"), ("long", b"x" * 20_000)):
            headers = (*bearer(GOOD), *JSON)
            yield Case(f"{name}-with-{kind}-body", method, f"/video/sessions/{OPEN}", done, None, headers, body)


# -- cookies and the query -------------------------------------------------------------------------


def csrf(text: str) -> tuple[str, str]:
    return "X-CSRF-Token", _KIT.api.credentials.csrf_token(text)


def cookie(text: str, name: str = COOKIE) -> tuple[str, str]:
    return "Cookie", f"{name}={text}"


def _cookies() -> Iterator[Case]:
    failed, subscriber = (403, "csrf_failed"), token("subscriber")
    rows: list[tuple[str, Headers, tuple[int, str | None], tuple[int, str | None]]] = [
        ("good-and-proof", (cookie(GOOD), csrf(GOOD)), (200, None), (200, None)),
        ("good", (cookie(GOOD),), (200, None), failed),
        ("proof-alone", (csrf(GOOD),), MISSING, MISSING),
        ("wrong-proof", (cookie(GOOD), ("X-CSRF-Token", "x")), (200, None), failed),
        ("empty-proof", (cookie(GOOD), ("X-CSRF-Token", "")), (200, None), failed),
        ("proof-of-another", (cookie(GOOD), csrf(subscriber)), (200, None), failed),
        ("proof-twice", (cookie(GOOD), csrf(GOOD), csrf(GOOD)), (200, None), failed),
        ("proof-in-cookie", (("Cookie", f"{COOKIE}={GOOD}; {COOKIE}-csrf={csrf(GOOD)[1]}"),), (200, None), failed),
        ("among-others", (("Cookie", f"a=b; {COOKIE}={GOOD}; c=d"), csrf(GOOD)), (200, None), (200, None)),
        ("no-space", (("Cookie", f"a=b;{COOKIE}={GOOD};"), csrf(GOOD)), (200, None), (200, None)),
        ("twice", (("Cookie", f"{COOKIE}={GOOD}; {COOKIE}={GOOD}"), csrf(GOOD)), MALFORMED, MALFORMED),
        ("and-header", (cookie(GOOD), *bearer(GOOD)), MALFORMED, MALFORMED),
        ("and-malformed-header", (cookie(GOOD), ("Authorization", "Bearer")), MALFORMED, MALFORMED),
        ("and-basic", (cookie(GOOD), csrf(GOOD), ("Authorization", "Basic eDp5")), (200, None), (200, None)),
        ("header-alone", bearer(GOOD), (200, None), (200, None)),
        ("empty", (cookie(""),), MISSING, MISSING),
        ("quoted", (cookie(f'"{GOOD}"'), csrf(f'"{GOOD}"')), NO_TOKEN, NO_TOKEN),
        ("garbage", (cookie("x"), csrf("x")), NO_TOKEN, NO_TOKEN),
        ("other-name", (cookie(GOOD, "rolecall"), csrf(GOOD)), MISSING, MISSING),
        ("name-in-capitals", (cookie(GOOD, COOKIE.upper()), csrf(GOOD)), MISSING, MISSING),
        ("without-prefix", (cookie(GOOD, COOKIE.removeprefix("__Host-")), csrf(GOOD)), MISSING, MISSING),
        ("subscriber", (cookie(subscriber), csrf(subscriber)), (403, "insufficient_role"), (403, "insufficient_role")),
        ("other-session", (cookie(token(session_id=OTHER)),), (403, "wrong_session"), failed),
        ("expired", (cookie(_BAD_TOKENS["expired"][0]), csrf(_BAD_TOKENS["expired"][0])), EXPIRED, EXPIRED),
        ("t1", (cookie(_BY_NAME["moderator-t1"].headers[0][1].split()[1]),), (200, None), failed),
        ("over-long", (cookie("x" * 16_385),), TOO_LONG, TOO_LONG),
    ]
    room, session = f"/rooms/{OPEN}/moderate", f"/video/sessions/{OPEN}"
    for kit in ("cookie", "browser"):
        for name, headers, read, changed in rows:
            reads = (200, None) if name == "subscriber" else read
            ended = (204, None) if changed == (200, None) else changed
            yield Case(f"{kit}-{name}-GET", "GET", room, *read, headers, kit=kit)
            yield Case(f"{kit}-{name}-POST", "POST", room, *changed, headers, kit=kit)
            yield Case(f"{kit}-{name}-read", "GET", session, *reads, headers, kit=kit)
            yield Case(f"{kit}-{name}-end", "DELETE", session, *ended, headers, kit=kit)
            yield Case(f"{kit}-{name}-mute", "POST", f"{session}/mute", *ended, headers, kit=kit)
        issue = f"{session}/tokens"
        yield Case(f"{kit}-issue-cookie", "POST", issue, 201, None, JSON, b'{"cookie":true}', kit=kit)
        yield Case(f"{kit}-issue-no-cookie", "POST", issue, 201, None, JSON, b'{"cookie":false}', kit=kit)
        yield Case(f"{kit}-issue-wrong-cookie", "POST", issue, *INVALID, JSON, b'{"cookie":1}', kit=kit)
        long = json.dumps({"cookie": True, "data": "\x01" * 600}).encode()
        yield Case(f"{kit}-issue-too-long-for-a-cookie", "POST", issue, *_DATA, JSON, long, kit=kit)


def _queries() -> Iterator[Case]:
    rows: list[tuple[str, str, Headers, tuple[int, str | None]]] = [
        ("good", f"?{QUERY}={GOOD}", (), (200, None)),
        ("among-others", f"?a=b&{QUERY}={GOOD}&c", (), (200, None)),
        ("escaped", f"?{QUERY}={GOOD.replace('.', '%2E')}", (), (200, None)),
        ("name-escaped", f"?%61ccess_token={GOOD}", (), (200, None)),
        ("twice", f"?{QUERY}={GOOD}&{QUERY}={GOOD}", (), MALFORMED),
        ("and-header", f"?{QUERY}={GOOD}", bearer(GOOD), MALFORMED),
        ("and-empty-header", f"?{QUERY}={GOOD}", (("Authorization", ""),), (200, None)),
        ("empty", f"?{QUERY}=", (), MALFORMED),
        ("no-value", f"?{QUERY}", (), MALFORMED),
        ("empty-and-header", f"?{QUERY}=", bearer(GOOD), MALFORMED),
        ("capitals", f"?ACCESS_TOKEN={GOOD}", (), MISSING),
        ("semicolon", f"?a=b;{QUERY}={GOOD}", (), MISSING),
        ("garbage", f"?{QUERY}=x", (), NO_TOKEN),
        ("not-utf-8", f"?{QUERY}=%FF", (), NO_TOKEN),
        ("nul", f"?{QUERY}=%00", (), NO_TOKEN),
        ("over-long", f"?{QUERY}={'x' * 16_385}", (), TOO_LONG),
        ("t1", f"?{QUERY}={_BY_NAME['moderator-t1'].headers[0][1].split()[1].replace('+', '%2B')}", (), (200, None)),
        ("none", "", (), MISSING),
        ("header-alone", "", bearer(GOOD), (200, None)),
        ("subscriber", f"?{QUERY}={token('subscriber')}", (), (403, "insufficient_role")),
    ]
    for kit in ("query", "browser"):
        for name, query, headers, answer in rows:
            yield Case(f"{kit}-in-query-{name}-GET", "GET", f"/rooms/{OPEN}/moderate{query}", *answer, headers, kit=kit)
            yield Case(
                f"{kit}-in-query-{name}-POST", "POST", f"/rooms/{OPEN}/moderate{query}", *answer, headers, kit=kit
            )
    # If switched off, it is no credential at all.
    yield Case("switched-off-query", "GET", f"/rooms/{OPEN}/moderate?{QUERY}={GOOD}", *MISSING)
    yield Case("switched-off-query-and-header", "GET", f"/rooms/{OPEN}/moderate?{QUERY}=x", 200, None, bearer(GOOD))


# -- browsers --------------------------------------------------------------------------------------

_ORIGINS = {
    "listed": (ORIGIN, True),
    "other": ("https://evil.example", False),
    "null": ("null", False),
    "http": ("http://app.example", False),
    "port": (f"{ORIGIN}:8443", False),
    "longer": (f"{ORIGIN}.evil.example", False),
    "capitals": ("https://APP.example", False),
    "slash": (f"{ORIGIN}/", False),
}


def _health() -> Iterator[Case]:
    """Health checks of a kit that has lost its store; nothing is said but the parts that fail."""
    stored = {"cache-control": "no-store", "www-authenticate": None}
    for kit, name, status, code, says in (
        ("plain", "healthz", 200, None, '{"status":"live"}'),
        ("plain", "readyz", 200, None, '{"status":"ready"}'),
        ("lost", "healthz", 200, None, '{"status":"live"}'),
        ("lost", "readyz", 503, "not_ready", "not ready: store, follower"),
    ):
        for method in ("GET", "HEAD"):
            said = says if method == "GET" else ""
            yield Case(f"{kit}-{name}-{method}", method, f"/video/{name}", status, code, has=stored, kit=kit, says=said)
    yield Case("lost-readyz-query", "GET", "/video/readyz?verbose=1", 503, "not_ready", kit="lost")


def _origins() -> Iterator[Case]:
    for kit, vary in (("plain", None), ("pages", "Origin"), ("cookie", "Cookie"), ("browser", "Origin, Cookie")):
        lists = kit in ("pages", "browser")
        for route in KIT_ROUTES:
            many = route.needs == "nothing" or route.name == "session"
            for name, (origin, listed) in _ORIGINS.items():
                if not many and name not in ("listed", "other"):
                    continue
                allowed = origin if lists and listed else None
                has: dict[str, str | None] = {
                    "access-control-allow-origin": allowed,
                    "access-control-allow-credentials": "true" if allowed and kit == "browser" else None,
                    "vary": vary,
                }
                method = next(iter(route.granted))
                headers = (("Origin", origin), *JSON, *route.credential)
                exposed = {"access-control-expose-headers": "Retry-After, WWW-Authenticate" if allowed else None}
                yield Case(
                    f"{kit}-{route.name}-origin-{name}",
                    method,
                    f"{route.path}{route.query}",
                    *route.answer(method),
                    headers,
                    kit=kit,
                    has=has | exposed,
                )
                preflight = (("Origin", origin), ("Access-Control-Request-Method", method))
                methods = {
                    "access-control-allow-methods": route.allow if allowed else None,
                    "access-control-allow-headers": "Authorization, Content-Type, X-CSRF-Token" if allowed else None,
                    "access-control-max-age": "600" if allowed else None,
                    "allow": route.allow,
                }
                yield Case(
                    f"{kit}-{route.name}-preflight-{name}",
                    "OPTIONS",
                    route.path,
                    204,
                    None,
                    preflight,
                    kit=kit,
                    has=has | methods,
                )
        refused = {"access-control-allow-origin": ORIGIN if lists else None, "vary": vary}
        yield Case(
            f"{kit}-refused-origin",
            "GET",
            f"/video/sessions/{OPEN}",
            *MISSING,
            (("Origin", ORIGIN),),
            kit=kit,
            has=refused,
        )
        yield Case(
            f"{kit}-405-origin",
            "PUT",
            "/video/sessions",
            405,
            "method_not_allowed",
            (("Origin", ORIGIN),),
            kit=kit,
            has=refused,
        )
    twice = (("Origin", ORIGIN), ("Origin", ORIGIN))
    none = {"access-control-allow-origin": None}
    yield Case("pages-origin-twice", "GET", "/video/openapi.json", 200, None, twice, kit="pages", has=none)
    for name, headers in {
        "accept-html": (("Accept", "text/html"),),
        "accept-nothing": (("Accept", "*/*;q=0"),),
        "range": (("Range", "bytes=0-1"),),
        "if-none-match": (("If-None-Match", "*"),),
        "method-override": (("X-HTTP-Method-Override", "DELETE"),),
        "forwarded": (("X-Forwarded-Prefix", "/x"), ("X-Forwarded-Host", "evil.example"), ("X-Script-Name", "/x")),
        "original-url": (("X-Original-URL", "/bare"), ("X-Rewrite-URL", "/bare")),
        "encodings": (("Accept-Encoding", "gzip, br"),),
    }.items():
        yield Case(f"session-{name}", "GET", f"/video/sessions/{OPEN}", 200, None, (*headers, *bearer(GOOD)))
        yield Case(f"session-{name}-nobody", "GET", f"/video/sessions/{OPEN}", *MISSING, headers)
        yield Case(f"openapi-{name}", "GET", "/video/openapi.json", 200, None, headers)
        yield Case(f"room-{name}-nobody", "GET", f"/rooms/{OPEN}/moderate", *MISSING, headers)


# -- acts in sessions ------------------------------------------------------------------------------

_PATH_IDS: dict[str, tuple[str, bool]] = {
    "longest": ("x" * 255, True),
    "of-every-kind": ("Az09-_.~=+", True),
    "uuid": ("7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34", True),
    "escaped": ("%63onnection", True),
    "too-long": ("x" * 256, False),
    "dot": ("%2E", False),
    "dots": ("%2E%2E", False),
    "space": ("%20", False),
    "colon": ("a:b", True),
    "comma": ("a,b", True),
    "quote": ("%22", False),
    "percent": ("%2525", False),
    "nul": ("a%00", False),
    "not-ascii": ("Zo%C3%AB", True),
    "mail": ("bob@example.org", True),
    "bar": ("auth0%7C123", True),
    "backslash": ("a%5Cb", False),
    "no-width": ("a%E2%80%8B", False),
    "not-utf-8": ("%FF", False),
    "semicolon": ("a;b=c", False),
    "question-mark": ("a%3Fb", False),
}
_TOO_LONG_SIGNAL = (413, "signal_too_large")
_SIGNALS: dict[str, tuple[Any, bool | tuple[int, str]]] = {
    "type": ({"type": "chat"}, True),
    "data": ({"data": 'Zoë "雪" \U0001f600'}, True),
    "both": ({"type": "chat", "data": "hello"}, True),
    "empty": ({"type": "", "data": ""}, True),
    "type-longest": ({"type": "x" * 128}, True),
    "type-too-long": ({"type": "x" * 129}, _TOO_LONG_SIGNAL),
    "type-too-many-bytes": ({"type": "é" * 65}, _TOO_LONG_SIGNAL),
    "type-null": ({"type": None}, False),
    "type-number": ({"type": 1}, False),
    "data-longest": ({"data": "x" * 8192}, True),
    "data-too-long": ({"data": "x" * 8193}, _TOO_LONG_SIGNAL),
    "data-too-many-bytes": ({"data": "é" * 4097}, _TOO_LONG_SIGNAL),
    "data-null": ({"data": None}, False),
    "data-object": ({"data": {"text": "hello"}}, False),
    "data-list": ({"data": ["hello"]}, False),
    "data-bool": ({"data": True}, False),
    "unknown-member": ({"type": "chat", "to": "all"}, False),
    "session": ({"session_id": OTHER}, False),
}
_CONNECTIONS: dict[str, tuple[Any, bool]] = {
    "connection": ({"connection_id": CONNECTION}, True),
    "connection-null": ({"connection_id": None}, True),
    "connection-empty": ({"connection_id": ""}, False),
    "connection-number": ({"connection_id": 1}, False),
    "connection-list": ({"connection_id": [CONNECTION]}, False),
    "connection-slash": ({"connection_id": "a/../b"}, False),
    "connection-dots": ({"connection_id": ".."}, False),
    "connection-too-long": ({"connection_id": "x" * 256}, False),
    "connection-line-break": ({"connection_id": "a\n"}, False),
}


def _mutes(streams: str, lenient: bool) -> dict[str, tuple[Any, bool]]:
    """Values of ``active``, and of the member ``streams`` with the excluded streams; and whether they are valid.

    :param lenient: whether streams are allowed when muting stops, and null for none, as SDKs send them.
    """
    return {
        "active": ({"active": True}, True),
        "stopped": ({"active": False}, True),
        "active-null": ({"active": None}, False),
        "active-number": ({"active": 1}, False),
        "active-list": ({"active": [True]}, False),
        "active-other-text": ({"active": "yes"}, False),
        "active-empty": ({"active": ""}, False),
        "active-capitals": ({"active": "TRUE"}, False),
        f"{streams}": ({streams: ["stream-1", "stream-2"]}, True),
        f"{streams}-active": ({"active": True, streams: ["stream-1"]}, True),
        f"{streams}-stopped": ({"active": False, streams: ["stream-1"]}, lenient),
        f"{streams}-bad-and-stopped": ({"active": False, streams: ["a/b"]}, False),
        f"{streams}-empty": ({streams: []}, True),
        f"{streams}-empty-stopped": ({"active": False, streams: []}, True),
        f"{streams}-most": ({streams: ["x" * 255] * 1000}, True),
        f"{streams}-too-many": ({streams: ["x"] * 1001}, False),
        f"{streams}-null": ({streams: None}, lenient),
        f"{streams}-text": ({streams: "stream-1"}, False),
        f"{streams}-object": ({streams: {"stream-1": True}}, False),
        f"{streams}-number": ({streams: 1}, False),
        f"{streams}-of-numbers": ({streams: [1]}, False),
        f"{streams}-of-null": ({streams: [None]}, False),
        f"{streams}-of-empty": ({streams: [""]}, False),
        f"{streams}-of-slashes": ({streams: ["a/b"]}, False),
        f"{streams}-of-long": ({streams: ["x" * 256]}, False),
        "unknown-member": ({"active": True, "stream": "x"}, False),
    }


def _answer(taken: bool | tuple[int, str], granted: int) -> tuple[int, str | None]:
    """The result of a body that is accepted, refused in one way, or refused in the usual one."""
    if taken is True:
        return granted, None
    return taken or INVALID


def _acts() -> Iterator[Case]:
    """The acts that a sufficient token allows."""
    good = bearer(GOOD)
    session = f"/video/sessions/{OPEN}"
    mutes = _mutes("excluded_stream_ids", lenient=False) | {"active-text": ({"active": "true"}, False)}
    for route, most, rows in (
        ("signal", MAX_SIGNAL_BODY, _SIGNALS | _CONNECTIONS),
        ("mute", MAX_MUTE_BODY, mutes),
        ("streams/stream-1/mute", MAX_BODY, {"any-member": ({"active": True}, False)}),
    ):
        for name, (value, taken) in rows.items():
            answer = _answer(taken, 204)
            body = json.dumps(value, ensure_ascii=False).encode()
            yield Case(f"act-{route}-{name}", "POST", f"{session}/{route}", *answer, (*good, *JSON), body)
        for name, (headers, sent, (status, code)) in _bodies_of_any_route(most).items():
            answer = (204, None) if status == 201 else (status, code)
            yield Case(f"act-{route}-body-{name}", "POST", f"{session}/{route}", *answer, (*good, *headers), sent)
            if sent and route == "signal":
                yield Case(
                    f"act-{route}-chunks-{name}", "POST", f"{session}/{route}", *answer, (*good, *headers), sent, True
                )
        for name, headers in (("origin", (("Origin", ORIGIN),)), ("sec-fetch", (("Sec-Fetch-Site", "cross-site"),))):
            yield Case(f"act-{route}-{name}-without-body", "POST", f"{session}/{route}", *UNSUPPORTED, good + headers)
    for name, (text, taken) in _PATH_IDS.items():
        answer = (204, None) if taken else INVALID
        yield Case(f"act-connection-{name}", "DELETE", f"{session}/connections/{text}", *answer, good)
        yield Case(f"act-stream-{name}", "POST", f"{session}/streams/{text}/mute", *answer, good)
    yield Case("act-connection-with-body", "DELETE", f"{session}/connections/x", 204, None, (*good, *JSON), b"{")
    # An insufficient token is reported first, whatever the rest of the request is.
    subscriber = bearer(token("subscriber"))
    yield Case("act-signal-subscriber-and-bad", "POST", f"{session}/signal", 403, "insufficient_role", subscriber, b"x")
    yield Case("act-connection-nobody-and-bad", "DELETE", f"{session}/connections/%2E", *MISSING)
    for name, of in (("unknown", UNKNOWN), ("ended", ENDED), ("foreign", FOREIGN)):
        answer = {"unknown": (204, None), "ended": REVOKED, "foreign": (400, "invalid_session_id")}[name]
        theirs = bearer(forged(session_id=of))
        yield Case(f"act-in-{name}-session", "POST", f"/video/sessions/{of}/mute", *answer, theirs)
    listed = json.dumps({"items": STREAMS}, ensure_ascii=False, separators=(",", ":"))
    yield Case("act-streams-listed", "GET", f"{session}/streams", 200, None, good, says=listed)
    listed = json.dumps({"items": CONNECTIONS}, separators=(",", ":"))
    yield Case("act-connections-listed", "GET", f"{session}/connections", 200, None, good, says=listed)
    for acting in MODERATED:
        less = (acting.granted, None) if acting.requires == {"signal"} else (403, "insufficient_role")
        for word, answer in {
            "shut": (403, "policy_denied"),
            "narrow": (403, "insufficient_role"),
            "less": less,
            "broken": (503, "policy_fault"),
            "busy": BUSY,
            "other": (acting.granted, None),
        }.items():
            headers, has = (*good, ("X-Act", word)), retry_after(answer[0])
            name = f"voting-{acting.name}-vote-{word}"
            yield Case(name, acting.method, acting.path, *answer, headers, kit="voting", has=has)


# -- what is taken back ----------------------------------------------------------------------------

TAKEN_BACK = (
    Guarded("excluding", f"/video/sessions/{OPEN}/exclusions/{ACTOR}", {"moderate"}, OPEN, "PUT"),
    Guarded("readmitting", f"/video/sessions/{OPEN}/exclusions/{ACTOR}", {"moderate"}, OPEN, "DELETE", 204),
    Guarded("resetting", f"/video/sessions/{OPEN}/reset", {"moderate"}, OPEN, "POST"),
)
#: One credential of each kind: these routes take tokens as all others do.
_OF_EACH_KIND = (
    "none",
    "moderator",
    "moderator-t1",
    "moderator-of-other",
    "subscriber",
    "comma-joined",
    "garbage",
    "expired",
    "ended-session",
    "servers-credential",
    "over-long",
)
_ENDS: dict[str, tuple[Any, bool]] = {
    "for-good": ({}, True),
    "until": ({"until": NOW + 60}, True),
    "until-null": ({"until": None}, True),
    "expires-in": ({"expires_in": 60.5}, True),
    "until-text": ({"until": "tomorrow"}, False),
    "until-milliseconds": ({"until": NOW * 1000}, False),
    "expires-in-zero": ({"expires_in": 0}, False),
    "both-ends": ({"until": NOW + 60, "expires_in": 60}, False),
    "unknown-member": ({"role": "moderator"}, False),
}
_ACTORS: dict[str, tuple[Any, bool]] = {
    "plain": (ACTOR, True),
    "slash": ("a/../b", True),
    "of-any-script": ('Zoë "雪" \U0001f600', True),
    "missing": (None, False),
    "number": (1, False),
    "empty": ("", False),
    "too-long": ("x" * 256, False),
    "not-composed": ("Zoe\u0308", False),
    "no-width": ("a\u200b", False),
}
_EPOCHS: dict[str, tuple[Any, bool]] = {
    "null": (None, True),
    "zero": (0, True),
    "later": (int(NOW * 1000), True),
    "negative": (-1, False),
    "text": ("0", False),
    "bool": (False, False),
    "fraction": (0.5, False),
}


def _renewals() -> Iterator[Case]:
    """Renewals of tokens, of which no policy of the suite's kits allows any: who may get a first one may not renew."""
    target, body = f"/video/sessions/{OPEN}/tokens", b'{"renew":true}'
    own = forged(jti=f"0.{'a' * 32}", rolecall_actor=ACTOR)
    for name, headers, answer in (
        ("by-nobody", (), MISSING),
        ("by-its-bearer", bearer(own), (403, "policy_denied")),
        ("of-an-sdks-token", bearer(forged()), (403, "not_renewable")),
        ("in-another-session", bearer(forged(session_id=OTHER)), (403, "wrong_session")),
        ("of-a-revoked-token", bearer(forged(session_id=ENDED)), (403, "wrong_session")),
    ):
        yield Case(f"renewal-{name}", "POST", target, *answer, (*headers, *JSON), body=body)
    yield Case("renewal-maybe", "POST", target, 400, "invalid_request", (*bearer(own), *JSON), body=b'{"renew":1}')


def _tickets() -> Iterator[Case]:
    """Tokens that are exchanged for tickets of a media service."""
    target, lacking, unnamed = f"/video/sessions/{OPEN}/ticket", (501, "no_media_service"), (403, "no_identity")
    created = (201, None)
    for role in ("subscriber", "publisheronly", "publisher", "moderator"):
        named = bearer(forged(role=role, rolecall_actor=ACTOR))
        yield Case(f"ticket-{role}", "POST", target, 201, None, named, kit="media", says='"media":"livekit"')
        yield Case(f"ticket-{role}-without-media", "POST", target, *lacking, named)
    own = bearer(forged(rolecall_actor=ACTOR))
    route = Guarded("ticket", target, set(), OPEN, "POST", 201)
    for name in _OF_EACH_KIND:
        credential = _BY_NAME[name]
        refusal = refusal_of(route, credential) or unnamed
        yield Case(f"ticket-by-{name}", "POST", target, *refusal, credential.headers, kit="media")
    for name, media, answer in (("first", "livekit", created), ("null", None, created), ("other", "x", _OPTION)):
        body, says = json.dumps({"media": media}).encode(), '"media":"livekit"' if answer == created else ""
        yield Case(f"session-at-{name}", "POST", "/video/sessions", *answer, JSON, body, kit="media", says=says)
    yield Case("ticket-body-empty", "POST", target, 201, None, (*own, *JSON), b"{}", kit="media")
    yield Case("ticket-body-member", "POST", target, *INVALID, (*own, *JSON), b'{"room":"x"}', kit="media")
    as_text = (*own, ("Content-Type", "text/plain"))
    yield Case("ticket-body-text", "POST", target, *UNSUPPORTED, as_text, b"{}", kit="media")
    longest, too_long = (bearer(forged(rolecall_actor=actor)) for actor in ("x" * 255, "雪" * 86))
    yield Case("ticket-for-the-longest", "POST", target, 201, None, longest, kit="media")
    yield Case("ticket-for-too-long", "POST", target, *unnamed, too_long, kit="media")
    less = bearer(forged(role="subscriber", rolecall_actor=ACTOR, rolecall_capabilities="connect subscribe signal"))
    yield Case("ticket-narrowed", "POST", target, 201, None, less, kit="media")


def webhook(body: bytes = b'{"event":"room_started"}', secret: str = MEDIA_SECRET, **claims: Any) -> Headers:
    """The headers of a webhook of LiveKit with this body."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    good = {"sha256": digest, "sub": "", "iss": "APIconformance", "nbf": int(NOW), "exp": int(NOW) + 300}
    return (
        ("Authorization", jwt.encode({**good, **claims}, secret, "HS256")),
        ("Content-Type", "application/webhook+json"),
    )


def _told(event: str, room: str, **members: Any) -> bytes:
    told = {"event": event, "id": f"EV_{event}", "createdAt": str(int(NOW)), "room": {"name": room}, **members}
    return json.dumps(told).encode()


def _webhooks() -> Iterator[Case]:
    """Webhooks of a media service, which signs their bodies."""
    target, taken = "/video/media/livekit/webhook", (200, None)
    ada = {"participant": {"identity": "Zoë, ada"}}
    bodies = {
        "room-started": _told("room_started", OPEN),
        "participant-joined": _told("participant_joined", OPEN, **ada),
        "track-published": _told("track_published", OPEN, **ada, track={"sid": "TR_1"}),
        "participant-left": _told("participant_left", OPEN, **ada),
        "room-of-nobody": _told("room_started", "somebody else's room"),
        "other-event": _told("egress_started", OPEN),
        "spaced": b" \r\n" + _told("room_finished", OPEN) + b"\n",
    }
    for name, body in bodies.items():
        yield Case(f"webhook-{name}", "POST", target, *taken, webhook(body), body, kit="media", says="{}")
    started = bodies["room-started"]
    changed, bare = started.replace(b"room_started", b"room_finished"), dict(webhook(started))
    longest, too_long = (started[:-1] + b" " * (size - len(started)) + b"}" for size in (1_048_576, 1_048_577))
    unsigned = (401, "bad_signature")
    rows: list[tuple[str, Headers, bytes | None, tuple[int, str | None]]] = [
        ("chunked", webhook(started), started, taken),
        ("of-other-type", (("Authorization", bare["Authorization"]), *JSON), started, taken),
        ("longest", webhook(longest), longest, taken),
        ("too-long", webhook(too_long), too_long, TOO_LARGE),
        ("changed", webhook(started), changed, unsigned),
        ("without-body", webhook(started), None, unsigned),
        ("of-another-secret", webhook(started, API_SECRET), started, unsigned),
        ("of-another-key", webhook(started, iss=API_KEY), started, (401, "unknown_key")),
        ("expired", webhook(started, nbf=int(NOW) - 400, exp=int(NOW) - 60), started, (401, "expired_token")),
        ("late", webhook(started, nbf=int(NOW) - 359, exp=int(NOW) - 59), started, taken),
        ("too-early", webhook(started, nbf=int(NOW) + 61), started, (401, "token_not_yet_valid")),
        ("of-no-end", webhook(started, exp=None), started, (401, "invalid_claim")),
        ("by-a-token", bearer(GOOD), started, (401, "malformed_token")),
        ("unsigned", JSON, started, MISSING),
        ("of-a-client", webhook(started, sha256=None), started, (401, "wrong_token_kind")),
        ("not-json", webhook(b"x"), b"x", INVALID),
        ("of-no-room", webhook(b'{"event":"room_started"}'), b'{"event":"room_started"}', INVALID),
    ]
    for name, headers, sent, answer in rows:
        yield Case(f"webhook-{name}", "POST", target, *answer, headers, sent, name == "chunked", kit="media")
    elsewhere = "/video/media/another/webhook"
    yield Case("webhook-of-another", "POST", elsewhere, 404, "route_not_found", webhook(started), started, kit="media")
    yield Case("webhook-without-media", "POST", target, 404, "route_not_found", webhook(started), started)


def _taken_back() -> Iterator[Case]:
    """Exclusions and resets, by whoever has a sufficient token, and by servers."""
    good, server, session = bearer(GOOD), ((AUTH, SERVER),), f"/video/sessions/{OPEN}"
    for route in TAKEN_BACK:
        for name in _OF_EACH_KIND:
            credential = _BY_NAME[name]
            status, code = refusal_of(route, credential) or (route.granted, None)
            yield Case(f"{route.name}-{name}", route.method, route.path, status, code, credential.headers)
        for name, headers, answer in (
            ("server", server, (route.granted, None)),
            ("forged-server", ((AUTH, server_jwt(secret="f" * 40)),), NO_SERVER),
            ("server-and-token", (*server, *good), NO_SERVER),
        ):
            yield Case(f"{route.name}-{name}", route.method, route.path, *answer, headers)
        yield Case(f"{route.name}-closed", route.method, route.path, route.granted, None, good, kit="closed")
        for word, answer in {"shut": (403, "policy_denied"), "broken": FAULT, "busy": BUSY}.items():
            headers, has = (*good, ("X-Act", word)), retry_after(answer[0])
            name = f"voting-{route.name}-{word}"
            yield Case(name, route.method, route.path, *answer, headers, kit="voting", has=has)
        application = bearer(application_jwt())
        yield Case(
            f"{route.name}-application", route.method, route.path, route.granted, None, application, kit="application"
        )
        second = ((AUTH, server_jwt(iss=SECOND_KEY, secret=SECOND_SECRET)),)
        yield Case(f"{route.name}-second-server", route.method, route.path, *NO_SERVER, second, kit="two")
        foreign = route.path.replace(OPEN, FOREIGN)
        yield Case(f"{route.name}-foreign", route.method, foreign, 400, "invalid_session_id", server)
    for name, (text, taken) in _PATH_IDS.items():
        for method, granted in (("PUT", 200), ("DELETE", 204)):
            answer = (granted, None) if taken else INVALID
            yield Case(f"exclusion-{method}-{name}", method, f"{session}/exclusions/{text}", *answer, server)
    for name, (value, taken) in _ENDS.items():
        answer = (200, None) if taken else INVALID
        body = json.dumps(value).encode()
        yield Case(f"exclude-{name}", "PUT", f"{session}/exclusions/{ACTOR}", *answer, (*server, *JSON), body)
    for name, (value, taken) in _ACTORS.items():
        body = json.dumps({"actor": value}, ensure_ascii=False).encode()
        for route_name, granted in (("exclusions", 200), ("readmissions", 204)):
            answer = (granted, None) if taken else (400, "invalid_actor")
            yield Case(f"{route_name}-{name}", "POST", f"{session}/{route_name}", *answer, (*server, *JSON), body)
    for name, (value, taken) in _EPOCHS.items():
        answer = (200, None) if taken else INVALID
        body = json.dumps({"epoch": value}).encode()
        yield Case(f"reset-{name}", "POST", f"{session}/reset", *answer, (*server, *JSON), body)
    says = f'{{"session_id":"{OPEN}","epoch":{int(NOW * 1000)},"not_before":{int(NOW) + 1}}}'
    yield Case("reset-says", "POST", f"{session}/reset", 200, None, good, says=says)
    says = f'{{"session_id":"{OPEN}","actor_id":"{ACTOR}","until":null,"disconnected":false}}'
    yield Case("excluded-says", "PUT", f"{session}/exclusions/{ACTOR}", 200, None, good, says=says)
    for method, path, granted in (
        ("PUT", f"exclusions/{ACTOR}", 200),
        ("POST", "exclusions", 200),
        ("POST", "readmissions", 204),
        ("POST", "reset", 200),
    ):
        body = b"{}" if granted == 200 and path != "exclusions" else b'{"actor":"ada"}'
        target, name = f"{session}/{path}", path.partition("/")[0]
        yield Case(f"{name}-{method}-chunks", method, target, granted, None, (*server, *JSON), body, True)
        yield Case(
            f"{name}-{method}-text", method, target, *UNSUPPORTED, (*server, ("Content-Type", "text/plain")), body
        )
        yield Case(f"{name}-{method}-too-long", method, target, *TOO_LARGE, (*server, *JSON), _padded(MAX_BODY + 1))
        yield Case(f"{name}-{method}-array", method, target, *INVALID, (*server, *JSON), b"[]")
    yield Case("nameless-exclude", "PUT", f"{session}/exclusions/{ACTOR}", 409, "not_taken_back", good, kit="nameless")
    lost = (503, "store_unavailable")
    yield Case("lost-exclude", "PUT", f"{session}/exclusions/{ACTOR}", *lost, server, kit="lost")


# -- OAuth's own routes ------------------------------------------------------------------------------


def basic(user: str = API_KEY, secret: str = API_SECRET) -> Headers:
    return (("Authorization", f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}"),)


WRONG_FORM, WRONG_TYPE, NOT_REVOCABLE = (
    (400, "invalid_request"),
    (415, "invalid_request"),
    (400, "unsupported_token_type"),
)
DOWN = (503, "temporarily_unavailable")
_BY_FORM = f"&client_id={API_KEY}&client_secret={API_SECRET}"
_CLIENTS: dict[str, tuple[Headers, str, tuple[int, str | None]]] = {
    "basic": (basic(), "", (200, None)),
    "basic-in-small-letters": ((("Authorization", basic()[0][1].replace("B", "b", 1)),), "", (200, None)),
    "form": ((), _BY_FORM, (200, None)),
    "server": (((AUTH, SERVER),), "", (200, None)),
    "nobody": ((), "", NO_CLIENT),
    "wrong-secret": (basic(secret="f" * 40), "", NO_CLIENT),
    "wrong-secret-in-form": ((), _BY_FORM + "x", NO_CLIENT),
    "unknown-key": (basic("111111"), "", NO_CLIENT),
    "malformed-basic": ((("Authorization", "Basic x"),), "", NO_CLIENT),
    "basic-twice": (basic() * 2, "", NO_CLIENT),
    "clients-token": (bearer(GOOD), "", NO_CLIENT),
    "clients-token-as-server": (((AUTH, GOOD),), "", NO_CLIENT),
    "basic-and-form": (basic(), _BY_FORM, WRONG_FORM),
    "basic-and-server": ((*basic(), (AUTH, SERVER)), "", WRONG_FORM),
    "bearer-and-form": (bearer(GOOD), _BY_FORM, WRONG_FORM),
}
_TOKEN_FORMS: dict[str, tuple[str, tuple[int, str | None]]] = {
    "hint": ("token=x&token_type_hint=pigeon", (200, None)),
    "further-field": ("token=x&resource=a&resource=b", (200, None)),
    "empty": ("token=", WRONG_FORM),
    "twice": ("token=x&token=x", WRONG_FORM),
    "space": ("token=a+b", WRONG_FORM),
    "not-utf-8": ("token=%FF", WRONG_FORM),
    "no-form": ("token", WRONG_FORM),
    "other-name": ("TOKEN=x", WRONG_FORM),
    "far-over-16-KiB": ("token=" + "x" * 100_000, (413, "invalid_request")),
}
_TOKEN_TYPES: dict[str, tuple[Headers, tuple[int, str | None]]] = {
    "charset": ((("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8"),), (200, None)),
    "json": ((("Content-Type", "application/json"),), WRONG_TYPE),
    "text": ((("Content-Type", "text/plain"),), WRONG_TYPE),
    "none": ((), WRONG_TYPE),
}


def _oauth() -> Iterator[Case]:
    """Revocation and introspection."""
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    none, active = '{"active":false}', f'"client_id":"{API_KEY}","token_type":"Bearer"'
    for route in ("revoke", "introspect"):
        path = f"/video/tokens/{route}"
        for name, (headers, more, answer) in _CLIENTS.items():
            body = f"token={GOOD}{more}".encode()
            yield Case(f"{route}-{name}", "POST", path, *answer, (*headers, *form), body)
        for name, (text, answer) in _TOKEN_FORMS.items():
            yield Case(f"{route}-form-{name}", "POST", path, *answer, (*basic(), *form), text.encode())
        yield Case(f"{route}-chunks", "POST", path, 200, None, (*basic(), *form), b"token=x", True)
        for name, (headers, answer) in _TOKEN_TYPES.items():
            yield Case(f"{route}-type-{name}", "POST", path, *answer, (*basic(), *headers), b"token=x")
        for name, text in (("own", GOOD), ("seconds", _SECOND_KIT.generate_token(OF_SECOND))):
            for kit, client in (("two", basic()), ("two", basic(SECOND_KEY, SECOND_SECRET))):
                body = f"token={text}".encode()
                owner = "first" if client == basic() else "second"
                yield Case(f"{kit}-{route}-{name}-by-{owner}", "POST", path, 200, None, (*client, *form), body, kit=kit)
        application = bearer(application_jwt())
        body = b"token=x"
        yield Case(
            f"{route}-application", "POST", path, 200, None, (*application, *form), body, kit="application-alone"
        )
        yield Case(
            f"{route}-no-application", "POST", path, *NO_CLIENT, (*basic(), *form), body, kit="application-alone"
        )
        has = {"retry-after": "5"}
        lost = f"token={GOOD}".encode()
        yield Case(f"lost-{route}", "POST", path, *DOWN, (*basic(), *form), lost, kit="lost", has=has)
    for name, (text, says) in {
        "good": (GOOD, active),
        "garbage": ("x", none),
        **{
            name: (_BAD_TOKENS[name][0], none) for name in ("expired", "wrong-secret", "ended-session", "not-yet-valid")
        },
    }.items():
        body = f"token={text}".encode()
        has = {"content-type": "application/json", "cache-control": "no-store"}
        yield Case(
            f"introspect-token-{name}",
            "POST",
            "/video/tokens/introspect",
            200,
            None,
            (*basic(), *form),
            body,
            has=has,
            says=says,
        )
        answer = NOT_REVOCABLE if name == "not-yet-valid" else (200, None)
        yield Case(f"revoke-token-{name}", "POST", "/video/tokens/revoke", *answer, (*basic(), *form), body)


NO_SERVICE, NOT_FOUND = (501, "no_media_service"), (404, "not_found_at_service")
FAULT, OUT_OF_ORDER = (503, "policy_fault"), (503, "unavailable")


def _services() -> Iterator[Case]:
    """Cases without a media service, or with one that misbehaves; and the arguments that reach it."""
    for route in KIT_ROUTES:
        if route.path not in {one.path for one in MODERATED} and not route.path.startswith(ACTS):
            continue
        ((method, _), *_) = route.granted.items()
        yield Case(f"closed-{route.name}", method, route.path, *NO_SERVICE, route.credential, kit="closed")
        refusal = REFUSALS[route.needs]
        yield Case(f"closed-{route.name}-nobody", method, route.path, *refusal, kit="closed")
        failure = {"connection": OUT_OF_ORDER, "sdk-connection": OUT_OF_ORDER, "mute": NO_SERVICE}
        failure |= {"sdk-mute": NO_SERVICE}
        yield Case(
            f"failing-{route.name}",
            method,
            route.path,
            *failure.get(route.name, FAULT),
            route.credential,
            kit="failing",
        )
    good, session = bearer(GOOD), f"/video/sessions/{OPEN}"
    server = ((AUTH, SERVER),)
    rows: list[tuple[str, str, Headers, Any, list[Any]]] = [
        ("POST", f"{session}/signal", good, None, ["signal", OPEN, "", "", None]),
        ("POST", f"{session}/signal", good, {"type": "chat", "data": "雪"}, ["signal", OPEN, "chat", "雪", None]),
        ("POST", f"{session}/signal", good, {"connection_id": "c"}, ["signal", OPEN, "", "", "c"]),
        ("DELETE", f"{session}/connections/c%2D1", good, None, ["force_disconnect", OPEN, "c-1"]),
        ("POST", f"{session}/streams/s-1/mute", good, {}, ["mute_stream", OPEN, "s-1"]),
        ("POST", f"{session}/mute", good, None, ["mute_all", OPEN, True, []]),
        ("POST", f"{session}/mute", good, {"active": False}, ["mute_all", OPEN, False, []]),
        ("POST", f"{session}/mute", good, {"excluded_stream_ids": ["a", "b"]}, ["mute_all", OPEN, True, ["a", "b"]]),
        ("GET", f"{session}/streams", good, None, ["list_streams", OPEN]),
        ("GET", f"{session}/connections", good, None, ["list_connections", OPEN]),
        ("GET", f"{ACTS}/connection", server, None, ["list_connections", OPEN]),
        ("POST", f"{ACTS}/signal", server, {"type": "chat", "data": "雪"}, ["signal", OPEN, "chat", "雪", None]),
        ("POST", f"{ACTS}/connection/c-1/signal", server, {"data": "x"}, ["signal", OPEN, "", "x", "c-1"]),
        ("DELETE", f"{ACTS}/connection/c-1", server, None, ["force_disconnect", OPEN, "c-1"]),
        ("POST", f"{ACTS}/stream/s-1/mute", server, None, ["mute_stream", OPEN, "s-1"]),
        ("POST", f"{ACTS}/mute", server, {"active": True}, ["mute_all", OPEN, True, []]),
        ("POST", f"{ACTS}/mute", server, {"active": "true"}, ["mute_all", OPEN, True, []]),
        ("POST", f"{ACTS}/mute", server, {"active": "false"}, ["mute_all", OPEN, False, []]),
        ("POST", f"{ACTS}/mute", server, {"active": False, "excludedStreams": ["a"]}, ["mute_all", OPEN, False, []]),
        ("POST", f"{ACTS}/mute", server, {"active": True, "excludedStreams": None}, ["mute_all", OPEN, True, []]),
        ("GET", f"{ACTS}/stream/", server, None, ["list_streams", OPEN]),
        ("POST", f"{ACTS}/mute", server, {"excludedStreams": ["a"]}, ["mute_all", OPEN, True, ["a"]]),
        ("POST", f"{ACTS}/mute", server, {"excludedStreamIds": ["a"]}, ["mute_all", OPEN, True, ["a"]]),
        ("GET", f"{ACTS}/stream", server, None, ["list_streams", OPEN]),
        ("GET", f"{ACTS}/stream/s-1", server, None, ["list_streams", OPEN]),
    ]
    for number, (method, target, headers, value, reached) in enumerate(rows):
        body = None if value is None else json.dumps(value).encode()
        headers = headers if value is None else headers + JSON
        for kit, answer, says in (
            ("forgetful", NOT_FOUND, ""),
            ("refusing", (403, "policy_denied"), json.dumps(reached)),
        ):
            name = f"{kit}-{number}-{reached[0]}"
            yield Case(name, method, target, *answer, headers, body, kit=kit, says=says)


# -- the credentials of servers --------------------------------------------------------------------

_RUBY = b'{"ist":"project","alg":"HS256"}'


def _payload(**claims: Any) -> bytes:
    return json.dumps(claims).encode()


def _later(seconds: float) -> int:
    return int(NOW + seconds)


_GOOD_SERVERS: dict[str, Headers] = {
    "python": ((AUTH, server_jwt()),),
    "ruby": ((AUTH, signed(_RUBY, _payload(**server_claims(("ist",))))),),
    "ruby-with-both": ((AUTH, signed(_RUBY, _payload(**server_claims()))),),
    "header-in-the-other-order": ((AUTH, signed(b'{"typ":"JWT","alg":"HS256"}', _payload(**server_claims()))),),
    "without-typ": ((AUTH, signed(b'{"alg":"HS256"}', _payload(**server_claims()))),),
    "php-with-a-numeric-key": ((AUTH, signed(_HS256, _payload(**server_claims(iss=int(API_KEY))))),),
    "5-minutes": ((AUTH, server_jwt(exp=_later(300))),),
    "10-minutes": ((AUTH, server_jwt(exp=_later(600))),),
    "fractions": ((AUTH, server_jwt(iat=NOW + 0.5, exp=NOW + 180.5)),),
    "issued-within-leeway": ((AUTH, server_jwt(iat=_later(10))),),
    "expired-within-leeway": ((AUTH, server_jwt(iat=_later(-180), exp=_later(-9))),),
    "further-claims": ((AUTH, server_jwt(sub="video", nonce=0.25)),),
    "space-around": ((AUTH, f"  {server_jwt()} \t"),),
    "name-in-small-letters": ((AUTH.lower(), server_jwt()),),
    "name-as-one-sdk-writes-it": (("X-OpenTok-Auth", server_jwt()),),
    "beside-basic": ((AUTH, server_jwt()), ("Authorization", "Basic dXNlcjpwYXNz")),
    "beside-empty-authorization": ((AUTH, server_jwt()), ("Authorization", "")),
    "beside-cookie": ((AUTH, server_jwt()), ("Cookie", f"{COOKIE}={GOOD}")),
    "beside-origin": ((AUTH, server_jwt()), ("Origin", ORIGIN)),
}
#: Those that name themselves are taken once.
_GOOD_ONCE: dict[str, Any] = {
    "jti": "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34",
    "jti-number": 12_345,
    "jti-fraction": 0.25,
    "jti-longest": "x" * 255,
    "jti-not-ascii": "雪",
}
_SERVER_PAYLOAD = _payload(**server_claims())
_BAD_SERVERS: dict[str, str] = {
    "empty": "",
    "garbage": "x",
    "two-dots": "..",
    "three-dots": "a.b.c.d",
    "dot-behind": server_jwt() + ".",
    "cut": server_jwt()[:-2],
    "no-signature": server_jwt().rpartition(".")[0] + ".",
    "quoted": f'"{server_jwt()}"',
    "with-a-scheme": f"Bearer {server_jwt()}",
    "two-in-one": f"{server_jwt()} {server_jwt()}",
    "comma-joined": f"{server_jwt()},{server_jwt()}",
    "not-ascii": server_jwt() + "é",
    "longest": "x" * 8150,
    "over-long": "x" * 16_385,
    "key-and-secret": f"{API_KEY}:{API_SECRET}",
    "wrong-secret": server_jwt(secret="f" * 40),
    "another-projects-secret": server_jwt(secret=SECOND_SECRET),
    "swapped-payload": ".".join((*server_jwt().split(".")[:2], server_jwt(sub="x").split(".")[2])),
    "alg-none": jwt.encode(server_claims(), "", "none"),
    "alg-none-unsigned": jwt.encode(server_claims(), "", "none").rpartition(".")[0],
    "alg-hs512": jwt.encode(server_claims(), API_SECRET * 2, "HS512"),
    "alg-in-small-letters": signed(b'{"alg":"hs256","typ":"JWT"}', _SERVER_PAYLOAD),
    "other-typ": server_jwt({"typ": "at+jwt"}),
    "typ-null": signed(b'{"alg":"HS256","typ":null}', _SERVER_PAYLOAD),
    "crit": server_jwt({"crit": ["b64"]}),
    "b64": signed(b'{"alg":"HS256","typ":"JWT","b64":false}', _SERVER_PAYLOAD),
    "zip": server_jwt({"zip": "DEF"}),
    "unknown-kid": server_jwt({"kid": "k1"}),
    "duplicate-alg": signed(b'{"alg":"HS256","typ":"JWT","alg":"HS256"}', _SERVER_PAYLOAD),
    "unknown-key": server_jwt(iss="111111"),
    "unknown-key-and-secret": server_jwt(iss="111111", secret="f" * 40),
    "account-key": server_jwt(ist="account"),
    "account-key-in-the-header": signed(b'{"ist":"account","alg":"HS256"}', _payload(**server_claims(("ist",)))),
    "account-and-project": signed(b'{"ist":"project","alg":"HS256"}', _payload(**server_claims(ist="account"))),
    "project-and-account": signed(b'{"ist":"account","alg":"HS256"}', _SERVER_PAYLOAD),
    "ist-in-capitals": server_jwt(ist="Project"),
    "ist-null": server_jwt(ist=None),
    "ist-list": server_jwt(ist=["project"]),
    "no-ist": server_jwt(drop=("ist",)),
    "no-iss": server_jwt(drop=("iss",)),
    "iss-other-number": signed(_HS256, _payload(**server_claims(iss=111111))),
    "iss-list": signed(_HS256, _payload(**server_claims(iss=[API_KEY]))),
    "iss-with-space": server_jwt(iss=f"{API_KEY} "),
    "no-exp": server_jwt(drop=("exp",)),
    "no-iat": server_jwt(drop=("iat",)),
    "exp-as-text": signed(_HS256, _payload(**server_claims(exp=str(_later(180))))),
    "exp-as-bool": signed(_HS256, _payload(**server_claims(exp=True))),
    "exp-null": signed(_HS256, _payload(**server_claims(exp=None))),
    "exp-nan": signed(_HS256, _SERVER_PAYLOAD[:-1] + b',"x":NaN}'),
    "exp-infinite": signed(_HS256, _payload(**server_claims(("exp",)))[:-1] + b',"exp":1e999}'),
    "iat-as-text": signed(_HS256, _payload(**server_claims(iat=str(_later(0))))),
    "iat-negative": server_jwt(iat=-1),
    "milliseconds": server_jwt(iat=_later(0) * 1000, exp=_later(180) * 1000),
    "expired": server_jwt(iat=_later(-7200), exp=_later(-7020)),
    "expired-at-leeway": server_jwt(iat=_later(-180), exp=_later(-10)),
    "from-the-future": server_jwt(iat=_later(11)),
    "not-yet-valid": server_jwt(nbf=_later(60)),
    "too-long-a-life": server_jwt(exp=_later(86_401), jti="x"),
    "too-long-a-life-without-jti": server_jwt(exp=_later(601)),
    "a-year": server_jwt(exp=_later(31_536_000)),
    "duplicate-claim": signed(_HS256, _SERVER_PAYLOAD[:-1] + b',"ist":"project"}'),
    "payload-with-bom": signed(_HS256, b"\xef\xbb\xbf" + _SERVER_PAYLOAD),
    "payload-no-object": signed(_HS256, b"[]"),
    "payload-empty": signed(_HS256, b""),
    "jti-empty": server_jwt(jti=""),
    "jti-too-long": server_jwt(jti="x" * 256),
    "jti-bool": signed(_HS256, _payload(**server_claims(jti=True))),
    "jti-list": signed(_HS256, _payload(**server_claims(jti=["x"]))),
    "jti-object": signed(_HS256, _payload(**server_claims(jti={"x": 1}))),
    "clients-token": GOOD,
    "clients-token-without-jti": forged(drop=("jti",)),
    "for-somebody-else": server_jwt(aud="https://api.example"),
    "with-a-scope": server_jwt(scope="session.connect"),
    "with-a-session": server_jwt(session_id=OPEN),
    "with-a-role": server_jwt(role="moderator"),
    "t1": _T1_KIT.generate_token(OPEN, "moderator"),
    "applications": application_jwt(),
}


def _server_credentials() -> Iterator[Case]:
    good = server_jwt()
    refused: dict[str, Headers] = {name: ((AUTH, text),) for name, text in _BAD_SERVERS.items()} | {
        "none": (),
        "doubled": ((AUTH, good), (AUTH, good)),
        "good-then-bad": ((AUTH, good), (AUTH, "x")),
        "bad-then-good": ((AUTH, "x"), (AUTH, good)),
        "good-then-empty": ((AUTH, good), (AUTH, "")),
        "beside-bearer": ((AUTH, good), *bearer(good)),
        "beside-clients-token": ((AUTH, good), *bearer(GOOD)),
        "beside-two-bearers": ((AUTH, good), *bearer("x"), *bearer("y")),
        "beside-scheme-alone": ((AUTH, good), ("Authorization", "Bearer")),
        "as-bearer": bearer(good),
        "applications-as-bearer": bearer(application_jwt()),
        "clients-as-bearer": bearer(GOOD),
        "as-basic": (("Authorization", f"Basic {good}"),),
        "older-header": (("X-TB-PARTNER-AUTH", f"{API_KEY}:{API_SECRET}"),),
        "proxy-authorization": (("Proxy-Authorization", f"Bearer {good}"),),
        "in-a-cookie": (("Cookie", f"{AUTH}={good}"),),
    }
    routes = (("create", "POST", "/video/session/create", 200), ("list", "GET", f"{ACTS}/stream", 200))
    for route, method, path, granted in (*routes, ("disconnect", "DELETE", f"{ACTS}/connection/{CONNECTION}", 204)):
        for name, headers in _GOOD_SERVERS.items():
            yield Case(f"server-{route}-{name}", method, path, granted, None, headers)
        for name, jti in _GOOD_ONCE.items():
            yield Case(f"server-{route}-{name}", method, path, granted, None, ((AUTH, server_jwt(jti=jti)),), once=True)
        for name in refused if route == "create" else ("none", "doubled", "clients-as-bearer", "wrong-secret"):
            yield Case(f"server-{route}-{name}", method, path, *NO_SERVER, refused[name])
        yield Case(f"server-{route}-in-the-query", method, f"{path}?{AUTH}={good}", *NO_SERVER)
        yield Case(f"server-{route}-in-the-kits-query", method, f"{path}?{QUERY}={good}", *NO_SERVER, kit="query")
        # Nothing that browsers add by themselves lets a page act as a server.
        cookies = (cookie(GOOD), csrf(GOOD))
        yield Case(f"server-{route}-by-cookie", method, path, *NO_SERVER, cookies, kit="cookie")
        yield Case(f"server-{route}-where-policies-deny", method, path, *_closed(route), ((AUTH, good),), kit="closed")


def _closed(route: str) -> tuple[int, str | None]:
    """A project's server is its own code, elsewhere: it is trusted, and no policy has to allow it."""
    return (200, None) if route == "create" else NO_SERVICE


# -- the form of the SDKs --------------------------------------------------------------------------

FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
_CREATED = (200, None)
_FIELDS: dict[str, tuple[str, tuple[int, str | None]]] = {
    "python": ("p2p.preference=enabled&archiveMode=manual&location=", _CREATED),
    "php": (f"api_key={API_KEY}&archiveMode=manual&p2p.preference=enabled", _CREATED),
    "dot-net": ("location=&e2ee=False&archiveMode=manual&p2p.preference=enabled", _CREATED),
    "relayed": ("p2p.preference=enabled", _CREATED),
    "routed": ("p2p.preference=disabled", _CREATED),
    "routed-and-archived": ("p2p.preference=disabled&archiveMode=always", _CREATED),
    "archives-named": (
        "p2p.preference=disabled&archiveMode=always&archiveName=Class+5%2FA+%C3%A9&archiveResolution=1280x720",
        _CREATED,
    ),
    "archive-name-longest": (f"p2p.preference=disabled&archiveMode=always&archiveName={'%C3%A9' * 80}", _CREATED),
    "archive-names-empty": ("archiveName=&archiveResolution=", _CREATED),
    "location": ("location=203.0.113.7", _CREATED),
    "location-null": ("location=null", _CREATED),
    "location-none": ("location=None", _OPTION),
    "location-v6": ("location=2001%3Adb8%3A%3A1", _CREATED),
    "e2ee": ("p2p.preference=disabled&e2ee=true", _CREATED),
    "e2ee-capital": ("p2p.preference=disabled&e2ee=True", _CREATED),
    "e2ee-false": ("e2ee=false", _CREATED),
    "e2ee-empty": ("e2ee=", _CREATED),
    "name-escaped": ("p2p%2Epreference=disabled&%65%32ee=true", _CREATED),
    "preference-unknown": ("p2p.preference=relayed", _OPTION),
    "preference-capitals": ("p2p.preference=Enabled", _OPTION),
    "preference-empty": ("p2p.preference=", _OPTION),
    "preference-true": ("p2p.preference=true", _OPTION),
    "archive-mode-unknown": ("archiveMode=never", _OPTION),
    "archive-mode-capitals": ("archiveMode=Always", _OPTION),
    "archive-mode-empty": ("archiveMode=", _OPTION),
    "archived-and-relayed": ("p2p.preference=enabled&archiveMode=always", _OPTION),
    "archived-by-default-relayed": ("archiveMode=always", _OPTION),
    "archive-name-of-none": ("p2p.preference=disabled&archiveName=Class", _OPTION),
    "archive-name-too-long": (f"p2p.preference=disabled&archiveMode=always&archiveName={'x' * 81}", _OPTION),
    "archive-resolution-of-none": ("p2p.preference=disabled&archiveResolution=1280x720", _OPTION),
    "archive-resolution-unknown": (
        "p2p.preference=disabled&archiveMode=always&archiveResolution=4x3",
        _OPTION,
    ),
    "e2ee-relayed": ("e2ee=true", _OPTION),
    "e2ee-archived": ("p2p.preference=disabled&archiveMode=always&e2ee=true", _OPTION),
    "e2ee-number": ("p2p.preference=disabled&e2ee=1", _OPTION),
    "e2ee-capitals": ("p2p.preference=disabled&e2ee=TRUE", _OPTION),
    "location-name": ("location=Berlin", _OPTION),
    "location-space": ("location=+", _OPTION),
    "location-nul": ("location=203.0.113.7%00", _OPTION),
    "location-zone": ("location=fe80%3A%3A1%25eth0", _OPTION),
    "another-key": (f"api_key={SECOND_KEY}", NO_SERVER),
    "empty-key": ("api_key=", NO_SERVER),
    "unknown-field": ("colour=blue", INVALID),
    "name-of-json": ("archive_mode=manual", INVALID),
    "mode": ("media_mode=routed", _CREATED),
    "mode-and-preference": ("p2p.preference=disabled&media_mode=routed&archiveMode=always", _CREATED),
    "mode-and-archived": ("media_mode=routed&archiveMode=always", _CREATED),
    "mode-relayed-and-archived": ("media_mode=relayed&archiveMode=always", _OPTION),
    "preference-over-mode": ("p2p.preference=disabled&media_mode=relayed&archiveMode=always", _CREATED),
    "preference-under-mode": ("p2p.preference=enabled&media_mode=routed&archiveMode=always", _OPTION),
    "mode-unknown": ("media_mode=disabled", _OPTION),
    "mode-empty": ("media_mode=", _OPTION),
    "mode-unknown-beside-preference": ("p2p.preference=disabled&media_mode=p2p", _OPTION),
    "name-in-capitals": ("ARCHIVEMODE=manual", INVALID),
    "name-empty": ("=x", INVALID),
    "twice": ("archiveMode=manual&archiveMode=manual", INVALID),
    "twice-by-escape": ("e2ee=false&%65%32ee=true", INVALID),
    "no-value": ("e2ee", INVALID),
    "ampersand-behind": ("e2ee=false&", INVALID),
    "ampersand-in-front": ("&e2ee=false", INVALID),
    "two-ampersands": ("e2ee=false&&archiveMode=manual", INVALID),
    "semicolon": ("e2ee=false;archiveMode=manual", _OPTION),
    "not-utf-8": ("archiveName=%FF", INVALID),
    "name-not-utf-8": ("%FF=x", INVALID),
    "surrogate": ("archiveName=%ED%A0%80", INVALID),
    "json": ('{"archiveMode":"manual"}', INVALID),
    "line-break": ("e2ee=false\r\n", _OPTION),
    "65-fields": ("&".join(["e2ee=false"] * 65), INVALID),
    "exactly-16-KiB": ("archiveName=" + "x" * (MAX_BODY - 12), _OPTION),
    "over-16-KiB": ("archiveName=" + "x" * (MAX_BODY - 11), TOO_LARGE),
    "far-over-16-KiB": ("archiveName=" + "x" * 100_000, TOO_LARGE),
}
_TYPES: dict[str, tuple[Headers, tuple[int, str | None]]] = {
    "charset": ((("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"),), _CREATED),
    "capitals": ((("Content-Type", "Application/X-WWW-Form-URLEncoded"),), _CREATED),
    # One SDK says so of its forms, too, once it has sent JSON.
    "json": (JSON, _CREATED),
    "none": ((), UNSUPPORTED),
    "no-value": ((("Content-Type", ""),), UNSUPPORTED),
    "text": ((("Content-Type", "text/plain"),), UNSUPPORTED),
    "multipart": ((("Content-Type", "multipart/form-data; boundary=x"),), UNSUPPORTED),
    "problem": ((("Content-Type", "application/problem+json"),), UNSUPPORTED),
    "form-in-parameter": ((("Content-Type", "text/plain; x=application/x-www-form-urlencoded"),), UNSUPPORTED),
    "two-in-one": ((("Content-Type", "application/x-www-form-urlencoded, text/plain"),), UNSUPPORTED),
    "longer": ((("Content-Type", "application/x-www-form-urlencoded-too"),), UNSUPPORTED),
}
_XML, _ONLY_JSON = "application/xml", "application/json"
_ACCEPTS: dict[str, tuple[Headers, str]] = {
    "nothing": ((), _XML),
    "empty": ((("Accept", ""),), _XML),
    "anything": ((("Accept", "*/*"),), _XML),
    "xml": ((("Accept", "application/xml"),), _XML),
    "html": ((("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),), _XML),
    "problem": ((("Accept", "application/problem+json"),), _XML),
    "json": ((("Accept", "application/json"),), _ONLY_JSON),
    "json-in-capitals": ((("Accept", "Application/JSON"),), _ONLY_JSON),
    "json-among-others": ((("Accept", "text/plain, application/json;q=0.9, */*"),), _ONLY_JSON),
    "json-in-a-second-line": ((("Accept", "text/plain"), ("Accept", "application/json")), _ONLY_JSON),
}
_CREATE_DT = "Fri Nov 20 15:00:00 UTC 2026"
_SAID = {
    _XML: f"</session_id><partner_id>{API_KEY}</partner_id><create_dt>{_CREATE_DT}</create_dt></Session></sessions>",
    _ONLY_JSON: f'","project_id":"{API_KEY}","partner_id":"{API_KEY}","create_dt":"{_CREATE_DT}","media_server_url":',
}


def _forms() -> Iterator[Case]:
    path, server = "/video/session/create", ((AUTH, SERVER),)
    for name, (text, answer) in _FIELDS.items():
        yield Case(f"form-{name}", "POST", path, *answer, (*server, *FORM), text.encode())
        yield Case(f"form-chunks-{name}", "POST", path, *answer, (*server, *FORM), text.encode(), True)
    yield Case("form-latin-1", "POST", path, *INVALID, (*server, *FORM), b"archiveName=\xe9")
    yield Case("form-nul", "POST", path, *INVALID, (*server, *FORM), b"\x00")
    yield Case("form-utf-16", "POST", path, *INVALID, (*server, *FORM), "e2ee=false".encode("utf-16"))
    yield Case("form-empty", "POST", path, *_CREATED, (*server, *FORM), b"")
    yield Case("form-none", "POST", path, *_CREATED, server)
    yield Case("form-none-with-type", "POST", path, *_CREATED, (*server, *FORM))
    yield Case("form-json-body", "POST", path, *INVALID, (*server, *JSON), b"{}")
    for name, (headers, answer) in _TYPES.items():
        yield Case(f"form-type-{name}", "POST", path, *answer, (*server, *headers), b"e2ee=false")
    for name, (headers, media_type) in _ACCEPTS.items():
        has = {"content-type": media_type}
        for where in ("/video", ""):
            yield Case(
                f"form-accept-{name}-under{where or '-root'}",
                "POST",
                f"{where}/session/create",
                *_CREATED,
                (*server, *headers),
                has=has,
                says=_SAID[media_type],
            )
        yield Case(f"form-accept-{name}-nobody", "POST", path, *NO_SERVER, headers)
    # Who is no server is not told what is wrong with the form.
    yield Case("form-nobody-and-bad", "POST", path, *NO_SERVER, FORM, b"colour=blue")


# -- what servers do in sessions -------------------------------------------------------------------


def _sdk_acts() -> Iterator[Case]:
    server = ((AUTH, SERVER),)
    texts = {
        "active-text": ({"active": "true"}, True),
        "stopped-text": ({"active": "false"}, True),
        "stopped-text-excluded": ({"active": "false", "excludedStreams": ["a"]}, True),
        "both-names": ({"excludedStreams": ["a"], "excludedStreamIds": ["a"]}, False),
        "own-name": ({"excluded_stream_ids": ["a"]}, False),
    }
    mutes = _mutes("excludedStreams", lenient=True) | _mutes("excludedStreamIds", lenient=True) | texts
    escaped = {"data-escaped": ({"data": "\x01" * 8192}, True)}
    for route, most, granted, rows in (
        ("signal", MAX_SIGNAL_BODY, 204, _SIGNALS | escaped | {"connection-in-body": ({"connection_id": "c"}, False)}),
        (f"connection/{CONNECTION}/signal", MAX_SIGNAL_BODY, 204, _SIGNALS | escaped),
        ("mute", MAX_MUTE_BODY, 200, mutes),
        (f"stream/{STREAM}/mute", MAX_BODY, 200, {"empty": ({}, True), "any-member": ({"active": True}, False)}),
    ):
        for name, (value, taken) in rows.items():
            answer = _answer(taken, granted)
            body = json.dumps(value, ensure_ascii=False).encode()
            yield Case(f"sdk-{route}-{name}", "POST", f"{ACTS}/{route}", *answer, (*server, *JSON), body)
        for name, (headers, sent, (status, code)) in _bodies_of_any_route(most).items():
            answer = (granted, None) if status == 201 else (status, code)
            yield Case(f"sdk-{route}-body-{name}", "POST", f"{ACTS}/{route}", *answer, (*server, *headers), sent)
    for name, (text, taken) in _PATH_IDS.items():
        for route, method, granted in (
            ("connection/{}", "DELETE", 204),
            ("connection/{}/signal", "POST", 204),
            ("stream/{}/mute", "POST", 200),
        ):
            answer = (granted, None) if taken else INVALID
            yield Case(f"sdk-{route}-{name}", method, f"{ACTS}/{route.format(text)}", *answer, server)
    said: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":")}
    for name, path, says in (
        ("streams", "stream", json.dumps({"count": 2, "items": STREAMS}, **said)),
        ("streams-again", "stream/", json.dumps({"count": 2, "items": STREAMS}, **said)),
        ("stream", f"stream/{STREAM}", json.dumps(STREAMS[0], **said)),
        (
            "connections",
            "connection",
            json.dumps({"count": 1, "projectId": API_KEY, "sessionId": OPEN, "items": CONNECTIONS}, **said),
        ),
        ("stream-2", "stream/stream-2", json.dumps(STREAMS[1], **said)),
    ):
        yield Case(
            f"sdk-{name}-listed",
            "GET",
            f"{ACTS}/{path}",
            200,
            None,
            server,
            has={"content-type": "application/json", "cache-control": "no-store"},
            says=says,
        )
    project, not_there = f"/video/v2/project/{API_KEY}", (404, "route_not_found")
    for name, method, path, answer in (
        ("archive", "DELETE", "archive/a-1", NOT_SERVED),
        ("archive-layout", "PUT", "archive/a-1/layout", NOT_SERVED),
        ("archive-and-more", "GET", "archive/a-1//x;y/%2E%2E/", NOT_SERVED),
        ("broadcasts", "GET", "broadcast", NOT_SERVED),
        ("broadcasts-as-one-sdk-asks", "POST", "broadcast/", NOT_SERVED),
        ("callbacks", "POST", "callback", NOT_SERVED),
        ("captions", "POST", "captions/c-1/stop", NOT_SERVED),
        ("audio-connector", "POST", "connect", NOT_SERVED),
        ("sip", "POST", "dial", NOT_SERVED),
        ("composer", "DELETE", "render/r-1", NOT_SERVED),
        ("dtmf", "POST", f"session/{OPEN}/play-dtmf", NOT_SERVED),
        ("dtmf-to-one", "POST", f"session/{OPEN}/connection/{CONNECTION}/play-dtmf", NOT_SERVED),
        ("unknown", "GET", "nothing", not_there),
        ("capitals", "GET", "Archive", not_there),
        ("session", "GET", f"session/{OPEN}", not_there),
        ("in-a-session", "POST", f"session/{OPEN}/archive", not_there),
    ):
        yield Case(f"sdk-other-{name}", method, f"{project}/{path}", *answer, server)
        yield Case(f"sdk-other-{name}-nobody", method, f"{project}/{path}", *NO_SERVER)
    yield Case("sdk-other-in-another-project", "GET", f"/video/v2/project/{SECOND_KEY}/archive", *NO_SERVER, server)
    yield Case("sdk-stream-not-there", "GET", f"{ACTS}/stream/stream-3", *NOT_FOUND, server)
    yield Case("sdk-stream-of-no-id", "GET", f"{ACTS}/stream/%2E", *NOT_FOUND, server)
    made_up = OPEN.replace("N6aXA1", "N6aXA2")
    not_ours = (400, "invalid_session_id")
    for name, api_key, session_id, answer in (
        # A server is trusted: it may act in a session that another process keeps, or where people linger.
        ("unknown-session", API_KEY, UNKNOWN, (200, None)),
        ("ended-session", API_KEY, ENDED, (200, None)),
        ("escaped", "%3123456", "%31" + OPEN[1:], (200, None)),
        ("foreign-session", API_KEY, FOREIGN, not_ours),
        ("made-up-session", API_KEY, made_up, not_ours),
        ("garbage-session", API_KEY, "x", not_ours),
        ("nul-session", API_KEY, "1_%00", not_ours),
        ("long-session", API_KEY, "1_" + "x" * 300, not_ours),
        ("another-project", SECOND_KEY, OPEN, NO_SERVER),
        ("another-projects-session", SECOND_KEY, FOREIGN, NO_SERVER),
        ("project-with-zero", f"0{API_KEY}", OPEN, NO_SERVER),
        ("project-with-space", f"{API_KEY}%20", OPEN, NO_SERVER),
    ):
        acts = f"/video/v2/project/{api_key}/session/{session_id}"
        yield Case(f"sdk-mute-in-{name}", "POST", f"{acts}/mute", *answer, server)
        yield Case(f"sdk-streams-of-{name}", "GET", f"{acts}/stream", *answer, server)
        yield Case(f"sdk-streams-of-{name}-nobody", "GET", f"{acts}/stream", *NO_SERVER)
    # Policies vote on what a server does, too; they see no request from outside.
    denied = (403, "policy_denied")
    for word, answer in {"shut": denied, "narrow": denied, "broken": FAULT, "other": (204, None)}.items():
        yield Case(f"sdk-vote-{word}", "DELETE", f"{ACTS}/connection/{word}", *answer, server, kit="voting")
        body = json.dumps({"type": word}).encode()
        yield Case(f"sdk-signal-vote-{word}", "POST", f"{ACTS}/signal", *answer, (*server, *JSON), body, kit="voting")
    yield Case("sdk-vote-less", "DELETE", f"{ACTS}/connection/less", *denied, server, kit="voting")
    yield Case("sdk-signal-vote-less", "POST", f"{ACTS}/connection/less/signal", 204, None, server, kit="voting")


# -- several projects, and an application ------------------------------------------------------------


def _projects() -> Iterator[Case]:
    first, second = server_jwt(), server_jwt(iss=SECOND_KEY, secret=SECOND_SECRET)
    acts = "/video/v2/project/{}/session/{}/stream"
    create = "/video/session/create"
    for name, headers, answer, owner in (
        ("first", ((AUTH, first),), _CREATED, API_KEY),
        ("second", ((AUTH, second),), _CREATED, SECOND_KEY),
        ("firsts-secret", ((AUTH, server_jwt(iss=SECOND_KEY)),), NO_SERVER, ""),
        ("seconds-secret", ((AUTH, server_jwt(secret=SECOND_SECRET)),), NO_SERVER, ""),
        ("unknown", ((AUTH, server_jwt(iss="111111")),), NO_SERVER, ""),
        ("both", ((AUTH, first), (AUTH, second)), NO_SERVER, ""),
    ):
        says = f"<partner_id>{owner}</partner_id>" if owner else ""
        yield Case(f"two-create-{name}", "POST", create, *answer, headers, kit="two", says=says)
        accept = (*headers, ("Accept", "application/json"))
        says = f'"partner_id":"{owner}"' if owner else ""
        yield Case(f"two-create-{name}-json", "POST", create, *answer, accept, kit="two", says=says)
        for api_key, session_id in (
            (API_KEY, OPEN),
            (SECOND_KEY, OF_SECOND),
            (API_KEY, OF_SECOND),
            (SECOND_KEY, OPEN),
        ):
            fits = owner == api_key and (session_id == OF_SECOND) == (owner == SECOND_KEY)
            whose = "own" if session_id == OPEN else "seconds"
            yield Case(
                f"two-streams-{name}-at-{api_key}-of-{whose}",
                "GET",
                acts.format(api_key, session_id),
                *((200, None) if fits else NO_SERVER),
                headers,
                kit="two",
            )
    for named, answer in ((SECOND_KEY, _CREATED), (API_KEY, NO_SERVER)):
        body = f"api_key={named}".encode()
        yield Case(f"two-api-key-{named}", "POST", create, *answer, ((AUTH, second), *FORM), body, kit="two")
    yield Case(
        "two-foreign", "GET", acts.format(SECOND_KEY, FOREIGN), 400, "invalid_session_id", ((AUTH, second),), kit="two"
    )
    mine = _SECOND_KIT.generate_token(OF_SECOND, "moderator")
    crossed = forged(iss=SECOND_KEY, secret=SECOND_SECRET)
    for name, text, session_id, answer in (
        ("second", mine, OF_SECOND, (204, None)),
        ("first", GOOD, OPEN, (204, None)),
        ("second-in-first", mine, OPEN, (403, "wrong_session")),
        ("first-in-second", GOOD, OF_SECOND, (403, "wrong_session")),
        ("crossed", crossed, OPEN, WRONG_CLAIM),
    ):
        path = f"/video/sessions/{session_id}/mute"
        yield Case(f"two-act-{name}", "POST", path, *answer, bearer(text), kit="two")


_SECOND_KIT = Rolecall(SECOND_KEY, SECOND_SECRET, clock=lambda: NOW, entry_points=False)
_OTHER_KEY = rsa.generate_private_key(65537, 2048)
_PUBLIC_PEM = _application_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _hs256_by_public_key() -> str:
    """Signed with what everybody may know, as if that were a secret."""
    claims = {"application_id": APPLICATION, "iat": int(NOW), "exp": int(NOW) + 300}
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (_HS256, _payload(**claims))]
    signature = hmac.digest(_PUBLIC_PEM, b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def _applications() -> Iterator[Case]:
    good = application_jwt()
    client = application_jwt(
        session_id=OF_APPLICATION, role="moderator", scope="session.connect", sub="video", jti="a-token-id"
    )
    credentials: dict[str, tuple[Headers, bool]] = {
        "good": (bearer(good), True),
        "scheme-in-small-letters": ((("Authorization", f"bearer {good}"),), True),
        "further-claims": (bearer(application_jwt(nonce=0.25)), True),
        "users-sub": (bearer(application_jwt(sub="video")), False),
        "users-subject": (bearer(application_jwt(subject="video")), False),
        "users-acl": (bearer(application_jwt(acl={"paths": {"/**": {}}})), False),
        "for-somebody-else": (bearer(application_jwt(aud="https://api.example")), False),
        "without-typ": (bearer(jwt.encode(_claims_of(good), _application_key(), "RS256", headers={"typ": None})), True),
        "expired-within-leeway": (bearer(application_jwt(iat=_later(-300), exp=_later(-9))), True),
        "expired": (bearer(application_jwt(iat=_later(-300), exp=_later(-10))), False),
        "from-the-future": (bearer(application_jwt(iat=_later(11))), False),
        "too-long-a-life": (bearer(application_jwt(exp=_later(86_401))), False),
        "no-exp": (bearer(application_jwt(drop=("exp",))), False),
        "another-application": (bearer(application_jwt(application_id=APPLICATION.replace("7", "8", 1))), False),
        "application-in-capitals": (bearer(application_jwt(application_id=APPLICATION.upper())), False),
        "no-application": (bearer(application_jwt(drop=("application_id",))), False),
        "another-key": (bearer(application_jwt(key=_OTHER_KEY)), False),
        "public-key-as-secret": (bearer(_hs256_by_public_key()), False),
        "alg-none": (bearer(jwt.encode(_claims_of(good), "", "none")), False),
        "alg-rs512": (bearer(jwt.encode(_claims_of(good), _application_key(), "RS512")), False),
        "cut": (bearer(good[:-2]), False),
        "garbage": (bearer("x"), False),
        "over-long": (bearer("x" * 16_385), False),
        "clients-token": (bearer(client), False),
        "clients-projects-token": (bearer(GOOD), False),
        "projects-credential-as-bearer": (bearer(SERVER), False),
        "in-the-projects-header": (((AUTH, good),), False),
        "in-both-headers": (((AUTH, SERVER), *bearer(good)), False),
        "doubled": (bearer(good) * 2, False),
        "basic": ((("Authorization", f"Basic {good}"),), False),
        "none": ((), False),
    }
    create, acts = "/video/session/create", f"/video/v2/project/{APPLICATION}/session"
    for kit, session_id in (("application", OPEN), ("application-alone", OF_APPLICATION)):
        for name, (headers, taken) in credentials.items():
            answer = (200, None) if taken else NO_SERVER
            says = f"<partner_id>{APPLICATION}</partner_id>" if taken else ""
            yield Case(f"{kit}-create-{name}", "POST", create, *answer, headers, kit=kit, says=says)
            yield Case(f"{kit}-streams-{name}", "GET", f"{acts}/{session_id}/stream", *answer, headers, kit=kit)
        once = bearer(application_jwt(jti="7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"))
        yield Case(f"{kit}-once", "POST", create, *_CREATED, once, kit=kit, once=True)
        yield Case(f"{kit}-malformed", "GET", f"{acts}/x/stream", 400, "invalid_session_id", bearer(good), kit=kit)
        by_key = f"/video/v2/project/{API_KEY}/session/{session_id}/stream"
        yield Case(f"{kit}-by-the-projects-key", "GET", by_key, *NO_SERVER, bearer(good), kit=kit)
        form = f"api_key={APPLICATION}".encode()
        yield Case(f"{kit}-named-once-more", "POST", create, *_CREATED, (*bearer(good), *FORM), form, kit=kit)
    # Beside its application a project keeps its own way in; an application alone has none.
    by_project = f"{ACTS}/stream"
    header = ((AUTH, SERVER),)
    yield Case("application-by-project", "GET", by_project, 200, None, header, kit="application")
    yield Case("application-by-project-create", "POST", create, *_CREATED, header, kit="application")
    yield Case("application-alone-by-project", "POST", create, *NO_SERVER, header, kit="application-alone")
    on_application = f"{acts}/{OPEN}/stream"
    yield Case("application-path-by-project", "GET", on_application, *NO_SERVER, header, kit="application")
    act = f"/video/sessions/{OF_APPLICATION}/mute"
    yield Case("application-alone-act", "POST", act, 204, None, bearer(client), kit="application-alone")
    yield Case("application-alone-act-by-server", "POST", act, *WRONG_KIND, bearer(good), kit="application-alone")


_ISSUER_KIT = make_kit("issuer")


def _issuer() -> Iterator[Case]:
    """The public keys of an issuer, and its own tokens."""
    path, stored = "/video/jwks.json", {"cache-control": "public, max-age=300", "www-authenticate": None}
    numbers = _application_key().public_key().public_numbers()
    modulus = base64.urlsafe_b64encode(numbers.n.to_bytes(256)).rstrip(b"=").decode()
    for name, headers in {
        "": (),
        "-old": (("If-None-Match", '"another", W/"one"'),),
        "-with-token": bearer("garbage"),
    }.items():
        key = f'"n":"{modulus}","e":"AQAB"'
        yield Case(f"issuer-jwks{name}", "GET", path, 200, None, headers, kit="issuer", has=stored, says=key)
        yield Case(f"issuer-jwks{name}-HEAD", "HEAD", path, 200, None, headers, kit="issuer", has=stored)
    for method in ("GET", "HEAD"):
        known = (("If-None-Match", "*"),)
        yield Case(f"issuer-jwks-known-{method}", method, path, 304, None, known, kit="issuer", has=stored)
    allow = {"allow": "GET, HEAD, OPTIONS"}
    yield Case("issuer-jwks-POST", "POST", path, 405, "method_not_allowed", kit="issuer", has=allow)
    good = token("publisher", kit=_ISSUER_KIT)
    header, payload, signature = good.split(".")
    claims = _claims_of(good)
    tokens = {
        "own": (good, (200, None)),
        "projects": (token("publisher"), (200, None)),
        "changed": (f"{header}.{payload[:-1]}{'A' if payload[-1] != 'A' else 'B'}.{signature}", NOT_SIGNED),
        "without-kid": (_own_token(claims, kid=None), UNKNOWN_KEY),
        "anothers-kid": (_own_token(claims, kid="another"), UNKNOWN_KEY),
        "anothers-iss": (_own_token({**claims, "iss": f"{ISSUER}/"}, kid=_kid_of(good)), WRONG_CLAIM),
        "signed-again": (_own_token(claims, kid=_kid_of(good)), (200, None)),
    }
    for name, (text, answer) in tokens.items():
        yield Case(f"issuer-token-{name}", "GET", f"/rooms/{OPEN}/join", *answer, bearer(text), kit="issuer")
    # A kit that has no such key reads these as tokens of a project.
    yield Case("plain-token-of-issuer", "GET", f"/rooms/{OPEN}/join", *WRONG_KIND, bearer(good))


def _kid_of(text: str) -> str:
    return str(jwt.get_unverified_header(text)["kid"])


def _own_token(claims: dict[str, Any], kid: str | None) -> str:
    headers = {"typ": "rolecall+jwt", **({} if kid is None else {"kid": kid})}
    return jwt.encode(claims, _application_key(), "RS256", headers=headers)


def _claims_of(text: str) -> dict[str, Any]:
    return jwt.decode(text, options={"verify_signature": False})


CASES = tuple(
    case
    for rows in (
        _guarded,
        _guarded_by_policy,
        _methods,
        _kept,
        _ids,
        _bodies,
        _cookies,
        _queries,
        _origins,
        _health,
        _acts,
        _tickets,
        _webhooks,
        _taken_back,
        _renewals,
        _oauth,
        _services,
        _server_credentials,
        _forms,
        _sdk_acts,
        _projects,
        _applications,
        _issuer,
    )
    for case in rows()
)


# -- shorter tables ----------------------------------------------------------------------------------


def class_of_answer(case: Case) -> Hashable:
    """The class of a row: within it, rows differ in what the core alone judges, so a server handles them alike."""
    is_kept = case.is_own and case.has.get("vary") is not None
    return case.method, case.status, case.code, case.framing, case.is_own, is_kept


def class_by_kit(case: Case) -> Hashable:
    """The class of the answer, by each kit: what the options of the kit change comes with each of them."""
    return class_of_answer(case), case.kit


def one_of_each(cases: Iterable[Case], class_of: Callable[[Case], Hashable]) -> tuple[Case, ...]:
    """The first row of each class, in the order of the table."""
    first: dict[Hashable, Case] = {}
    for case in cases:
        first.setdefault(class_of(case), case)
    return tuple(first.values())


#: One row for each class of answer of each kit: a tenth of the table.
SHORT_TABLE = one_of_each(CASES, class_by_kit)
#: One row for each class of answer: what a server is asked.
ANSWERS = one_of_each(CASES, class_of_answer)
