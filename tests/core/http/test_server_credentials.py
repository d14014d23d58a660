"""The credentials of a project's own servers: what is taken for one, what is not, and that each comes once."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import cache
from statistics import median
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from rolecall import Rolecall, RolecallError, hookimpl
from rolecall.driver import drive
from rolecall.errors import InvalidServerCredential
from rolecall.http.api.sdk import SDK_ROUTES
from rolecall.http.api.sdk_credentials import MAX_LIFE, MAX_LIFE_WITHOUT_JTI, Server, ServerCredentials
from rolecall.http.guards.admission import enter_as_server
from rolecall.http.respond import respond
from rolecall.keys import HMACKey, KeyRing
from rolecall.keys.issuers import Issuer
from rolecall.request import Request
from rolecall.stores.memory import MemoryStore

from ...ids import as_text

NOW = 1_795_186_800.0
KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
OTHER_KEY, OTHER_SECRET = "654321", "second-secret-of-forty-two-characters-x42"
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
#: What PyJWT is to sign with, whatever it thinks of the claims.
HS256 = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)


@cache
def private_pem() -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def kit():
    options: dict[str, Any] = {
        "application_id": APPLICATION,
        "private_key": private_pem(),
        "projects": {OTHER_KEY: OTHER_SECRET},
    }
    with Rolecall(KEY, SECRET, clock=lambda: NOW, entry_points=False, **options) as kit:
        yield kit


def claims(drop: tuple[str, ...] = (), **changed) -> dict:
    good = {"iss": KEY, "ist": "project", "iat": int(NOW), "exp": int(NOW) + 180, "jti": "0.1234"}
    return {name: value for name, value in (good | changed).items() if name not in drop}


def signed(payload: dict, header: dict | None = None, secret: str = SECRET) -> str:
    header = {"typ": "JWT", "alg": "HS256"} if header is None else header
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, payload)]
    signature = HS256.sign(b".".join(parts), secret.encode())
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def as_application(drop: tuple[str, ...] = (), **changed) -> str:
    payload = claims(("iss", "ist", *drop), **{"application_id": APPLICATION, **changed})
    return jwt.encode(payload, private_pem(), "RS256")


def request(token: str, header: str = "x-opentok-auth") -> Request:
    return Request("POST", "/session/create", headers={header: token})


def bearer(token: str) -> Request:
    return request(f"Bearer {token}", "authorization")


def admitted(kit: Rolecall, asked: Request) -> Server:
    return drive(enter_as_server(kit.api, asked))


# -- what is taken ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "header"),
    [
        (claims(), None),
        (claims(("jti",)), None),
        (claims(jti=0.5), None),
        (claims(jti=7), None),
        (claims(nonce=0.25), None),
        (claims(("ist", "jti")), {"ist": "project", "alg": "HS256"}),  # as the SDK for Ruby writes it
        (claims(), {"ist": "project", "alg": "HS256", "typ": "JWT"}),
        (claims(), {"alg": "HS256"}),
        (claims(exp=NOW + 180.5, iat=NOW - 0.5), None),
        (claims(iat=int(NOW) + 10, exp=int(NOW) + 190), None),
        (claims(iat=int(NOW) - 300, exp=int(NOW) - 9), None),
        (claims(exp=int(NOW) + MAX_LIFE), None),
        (claims(("jti",), exp=int(NOW) + MAX_LIFE_WITHOUT_JTI), None),
        (claims(nbf=int(NOW)), None),
    ],
)
def test_a_good_credential_says_whose_server_calls(kit, payload, header):
    assert admitted(kit, request(signed(payload, header))) == Server(KEY, KEY)


def test_a_numeric_key_may_be_a_number(kit):
    """The SDK for PHP writes it as the app has it."""
    token = signed(claims(iss=int(KEY)), {"typ": "JWT", "alg": "HS256"})
    assert admitted(kit, request(token)) == Server(KEY, KEY)


def test_a_key_that_may_be_the_secret_is_not_told(kit):
    with pytest.raises(InvalidServerCredential, match="its iss, a text of 40 characters, is none of") as refused:
        admitted(kit, request(signed(claims(iss=SECRET), secret=KEY)))
    assert SECRET[:8] not in str(refused.value)


def test_each_project_has_its_own(kit):
    token = signed(claims(iss=OTHER_KEY), secret=OTHER_SECRET)
    assert admitted(kit, request(token)) == Server(OTHER_KEY, OTHER_KEY)


def test_an_application_calls_for_the_first_project(kit):
    assert admitted(kit, bearer(as_application())) == Server(APPLICATION, KEY)


def test_the_real_credential_of_the_ruby_sdk_is_taken(vectors):
    tokens = json.loads((vectors / "opentok_tokens.json").read_text("utf-8"))["tokens"]
    [ruby] = [one for one in tokens if one["sdk"].startswith("Ruby cassettes REST")]
    payload = jwt.decode(ruby["token"], options={"verify_signature": False})
    # Below the kit, which takes no secret that everybody knows.
    project = Issuer(payload["iss"], KeyRing([HMACKey(ruby["secret"])]))
    credentials = ServerCredentials([project], None, project.id, leeway=0)
    read = credentials.read(request(ruby["token"]).headers, payload["iat"] + 1)
    assert read.server == Server(project.id, project.id)


# -- what is not -----------------------------------------------------------------------------------

REFUSED = {
    "no ist": (claims(("ist",)), None, "ist is not 'project'"),
    "an account's": (claims(ist="account"), None, "not the account's"),
    "an account's in the header": (claims(("ist",)), {"ist": "account", "alg": "HS256"}, "ist is not 'project'"),
    "an ist of each": (claims(), {"ist": "account", "alg": "HS256"}, "ist is not 'project'"),
    "a list for ist": (claims(ist=["project"]), None, "ist is not 'project'"),
    "an object for ist": (claims(ist={"a": 1}), None, "ist is not 'project'"),
    "no iat": (claims(("iat",)), None, "its iat is missing"),
    "no exp": (claims(("exp",)), None, "its exp is missing"),
    "a text for exp": (claims(exp="1795186980"), None, "its exp is missing"),
    "a bool for iat": (claims(iat=True), None, "its iat is missing"),
    "milliseconds": (claims(exp=int(NOW + 180) * 1000), None, "its exp is missing, or no number of Unix seconds"),
    "expired": (
        claims(iat=int(NOW) - 300, exp=int(NOW) - 10),
        None,
        "it expired at .* compare the two servers' clocks",
    ),
    "from the future": (claims(iat=int(NOW) + 11, exp=int(NOW) + 191), None, "from the future"),
    "not yet valid": (claims(nbf=int(NOW) + 11), None, "from the future"),
    "a text for nbf": (claims(nbf="soon"), None, "its nbf is missing"),
    "too long a life": (claims(exp=int(NOW) + MAX_LIFE + 1), None, "more than 86400 seconds"),
    "too long a life without jti": (
        claims(("jti",), exp=int(NOW) + MAX_LIFE_WITHOUT_JTI + 1),
        None,
        "no jti, and its exp is more than 600 seconds after its iat: .* give each a jti of its own, or an earlier exp",
    ),
    "too long a life with null for jti": (claims(jti=None, exp=int(NOW) + MAX_LIFE), None, "it has no jti"),
    "a client's token": (claims(session_id="1_x", role="moderator", scope="session.connect"), None, "client's token"),
    "a scope": (claims(scope=""), None, "it has a scope"),
    "a role": (claims(role=None), None, "it has a role"),
    "no iss": (claims(("iss",)), None, "its iss, None, is none of"),
    "another number for iss": (claims(iss=777), None, "its iss, '777', is none of"),
    "another typ": (claims(), {"typ": "at+jwt", "alg": "HS256"}, "typ is 'at\\+jwt'"),
    "null for typ": (claims(), {"typ": None, "alg": "HS256"}, "typ is None"),
    "alg none": (claims(), {"typ": "JWT", "alg": "none"}, "algorithm is 'none'"),
    "alg RS256": (claims(), {"typ": "JWT", "alg": "RS256"}, "algorithm is 'RS256'"),
    "crit": (claims(), {"typ": "JWT", "alg": "HS256", "crit": ["ist"]}, "asks for 'crit'"),
    "an unknown kid": (claims(), {"typ": "JWT", "alg": "HS256", "kid": "a"}, "names a key"),
    "an audience": (claims(aud="somebody"), None, "it has an aud"),
    "an empty jti": (claims(jti=""), None, "jti is not 1 to 255"),
    "a long jti": (claims(jti="x" * 256), None, "jti is not 1 to 255"),
    "a bool for jti": (claims(jti=True), None, "jti is not 1 to 255"),
    "a list for jti": (claims(jti=["a"]), None, "jti is not 1 to 255"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused_and_says_why(kit, name):
    payload, header, message = REFUSED[name]
    with pytest.raises(InvalidServerCredential, match=message) as caught:
        admitted(kit, request(signed(payload, header)))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "..",
        "a.b.c.d",
        "T1==AAAA",
        signed(claims()) + ".",
        signed(claims())[:-2],
        "é" * 9,
        "x" * 17_000,
    ],
)
def test_garbage_is_refused(kit, token):
    with pytest.raises(InvalidServerCredential):
        admitted(kit, request(token))


def test_a_credential_signed_with_another_secret_is_refused(kit):
    with pytest.raises(InvalidServerCredential, match="signature does not fit"):
        admitted(kit, request(signed(claims(), secret=OTHER_SECRET)))


def test_a_project_signs_for_no_other(kit):
    with pytest.raises(InvalidServerCredential, match="signature does not fit"):
        admitted(kit, request(signed(claims(iss=OTHER_KEY))))


@pytest.mark.parametrize("secret", [SECRET, "f" * 40])
def test_an_unknown_api_key_is_told_of_the_account_key(kit, secret):
    with pytest.raises(InvalidServerCredential, match=r"its iss, '777777', is none of this .* not the account's"):
        admitted(kit, request(signed(claims(iss="777777"), secret=secret)))


def test_a_clients_token_of_the_kit_is_no_servers_credential(kit):
    session = kit.create_session()
    t1 = Rolecall(KEY, SECRET, format="t1", entry_points=False).generate_token(session.session_id)
    vonage = Rolecall(application_id=APPLICATION, private_key=private_pem(), clock=lambda: NOW, entry_points=False)
    jwt_of_project, jwt_of_application = session.generate_token(), vonage.create_session().generate_token("moderator")
    for asked in (request(jwt_of_project), request(t1), bearer(jwt_of_project), bearer(jwt_of_application)):
        with pytest.raises(InvalidServerCredential):
            admitted(kit, asked)


def test_a_servers_credential_is_no_clients_token(kit):
    for token in (signed(claims()), as_application()):
        with pytest.raises(RolecallError, match=r"not for a client|typ") as caught:
            kit.verify_token(token)
        assert caught.value.status == 401


@pytest.mark.parametrize(
    "asked",
    [
        Request("POST", "/session/create"),
        bearer(signed(claims())),
        request(as_application()),
        bearer(as_application(application_id="0" * 8 + APPLICATION[8:])),
        bearer(as_application(("application_id",))),
        bearer(as_application(session_id="1_x")),
        bearer(as_application(sub="alice", acl={"paths": {"/*/users/**": {}}})),
        bearer(as_application(sub="alice")),
        bearer(as_application(subject="alice")),
        bearer(as_application(acl={"paths": {}})),
        bearer(as_application(aud="somebody")),
        bearer(as_application(exp=int(NOW) - 100, iat=int(NOW) - 200)),
        request(f"Bearer {signed(claims())}"),
        request(f"{signed(claims())},{signed(claims())}"),
        request(f"Basic {KEY}", "authorization"),
        request(f"Bearer {as_application()} {as_application()}", "authorization"),
        Request(
            "POST", "/", headers={"x-opentok-auth": signed(claims()), "authorization": f"Bearer {as_application()}"}
        ),
        Request("POST", "/", headers={"x-tb-partner-auth": f"{KEY}:{SECRET}"}),
    ],
)
def test_a_credential_in_another_place_or_of_another_kind_is_refused(kit, asked):
    with pytest.raises(InvalidServerCredential):
        admitted(kit, asked)


def test_a_kit_takes_only_what_it_has_keys_for():
    project = Rolecall(KEY, SECRET, clock=lambda: NOW, entry_points=False)
    with pytest.raises(InvalidServerCredential, match=r"send X-OPENTOK-AUTH with a JWT that the API secret signs$"):
        admitted(project, bearer(as_application()))
    options: dict[str, Any] = {"application_id": APPLICATION, "private_key": private_pem()}
    with Rolecall(**options, clock=lambda: NOW, entry_points=False) as application:
        assert admitted(application, bearer(as_application())) == Server(APPLICATION, APPLICATION)
        with pytest.raises(InvalidServerCredential, match="send Authorization: Bearer"):
            admitted(application, request(signed(claims())))


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_whatever_comes_is_refused_by_an_error_of_the_kit(text):
    kit = _shared_kit()
    for asked in (request(text), request(text, "authorization"), bearer(text)):
        with pytest.raises(InvalidServerCredential):
            admitted(kit, asked)


@given(
    st.dictionaries(
        st.sampled_from(["iss", "ist", "iat", "exp", "nbf", "jti", "scope", "typ"]),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.integers()),
    )
)
def test_whatever_is_signed_is_good_or_refused_by_an_error_of_the_kit(changed):
    kit = _shared_kit()
    try:
        payload = json.dumps(claims() | changed)
    except ValueError:
        return
    with suppress(InvalidServerCredential):
        assert admitted(kit, request(signed(json.loads(payload)))).id == KEY


@cache
def _shared_kit() -> Rolecall:
    options: dict[str, Any] = {"application_id": APPLICATION, "private_key": private_pem()}
    return Rolecall(KEY, SECRET, clock=lambda: NOW, entry_points=False, **options)


def test_no_message_holds_a_credential_or_a_secret(kit):
    for payload, header, _ in REFUSED.values():
        token = signed(payload, header)
        with pytest.raises(InvalidServerCredential) as caught:
            admitted(kit, request(token))
        assert token.split(".")[2] not in str(caught.value)
        assert SECRET not in str(caught.value)


def test_an_unknown_api_key_takes_as_long_as_a_bad_signature(kit):
    bad, unknown = (signed(claims(iss=key), secret="f" * 40) for key in (KEY, "777777"))

    def seconds(token):
        began = time.perf_counter()
        with pytest.raises(InvalidServerCredential):
            admitted(kit, request(token))
        return time.perf_counter() - began

    times = [(seconds(bad), seconds(unknown)) for _ in range(300)]
    slow, quick = (median(column) for column in zip(*times, strict=True))
    assert 0.5 < quick / slow < 2


# -- once ------------------------------------------------------------------------------------------


def test_a_jti_comes_once(kit):
    token = signed(claims())
    admitted(kit, request(token))
    with pytest.raises(InvalidServerCredential, match="came before"):
        admitted(kit, request(token))
    with pytest.raises(InvalidServerCredential, match="came before"):
        admitted(kit, request(signed(claims(exp=int(NOW) + 181))))
    assert admitted(kit, request(signed(claims(jti="0.12345"))))


def test_a_jti_is_that_of_one_project(kit):
    admitted(kit, request(signed(claims())))
    assert admitted(kit, request(signed(claims(iss=OTHER_KEY), secret=OTHER_SECRET)))
    assert admitted(kit, bearer(as_application()))
    with pytest.raises(InvalidServerCredential, match="came before"):
        admitted(kit, bearer(as_application()))


def test_a_credential_without_a_jti_may_come_again(kit):
    token = signed(claims(("jti",)))
    assert admitted(kit, request(token)) == admitted(kit, request(token))


def test_a_refused_credential_uses_up_no_jti(kit):
    with pytest.raises(InvalidServerCredential):
        admitted(kit, request(signed(claims(), secret="f" * 40)))
    assert admitted(kit, request(signed(claims())))


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/once.db"])
def test_of_many_at_a_time_one_is_the_first(url, tmp_path):
    options: dict[str, Any] = {"store": url.format(tmp_path), "clock": lambda: NOW, "entry_points": False}
    with closing(Rolecall(KEY, SECRET, **options)) as kit, ThreadPoolExecutor(16) as pool:
        token = signed(claims())

        def come(_):
            try:
                return admitted(kit, request(token)) is not None
            except InvalidServerCredential:
                return False

        assert sum(pool.map(come, range(64))) == 1


def test_it_comes_once_for_all_workers_and_after_a_restart(tmp_path):
    options: dict[str, Any] = {"store": f"sqlite:///{tmp_path}/once.db", "clock": lambda: NOW, "entry_points": False}
    token = signed(claims())
    with Rolecall(KEY, SECRET, **options) as first, Rolecall(KEY, SECRET, **options) as second:
        admitted(first, request(token))
        with pytest.raises(InvalidServerCredential, match="came before"):
            admitted(second, request(token))
    with Rolecall(KEY, SECRET, **options) as third, pytest.raises(InvalidServerCredential, match="came before"):
        asyncio.run(enter_as_server(third.aio.api, request(token)))


def test_it_does_not_come_back_while_its_leeway_lasts():
    now = NOW
    with Rolecall(KEY, SECRET, clock=lambda: now, leeway=60, entry_points=False) as kit:
        token = signed(claims())
        admitted(kit, request(token))
        # So many others come that what is over is forgotten.
        now = NOW + 239
        for number in range(3000):
            kit.engine.state.store.use_once(str(number), now + 1, now)
        with pytest.raises(InvalidServerCredential, match="came before"):
            admitted(kit, request(token))
        now = NOW + 240
        with pytest.raises(InvalidServerCredential, match="expired"):
            admitted(kit, request(token))


def test_a_clock_that_is_set_back_brings_none_back(tmp_path):
    now = NOW
    options: dict[str, Any] = {"store": f"sqlite:///{tmp_path}/once.db", "entry_points": False}
    with Rolecall(KEY, SECRET, clock=lambda: now, **options) as kit:
        token = signed(claims())
        admitted(kit, request(token))
        now = NOW + 200
        admitted(kit, request(signed(claims(jti="later", iat=int(now), exp=int(now) + 60))))
        now = NOW + 100
        with pytest.raises(InvalidServerCredential, match="came before"):
            admitted(kit, request(token))


async def no(*_):
    return False


@pytest.mark.parametrize("answer", [no, lambda *_: "seen before", lambda *_: 1, lambda *_: None], ids=as_text)
def test_only_true_from_a_store_means_that_it_came_for_the_first_time(answer):
    store: Any = MemoryStore()
    store.use_once = answer
    kit = Rolecall(KEY, SECRET, clock=lambda: NOW, store=store, entry_points=False)
    with pytest.raises(InvalidServerCredential):
        admitted(kit, request(signed(claims())))


def test_plugins_are_told_of_a_refusal():
    class Witness:
        def __init__(self):
            self.seen = []

        @hookimpl
        def rolecall_on_event(self, event):
            self.seen.append((event.name, getattr(event, "code", None)))

    witness = Witness()
    with Rolecall(KEY, SECRET, plugins=[witness], entry_points=False) as kit, pytest.raises(InvalidServerCredential):
        drive(enter_as_server(kit.api, request("x")))
    assert witness.seen == [("access_refused", "invalid_server_credential")]


@pytest.mark.parametrize("name", ["expired", "a client's token", "alg none"])
def test_the_log_says_why_a_server_was_refused_and_holds_no_credential(kit, caplog, name):
    payload, header, message = REFUSED[name]
    token = signed(payload, header)
    [route] = [route for route in SDK_ROUTES if route.name == "sdk_create"]
    assert drive(respond(kit.api, route, request(token))).status == 403
    [record] = caplog.records
    assert (record.name, record.levelname) == ("rolecall", "WARNING")
    assert re.search(message, record.message)
    assert not any(part in caplog.text for part in token.split("."))


def test_what_is_refused_reads_as_a_sentence(kit):
    for token, said in (
        (
            signed(claims(), secret="f" * 40),
            "X-OPENTOK-AUTH is refused: the token's signature does not fit its content",
        ),
        (signed(claims(exp=int(NOW) - 60, iat=int(NOW) - 90)), "X-OPENTOK-AUTH is refused: it expired at"),
        ("x", "X-OPENTOK-AUTH is refused: the token is not a compact JWS"),
    ):
        with pytest.raises(InvalidServerCredential, match=said):
            admitted(kit, request(token))
