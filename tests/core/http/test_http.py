"""HTTP without a framework: problems and challenges, headers, and answers to whatever comes."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import re
from types import MappingProxyType

import jwt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rolecall import Capability, Grant, Role, Rolecall, Web, errors, hookimpl
from rolecall.driver import drive
from rolecall.errors import (
    BodyTooLarge,
    ConfigurationError,
    InsufficientRole,
    InvalidRequest,
    InvalidToken,
    MalformedCredential,
    MethodNotAllowed,
    MissingCredential,
    NotReady,
    NotServed,
    OnlyVerifies,
    PolicyDenied,
    RolecallError,
    SessionNotFound,
    StoreUnavailable,
    WrongSession,
)
from rolecall.http.answers import json_bytes
from rolecall.http.api.rest import ROUTES
from rolecall.http.api.routing import PUBLIC, Operation, Route
from rolecall.http.gateways.asgi import AsgiHeaders
from rolecall.http.gateways.wsgi import WsgiHeaders
from rolecall.http.guards.admission import admission, guard_answer, headers_to_add
from rolecall.http.guards.guard import Guard
from rolecall.http.messages import MAX_BODY, Response
from rolecall.http.problems import phrase, problem, quotable, refused
from rolecall.http.respond import respond
from rolecall.policies import AllowAnyone
from rolecall.request import Request
from rolecall.roles import ANY_TOKEN, Requirement

from ...budgets import examples

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
NOW = 1_795_186_800.0

#: RFC 6750, section 3: the characters of an error_description.
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")


@pytest.fixture(scope="module")
def open_kit():
    with Rolecall(KEY, SECRET, clock=lambda: NOW, plugins=[AllowAnyone("moderator")]) as kit:
        yield kit


@pytest.fixture(scope="module")
def session_id(open_kit) -> str:
    return open_kit.create_session().session_id


# -- problems --------------------------------------------------------------------------------------


def every_error() -> list[RolecallError]:
    """One of each class of the exception tree."""

    def classes(base):
        yield base
        for one in base.__subclasses__():
            yield from classes(one)

    arguments = {InsufficientRole: ("role:moderator",), MethodNotAllowed: (("GET", "OPTIONS"),)}
    found = {one for one in classes(RolecallError) if one.__module__ == errors.__name__}
    return [one('what "was" wrong\r\n', *arguments.get(one, ())) for one in sorted(found, key=lambda one: one.__name__)]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_error_is_a_problem(error):
    response = problem(error)
    headers = dict(response.headers)
    assert len(headers) == len(response.headers)
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("application/problem+json", "no-store")
    members = json.loads(response.body)
    assert list(members) == ["title", "status", "detail", "code"]
    assert (members["status"], members["code"]) == (response.status, error.code) == (error.status, error.code)
    assert members["title"]
    assert all(value.isprintable() and value.isascii() for value in headers.values())


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "Not Found"),
        (413, "Content Too Large"),
        (414, "URI Too Long"),
        (416, "Range Not Satisfiable"),
        (422, "Unprocessable Content"),
    ],
)
def test_a_title_has_the_phrase_of_rfc_9110_on_each_version_of_python(status, words):
    assert phrase(status) == words


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_a_fault_of_the_server_does_not_tell_what_it_was(error):
    response = problem(error)
    is_told = error.status < 500 or isinstance(error, NotServed | OnlyVerifies | NotReady)  # which are no faults
    assert (b"was" in response.body.replace(b"answer", b"")) == is_told


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_401_has_a_challenge(error):
    has_one = "WWW-Authenticate" in dict(problem(error).headers)
    assert has_one or error.status != 401


@pytest.mark.parametrize(
    ("error", "challenge"),
    [
        (MissingCredential("no token"), 'Bearer realm="rolecall"'),
        (
            MalformedCredential("two tokens"),
            'Bearer realm="rolecall", error="invalid_request", error_description="two tokens"',
        ),
        (InvalidToken("bad"), 'Bearer realm="rolecall", error="invalid_token", error_description="bad"'),
        (WrongSession("other"), 'Bearer realm="rolecall", error="insufficient_scope", error_description="other"'),
        (
            InsufficientRole("too little", "role:moderator"),
            'Bearer realm="rolecall", error="insufficient_scope", error_description="too little", '
            'scope="role:moderator"',
        ),
        (InvalidRequest("bad"), None),
        (PolicyDenied("no"), None),
        (SessionNotFound("none"), None),
        (BodyTooLarge(MAX_BODY), None),
        (StoreUnavailable("down"), None),
        (ConfigurationError("wrong"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_challenge_is_that_of_rfc_6750(error, challenge):
    assert dict(problem(error).headers).get("WWW-Authenticate") == challenge


def test_a_method_that_is_not_allowed_is_told_which_are():
    response = problem(MethodNotAllowed("no", ("GET", "HEAD", "OPTIONS")))
    assert dict(response.headers)["Allow"] == "GET, HEAD, OPTIONS"


@given(st.text())
@example('"')
@example("\\")
@example("\r\nX-Evil: 1")
@example("\ud800")
def test_a_description_never_holds_a_quote_or_a_control(text):
    assert DESCRIPTION.fullmatch(quotable(text))
    assert len(quotable(text)) == len(text)


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\')))
def test_a_description_keeps_what_it_may_hold(text):
    assert quotable(text) == text


@given(st.text(), st.text())
@example("\ud800", "\udfff")
def test_whatever_an_error_says_is_a_sound_answer(message, code):
    for error in (PolicyDenied(message, code), InvalidToken(message), MalformedCredential(message)):
        response = problem(error)
        assert json.loads(response.body)["status"] == error.status
        for _, value in response.headers:
            assert not re.search(r"[^\x20-\x7e]", value)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_json_is_compact_utf_8(value):
    body = json_bytes({"value": value})
    assert json.loads(body.decode()).keys() == {"value"}
    assert body.startswith(b'{"value":')


# -- headers ----------------------------------------------------------------------------------------

ENVIRON = {
    "REQUEST_METHOD": "POST",
    "HTTP_AUTHORIZATION": "Bearer t",
    "HTTP_X_OPENTOK_AUTH": "u",
    "CONTENT_TYPE": "application/json",
    "CONTENT_LENGTH": "2",
    "wsgi.input": None,
}


def test_wsgi_headers_are_found_by_lower_case_name():
    headers = WsgiHeaders(ENVIRON)
    assert headers["authorization"] == headers.get("authorization") == "Bearer t"
    assert (headers["x-opentok-auth"], headers["content-type"], headers["content-length"]) == (
        "u",
        "application/json",
        "2",
    )


@pytest.mark.parametrize("name", ["accept", "request-method", "request_method", "wsgi.input", "", "http-authorization"])
def test_wsgi_headers_hold_nothing_else(name):
    headers = WsgiHeaders(ENVIRON)
    assert name not in headers
    assert headers.get(name) is None
    assert headers.get(name, "default") == "default"
    with pytest.raises(KeyError):
        _ = headers[name]


def test_wsgi_headers_are_a_mapping():
    headers = WsgiHeaders(ENVIRON)
    assert sorted(headers) == ["authorization", "content-length", "content-type", "x-opentok-auth"]
    assert len(headers) == 4
    assert dict(headers) == {name: headers[name] for name in headers}


SENT = {"Authorization": "Bearer t", "X-School-User": "t-oak", "Content-Type": "application/json"}
ASGI_SCOPE = {"headers": [(name.lower().encode(), value.encode()) for name, value in SENT.items()]}
WSGI_ENVIRON = {"HTTP_AUTHORIZATION": "Bearer t", "HTTP_X_SCHOOL_USER": "t-oak", "CONTENT_TYPE": "application/json"}
#: As a test makes them, and as the servers' protocols hand them over.
KINDS = {
    "a dict": lambda: Request("GET", "/", headers=SENT).headers,
    "a dict in lower case": lambda: Request("GET", "/", {}, {name.lower(): SENT[name] for name in SENT}).headers,
    "another mapping": lambda: Request("GET", "/", headers=MappingProxyType(SENT)).headers,
    "a replaced dict": lambda: Request("GET", "/")._replace(headers=SENT).headers,
    "ASGI": lambda: AsgiHeaders(ASGI_SCOPE),
    "WSGI": lambda: WsgiHeaders(WSGI_ENVIRON),
}


@pytest.fixture(params=KINDS)
def sent_headers(request):
    return KINDS[request.param]()


@pytest.mark.parametrize("spell", [str, str.lower, str.upper, str.title, str.swapcase])
@pytest.mark.parametrize("name", SENT)
def test_a_header_is_found_in_any_spelling(sent_headers, name, spell):
    assert sent_headers[spell(name)] == sent_headers.get(spell(name)) == SENT[name]
    assert spell(name) in sent_headers


@pytest.mark.parametrize("name", ["X-School", "X-School-User ", "x-schööl-user", ""])
def test_another_header_is_not_there(sent_headers, name):
    assert name not in sent_headers
    assert sent_headers.get(name, "default") == "default"
    with pytest.raises(KeyError):
        _ = sent_headers[name]


def test_headers_are_listed_in_lower_case(sent_headers):
    assert dict(sent_headers) == {name.lower(): value for name, value in SENT.items()}
    assert len(sent_headers) == len(SENT)


def test_a_header_in_two_spellings_is_one_that_came_twice():
    headers = Request("GET", "/", headers={"X-A": "1", "x-a": "2", "Cookie": "a=1", "cookie": "b=2"}).headers
    assert dict(headers) == {"x-a": "1,2", "cookie": "a=1; b=2"}


def test_headers_show_none_of_their_values(sent_headers):
    assert "Bearer" not in repr(sent_headers)


def test_a_request_is_equal_to_its_copy():
    request = Request("POST", "/a", {"a": "b"}, SENT, b"body", "flask", "q=1", "/video")
    for copied in (copy.copy(request), copy.deepcopy(request), pickle.loads(pickle.dumps(request))):
        assert copied == request
        assert copied.headers["AUTHORIZATION"] == "Bearer t"


@pytest.mark.parametrize("environ", [{}, {"CONTENT_TYPE": "", "CONTENT_LENGTH": ""}], ids=repr)
def test_wsgi_headers_may_be_empty(environ):
    assert list(WsgiHeaders(environ)) == []
    assert not WsgiHeaders(environ).get("content-type")


# -- answers ---------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
members = st.dictionaries(
    st.sampled_from(
        ["role", "expire_time", "expires_in", "data", "initial_layout_class_list", "location", "media_mode", "e2ee"]
    )
    | st.text(max_size=5),
    values
    | st.sampled_from(["moderator", "routed", "203.0.113.7", "fe80::1%é", "fe80::1%~~", NOW, NOW + 60, [], ["focus"]]),
    max_size=4,
)
bodies = st.binary(max_size=200) | members.map(lambda value: json.dumps(value).encode())
texts = st.text(max_size=40)
headers = st.fixed_dictionaries(
    {"content-type": st.just("application/json") | texts}, optional={"authorization": texts, "accept": texts}
)


@settings(max_examples=examples(500), deadline=None)
@given(
    route=st.sampled_from(ROUTES),
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"]) | texts,
    path=texts | st.none(),
    target=texts | st.just("c-1"),
    headers=headers,
    body=bodies,
    credential=st.sampled_from(["none", "token", "server"]),
)
def test_every_request_has_an_answer_below_500(open_kit, route, method, path, target, headers, body, credential):
    session_id = open_kit.create_session().session_id  # of its own, which a moderator may end
    if credential == "token":
        headers = {**headers, "authorization": f"Bearer {open_kit.generate_token(session_id, 'moderator')}"}
    if credential == "server":
        now = int(open_kit.engine.state.clock())
        claims = {"iss": open_kit.api_key, "ist": "project", "iat": now, "exp": now + 180}
        headers = {**headers, "x-opentok-auth": jwt.encode(claims, SECRET, "HS256"), "accept": "application/json"}
    named = {"session_id": session_id if path is None else path, "api_key": open_kit.api_key}
    params = {name: named.get(name, target) for name in re.findall(r"{(\w+)", route.path)}
    response = drive(respond(open_kit.api, route, Request(method, "/", params, headers, body)))
    # 501, because nothing carries the media.
    assert 200 <= response.status < 500 or response.status == 501
    if response.body:
        assert isinstance(json.loads(response.body), dict | list)
    if response.status not in (204, 405) and route.name != "openapi":
        assert dict(response.headers)["Cache-Control"] == "no-store"
    for _, value in response.headers:
        assert not re.search(r"[^\x20-\x7e]", value)


@settings(max_examples=examples(300), deadline=None)
@given(authorization=texts | st.text(max_size=40).map("Bearer {}".format), bound=texts | st.none())
def test_no_made_up_token_is_admitted(open_kit, authorization, bound):
    request = Request("GET", "/", headers={"authorization": authorization})
    refusal = drive(admission(open_kit.api, request, Guard(ANY_TOKEN), bound))
    assert isinstance(refusal, RolecallError)
    assert refusal.status in (400, 401)


def test_a_good_token_is_admitted(open_kit, session_id):
    token = open_kit.generate_token(session_id, "moderator")
    request = Request("GET", "/", headers={"authorization": f"Bearer {token}"})
    guard = Guard(Requirement.of_role("moderator"))
    grant = drive(admission(open_kit.api, request, guard, session_id))
    assert isinstance(grant, Grant)
    assert (grant.session_id, grant.role) == (session_id, "moderator")


def test_options_asks_nothing_of_the_store(open_kit):
    for route in ROUTES:
        response = drive(respond(open_kit.api, route, Request("OPTIONS", "/")))
        assert (response.status, response.headers) == (204, (("Allow", ", ".join(route.methods)),))


async def broken(engine, request):
    raise RuntimeError(f"the innermost secret of {request.route}")


async def unavailable(engine, request):
    raise StoreUnavailable("the innermost secret is out of reach")


@pytest.mark.parametrize(
    ("handler", "status", "code"), [(broken, 500, "rolecall_error"), (unavailable, 503, "store_unavailable")]
)
def test_a_fault_is_a_problem_without_its_text_and_is_logged(open_kit, caplog, handler, status, code):
    route = Route("/x", "x", {"GET": Operation(handler, "x", PUBLIC)})
    response = drive(respond(open_kit.api, route, Request("GET", "/x")))
    assert (response.status, json.loads(response.body)["code"]) == (status, code)
    assert b"innermost" not in response.body
    assert "innermost" not in str(response.headers)
    assert "the innermost secret" in caplog.text
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_fault_while_a_request_is_admitted_lets_nobody_in(open_kit, session_id, monkeypatch, caplog):
    def fail(self, session_id):
        raise RuntimeError("the innermost secret")

    token = open_kit.generate_token(session_id)
    monkeypatch.setattr("rolecall.stores.memory.MemoryStore.has_ended", fail)
    request = Request("GET", "/", headers={"authorization": f"Bearer {token}"})
    refusal = drive(admission(open_kit.api, request, Guard(ANY_TOKEN), None))
    assert isinstance(refusal, RolecallError)
    response = refused(refusal)
    assert response.status == 500
    assert b"innermost" not in response.body
    assert "the innermost secret" in caplog.text
    assert token not in caplog.text


def test_a_request_and_an_answer_show_no_token_where_they_are_printed():
    request = Request("POST", "/x", {}, {"authorization": "Bearer secret-token"}, b"secret-token")
    response = Response(201, (("Content-Type", "application/json"),), b'{"token":"secret-token"}')
    for value in (request, response, [request, response], {"request": request}):
        assert "secret-token" not in repr(value)
        assert "secret-token" not in str(value)


@pytest.mark.parametrize(("attribute", "value"), [("status", 499), ("status", 99), ("code", b"x"), ("code", {1})])
def test_a_plugins_error_that_no_answer_can_have_is_a_fault(attribute, value):
    odd = type("Odd", (RolecallError,), {"status": 404, "code": "odd", attribute: value})

    class Raising:
        @hookimpl
        def rolecall_media_service(self, request):
            raise odd("it was odd")

    with Rolecall(KEY, SECRET, plugins=[Raising()], entry_points=False) as kit:
        session = kit.create_session()
        [route] = [route for route in ROUTES if route.name == "mute"]
        headers = {"authorization": f"Bearer {session.generate_token('moderator')}"}
        answer = drive(respond(kit.api, route, Request("POST", "/", {"session_id": session.session_id}, headers)))
    assert answer.status == 500
    assert b"odd" not in answer.body


# -- what is not for everybody ---------------------------------------------------------------------


def read_session(kit, session, role: str) -> dict:
    [route] = [route for route in ROUTES if route.name == "session"]
    headers = {"authorization": f"Bearer {session.generate_token(role)}"}
    answer = drive(respond(kit.api, route, Request("GET", "/", {"session_id": session.session_id}, headers)))
    assert answer.status == 200
    return json.loads(answer.body)


class Assistants:
    @hookimpl
    def rolecall_register_roles(self):
        return [Role("assistant", set(Capability) - {"force_disconnect"}, wire_name="publisher")]


@pytest.mark.parametrize(
    ("role", "location"),
    [
        ("subscriber", None),
        ("publisher", None),
        ("publisheronly", None),
        ("assistant", None),
        ("moderator", "203.0.113.7"),
    ],
)
def test_a_sessions_location_is_for_moderators(role, location):
    with Rolecall(KEY, SECRET, plugins=[Assistants()], entry_points=False) as kit:
        session = kit.create_session("203.0.113.7", "routed")
        assert read_session(kit, session, role)["location"] == location
        assert read_session(kit, session, role)["media_mode"] == "routed"


@pytest.mark.parametrize("location", ["203.0.113.7", "2001:db8::1"])
def test_a_sessions_location_is_not_in_its_id(open_kit, location):
    session = open_kit.create_session(location)
    encoded = session.session_id[2:]
    assert location not in base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    assert session.location == location


@pytest.mark.parametrize(("described", "status"), [(True, 200), (False, 404)])
def test_the_description_can_be_switched_off(described, status):
    [route] = [route for route in ROUTES if route.name == "openapi"]
    with Rolecall(KEY, SECRET, web=Web(openapi=described), entry_points=False) as kit:
        answer = drive(respond(kit.api, route, Request("GET", "/video/openapi.json")))
    assert answer.status == status
    assert described or json.loads(answer.body)["code"] == "route_not_found"


def test_whoever_asks_is_told_of_no_other_project():
    projects = {"tenant-two": SECRET[::-1], "tenant-three": SECRET[20:] + SECRET[:20]}
    foreign = "1_" + base64.urlsafe_b64encode(b"1~x~~1~0.1~P~~").decode().rstrip("=")
    with Rolecall(KEY, SECRET, projects=projects, plugins=[AllowAnyone()], entry_points=False) as kit:
        [route] = [route for route in ROUTES if route.name == "tokens"]
        answer = drive(respond(kit.api, route, Request("POST", "/", {"session_id": foreign}, {})))
        assert (answer.status, json.loads(answer.body)["code"]) == (400, "invalid_session_id")
        assert not any(tenant.encode() in answer.body for tenant in (KEY, *projects))
        with pytest.raises(RolecallError) as refused:
            kit.create_session(api_key="tenant-four")
        assert not any(tenant in refused.value.public_message for tenant in (KEY, *projects))


#: Where a token may be, or what was meant for one, of a kit that looks into the query.
IN_URL = [("?", False), ("?access_token={}", True), ("?a=b&access_token={}", True), ("?access_token=x", True)]


@pytest.mark.parametrize(("query", "held"), IN_URL)
@pytest.mark.parametrize("web", [Web(query="access_token"), Web()], ids=["query", "header alone"])
def test_an_answer_to_a_url_with_a_token_hides_that_url(web, query, held):
    with Rolecall(KEY, SECRET, web=web, entry_points=False) as kit:
        session = kit.create_session()
        [route] = [route for route in ROUTES if route.name == "session"]
        written = query.format(session.generate_token())[1:]
        answer = drive(
            respond(kit.api, route, Request("GET", "/", {"session_id": session.session_id}, {}, query=written))
        )
        refusal = guard_answer(InvalidToken("not good"), web, "access_token=x")
    assert (("Referrer-Policy", "no-referrer") in answer.headers) == (held and web.query is not None)
    assert (("Referrer-Policy", "no-referrer") in refusal.headers) == (web.query is not None)


def test_what_an_app_says_of_its_url_stays():
    web, query = Web(query="t"), "t=x"
    uncached = [("Cache-Control", "no-store")]
    assert headers_to_add([], web, query) == [*uncached, ("Referrer-Policy", "no-referrer")]
    assert headers_to_add([("referrer-policy", ""), ("CACHE-CONTROL", "No-Store")], web, query) == []
    other = [("X", "")]
    assert [*headers_to_add(other, web, "u=x")] == [*headers_to_add(other, None, query)] == uncached
    assert [*headers_to_add([("cache-control", "no-store")], None, query)] == []
