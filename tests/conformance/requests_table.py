"""The table of the conformance suite: requests, and what every adapter answers to them.

A row says the status and the code that are expected, by rules written down here once more, so that the suite fails also
where all adapters are wrong in the same way. The rest of an answer is compared between the adapters, byte by byte.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import jwt

from rolecall import Rolecall

from .apps import (
    API_KEY,
    API_SECRET,
    COOKIE,
    ENDED,
    FOREIGN,
    NOW,
    OPEN,
    ORIGIN,
    OTHER,
    QUERY,
    UNKNOWN,
    make_kit,
)

Headers = tuple[tuple[str, str], ...]


class Case(NamedTuple):
    """A request, and its answer.

    :param name: in the test's id; no two are the same.
    :param kit: which of the kits answers.
    :param target: path and query as they stand in the request line.
    :param headers: names and values, in order; one that comes twice stands twice. ``Host`` is added.
    :param body: None for no body, and no ``Content-Length``.
    :param chunked: whether the body is sent in chunks rather than with a ``Content-Length``.
    :param status: the status of the answer.
    :param code: the ``code`` of the problem; None for an answer that is none.
    :param has: further headers of the answer, by lower-case name; None for one that is not there.
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
    has: dict[str, str | None] = {}  # noqa: RUF012 (nobody changes it)

    @property
    def is_own(self) -> bool:
        """Whether one of the app's own endpoints is asked, not one of the kit's."""
        return not self.target.startswith("/video")

    @property
    def changes(self) -> bool:
        """Whether it may end a session that other cases need."""
        return self.method == "DELETE" and not self.is_own


_KIT = make_kit("plain")


def token(role: str = "moderator", session_id: str = OPEN, **options: Any) -> str:
    """A token of the kits, as their own server would mint it."""
    return _KIT.generate_token(session_id, role, **options)


def forged(
    headers: dict[str, Any] | None = None, secret: str = API_SECRET, drop: tuple[str, ...] = (), **claims
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
    """A JWS over bytes that no JSON encoder would write, with the right signature."""
    signing_input = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    signature = hmac.digest(API_SECRET.encode(), signing_input, hashlib.sha256)
    return (signing_input + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def bearer(text: str) -> Headers:
    return (("Authorization", f"Bearer {text}"),)


# -- credentials -----------------------------------------------------------------------------------

_CAPABILITIES = {
    "subscriber": {"subscribe"},
    "publisher": {"subscribe", "publish", "signal"},
    "publisheronly": {"publish"},
    "moderator": {"subscribe", "publish", "signal", "moderate"},
}


class Credential(NamedTuple):
    """Headers, and what they amount to: a role in a session, or a refusal wherever they come."""

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
        yield Credential(f"{role}-t1", bearer(_T1_KIT.generate_token(OPEN, role)), role)
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
    "alg-none": (jwt.encode({"session_id": OPEN, "role": "moderator"}, None, "none"), WRONG_KIND),
    "alg-hs512": (jwt.encode({"session_id": OPEN}, API_SECRET * 2, "HS512"), WRONG_KIND),
    "other-typ": (forged({"typ": "at+jwt"}), WRONG_KIND),
    "unknown-kid": (forged({"kid": "k1"}), UNKNOWN_KEY),
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
    yield Credential("proxy-authorization", (("Proxy-Authorization", f"Bearer {GOOD}"),), refusal=MISSING)
    yield Credential("x-authorization", (("X-Authorization", f"Bearer {GOOD}"),), refusal=MISSING)
    yield Credential("switched-off-cookie", (("Cookie", f"{COOKIE}={GOOD}"),), refusal=MISSING)
    yield Credential("over-long", bearer("x" * 8193), refusal=TOO_LONG)
    yield Credential("over-long-and-good", bearer(GOOD + "x" * 8193), refusal=TOO_LONG)


CREDENTIALS = tuple(_credentials())
_BY_NAME = {credential.name: credential for credential in CREDENTIALS}


# -- guarded routes --------------------------------------------------------------------------------


class Guarded(NamedTuple):
    """A route, what it requires, and the session that it is about; None where it looks at none.

    :param granted: the status of an answer to whoever enters.
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


def refusal_of(route: Guarded, credential: Credential) -> tuple[int, str] | None:
    """Why a credential does not enter; None: it does."""
    if credential.refusal == REVOKED and route.session_id not in (None, credential.session_id):
        return 403, "wrong_session"
    if credential.refusal is not None:
        return credential.refusal
    if route.session_id not in (None, credential.session_id):
        return 403, "wrong_session"
    if not route.requires <= _CAPABILITIES[credential.role]:
        return 403, "insufficient_role"
    return None


def _guarded() -> Iterator[Case]:
    for route in GUARDED:
        for credential in CREDENTIALS:
            status, code = refusal_of(route, credential) or (route.granted, None)
            name = f"{route.name}-{credential.name}"
            yield Case(name, route.method, route.path, status, code, credential.headers)


def _guarded_by_policy() -> Iterator[Case]:
    """The way in on which policies are asked is another one; what it answers is the same."""
    for route in GUARDED[:2] + GUARDED[-2:]:
        for credential in CREDENTIALS:
            status, code = refusal_of(route, credential) or (route.granted, None)
            name = f"voting-{route.name}-{credential.name}"
            yield Case(name, route.method, route.path, status, code, credential.headers, kit="voting")
    shut, narrow, broken = ((("X-Door", state),) for state in ("shut", "narrow", "broken"))
    for route in GUARDED:
        good = bearer(GOOD)
        narrowed = None if route.requires <= _CAPABILITIES["subscriber"] else "insufficient_role"
        rows = [
            ("shut", shut, 403, "policy_denied"),
            ("narrow", narrow, 403 if narrowed else route.granted, narrowed),
            ("broken", broken, 503, "policy_fault"),
        ]
        for name, door, status, code in rows:
            yield Case(
                f"voting-{route.name}-{name}", route.method, route.path, status, code, (*good, *door), kit="voting"
            )


# -- methods ---------------------------------------------------------------------------------------

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "ROLECALL")


class KitRoute(NamedTuple):
    name: str
    path: str
    allow: str
    #: What each method answers to a moderator who sends no body.
    granted: dict[str, int]


KIT_ROUTES = (
    KitRoute("sessions", "/video/sessions", "POST, OPTIONS", {"POST": 201}),
    KitRoute(
        "session",
        f"/video/sessions/{OPEN}",
        "GET, DELETE, HEAD, OPTIONS",
        {"GET": 200, "HEAD": 200, "DELETE": 204},
    ),
    KitRoute("tokens", f"/video/sessions/{OPEN}/tokens", "POST, OPTIONS", {"POST": 201}),
    KitRoute("openapi", "/video/openapi.json", "GET, HEAD, OPTIONS", {"GET": 200, "HEAD": 200}),
)


def _methods() -> Iterator[Case]:
    for route in KIT_ROUTES:
        for method in METHODS:
            for who, headers in (("moderator", bearer(GOOD)), ("nobody", ())):
                status, code = route.granted.get(method, 405), None
                has: dict[str, str | None] = {"allow": None}
                if method == "OPTIONS":
                    status, has = 204, {"allow": route.allow, "www-authenticate": None}
                elif status == 405:
                    code, has = "method_not_allowed", {"allow": route.allow}
                elif route.name == "session" and who == "nobody":
                    status, code = MISSING
                yield Case(f"{route.name}-{method}-{who}", method, route.path, status, code, headers, has=has)
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
        "long": ("1_" + "x" * 300, (400, "invalid_session_id"), (400, "invalid_session_id")),
    }
    for name, (text, issued, read) in ids.items():
        yield Case(f"tokens-of-{name}", "POST", f"/video/sessions/{text}/tokens", *issued)
        # A token for the id that the path names, where there can be one.
        named = {"ended": ENDED, "unknown": UNKNOWN}.get(name)
        subject = token(session_id=named) if named and named != ENDED else forged(session_id=named or OPEN)
        status, code = read if named or name in ("escaped",) else (403, "wrong_session")
        yield Case(f"read-{name}", "GET", f"/video/sessions/{text}", status, code, bearer(subject))
        yield Case(f"read-{name}-nobody", "GET", f"/video/sessions/{text}", *MISSING)
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


def _padded(size: int) -> bytes:
    return b"{" + b" " * (size - 2) + b"}"


INVALID, TOO_LARGE, UNSUPPORTED = (400, "invalid_request"), (413, "body_too_large"), (415, "unsupported_media_type")


def _bodies_of_any_route() -> dict[str, tuple[Headers, bytes | None, tuple[int, str | None]]]:
    good = (201, None)
    rows: dict[str, tuple[Headers, bytes | None, tuple[int, str | None]]] = {
        "none": ((), None, good),
        "none-with-type": (JSON, None, good),
        "empty": (JSON, b"", good),
        "empty-object": (JSON, b"{}", good),
        "white-space-around": (JSON, b" \t\r\n{}\r\n", good),
        "white-space-alone": (JSON, b"  ", INVALID),
        "exactly-16-KiB": (JSON, _padded(MAX_BODY), good),
        "over-16-KiB": (JSON, _padded(MAX_BODY + 1), TOO_LARGE),
        "far-over-16-KiB": (JSON, _padded(100_000), TOO_LARGE),
        "over-16-KiB-of-no-type": ((), _padded(MAX_BODY + 1), TOO_LARGE),
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
    "mode-unknown": ({"media_mode": "disabled"}, _OPTION),
    "mode-null": ({"media_mode": None}, _OPTION),
    "mode-list": ({"media_mode": ["routed"]}, _OPTION),
    "mode-capitals": ({"media_mode": "Routed"}, _OPTION),
    "always-relayed": ({"archive_mode": "always"}, _OPTION),
    "e2ee-relayed": ({"e2ee": True}, _OPTION),
    "e2ee-text": ({"e2ee": "true"}, _OPTION),
    "e2ee-number": ({"e2ee": 1}, _OPTION),
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
    "role-unknown": ({"role": "admin"}, _ROLE),
    "role-capitals": ({"role": "Moderator"}, _ROLE),
    "role-null": ({"role": None}, _ROLE),
    "role-list": ({"role": ["moderator"]}, _ROLE),
    "role-look-alike": ({"role": "ｍoderator"}, _ROLE),
    "expire-time": ({"expire_time": NOW + 60}, (201, None)),
    "expire-time-past": ({"expire_time": NOW - 1}, _TIME),
    "expire-time-milliseconds": ({"expire_time": NOW * 1000}, _TIME),
    "expire-time-text": ({"expire_time": "tomorrow"}, _TIME),
    "expire-time-bool": ({"expire_time": True}, _TIME),
    "expires-in-zero": ({"expires_in": 0}, _TIME),
    "expires-in-negative": ({"expires_in": -60}, _TIME),
    "expires-in-text": ({"expires_in": "60"}, _TIME),
    "expires-in-31-days": ({"expires_in": timedelta(days=31).total_seconds()}, _TIME),
    "both-times": ({"expires_in": 60, "expire_time": NOW + 60}, _TIME),
    "layout-text": ({"initial_layout_class_list": "focus"}, _DATA),
    "layout-numbers": ({"initial_layout_class_list": [1]}, _DATA),
    "layout-null": ({"initial_layout_class_list": None}, _DATA),
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
    for method, name in (("GET", "read"), ("DELETE", "end")):
        done = 200 if method == "GET" else 204
        for kind, body in (("json", b"{}"), ("junk", b"\x00\xff"), ("long", b"x" * 20_000)):
            headers = (*bearer(GOOD), *JSON)
            yield Case(f"{name}-with-{kind}-body", method, f"/video/sessions/{OPEN}", done, None, headers, body)


# -- cookies and the query -------------------------------------------------------------------------


def csrf(text: str) -> tuple[str, str]:
    return "X-CSRF-Token", _KIT.engine.state.credentials.csrf_token(text)


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
        ("subscriber", (cookie(subscriber), csrf(subscriber)), *[(403, "insufficient_role")] * 2),
        ("other-session", (cookie(token(session_id=OTHER)),), (403, "wrong_session"), failed),
        ("expired", (cookie(_BAD_TOKENS["expired"][0]), csrf(_BAD_TOKENS["expired"][0])), EXPIRED, EXPIRED),
        ("t1", (cookie(_BY_NAME["moderator-t1"].headers[0][1].split()[1]),), (200, None), failed),
        ("over-long", (cookie("x" * 8193),), TOO_LONG, TOO_LONG),
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
        ("over-long", f"?{QUERY}={'x' * 8193}", (), TOO_LONG),
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
    # Switched off it is no credential at all.
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


def _origins() -> Iterator[Case]:
    for kit, vary in (("plain", None), ("pages", "Origin"), ("cookie", "Cookie"), ("browser", "Origin, Cookie")):
        lists = kit in ("pages", "browser")
        for route in KIT_ROUTES:
            for name, (origin, listed) in _ORIGINS.items():
                allowed = origin if lists and listed else None
                has: dict[str, str | None] = {
                    "access-control-allow-origin": allowed,
                    "access-control-allow-credentials": "true" if allowed and kit == "browser" else None,
                    "vary": vary,
                }
                method = next(iter(route.granted))
                headers = (("Origin", origin), *JSON, *bearer(GOOD))
                exposed = {"access-control-expose-headers": "WWW-Authenticate" if allowed else None}
                yield Case(
                    f"{kit}-{route.name}-origin-{name}",
                    method,
                    route.path,
                    route.granted[method],
                    None,
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


CASES = tuple(
    case
    for rows in (_guarded, _guarded_by_policy, _methods, _ids, _bodies, _cookies, _queries, _origins)
    for case in rows()
)
