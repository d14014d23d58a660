"""Where a token is found: the header, and a cookie or the query where they are switched on."""

from __future__ import annotations

import json
import logging
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rolecall import Limit, Rolecall, Web, hookimpl
from rolecall.driver import drive
from rolecall.errors import CredentialTooLarge, CsrfFailed, MalformedCredential, MissingCredential, RolecallError
from rolecall.formats.opentok import OpenTokFormat
from rolecall.http.api.rest import ROUTES
from rolecall.http.api.routing import find_route
from rolecall.http.credentials import bearer_token
from rolecall.http.guards.admission import admit
from rolecall.http.guards.guard import Guard
from rolecall.http.messages import Response
from rolecall.http.problems import refused
from rolecall.http.respond import respond
from rolecall.policies import AllowAnyone, MaxLiveTokens
from rolecall.request import Request
from rolecall.roles import ANY_TOKEN, Requirement
from rolecall.tokens import Grant

from ...budgets import examples
from ...untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
NOW = 1_795_186_800.0

COOKIE = "__Host-rolecall"
UNSAFE = ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "TRACE", "QUERY", "get", ""]


# -- the header ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["Bearer t", "bearer t", "BEARER t", "BeArEr t", "Bearer   t", " Bearer t ", "\tBearer t\t"],
)
def test_the_scheme_has_any_case_and_space_around_it(value):
    assert bearer_token({"authorization": value}) == "t"


@pytest.mark.parametrize("token", ["a.b.c", "T1==YWJj+/=", "~!$&'()*-._:;?@[]^`{|}", "x" * 16_384])
def test_a_token_is_handed_on_as_it_stands(token):
    assert bearer_token({"authorization": f"Bearer {token}"}) == token


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer t"},
        {"authorization": ""},
        {"authorization": " \t"},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": "t"},
        {"authorization": "Token t"},
        {"proxy-authorization": "Bearer t"},
        {"x-opentok-auth": "t"},
    ],
    ids=repr,
)
def test_another_scheme_or_header_is_no_credential(headers):
    with pytest.raises(MissingCredential):
        bearer_token(headers)


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer\tt",
        "Bearer \tt",
        "Bearer t\tu",
        "Bearer t u",
        "Bearer Bearer t",
        "Bearer t,u",
        "Bearer t,",
        "Bearer ,",
        "Bearer t, Bearer u",
        "Bearer t\nX: y",
        "Bearer t\r\n\r\nu",
        "Bearer t\x0bu",
        "Bearer t\xa0u",
        "Bearer t\u2028u",
        "Bearer:t",
        "Bearert",
        "Basic dXNlcjpwYXNz, Bearer t",
        "Basic dXNlcjpwYXNz,bearer t",
    ],
    ids=ascii,
)
def test_what_is_not_one_token_is_malformed(value):
    with pytest.raises(MalformedCredential):
        bearer_token({"authorization": value})


@given(st.text() | st.text().map("Bearer {}".format))
@example("Bearer \ud800")
@example("Bearer \x1f")
def test_a_header_is_one_token_or_one_of_two_errors(value):
    try:
        token = bearer_token({"authorization": value})
    except (MissingCredential, MalformedCredential):
        return
    assert value.strip()[:6].lower() == "bearer"
    assert value.strip().endswith(token)
    assert not re.search(r"[\s,]", token)


# -- the places ------------------------------------------------------------------------------------


@pytest.fixture
def credentials(make_kit):
    """Makes what finds tokens, with these places switched on."""
    return lambda **places: make_kit(web=Web(**places)).api.credentials


@pytest.fixture
def everywhere(credentials):
    return credentials(cookie=COOKIE, query="access_token")


@pytest.fixture
def in_cookie(credentials):
    return credentials(cookie=COOKIE)


@pytest.fixture
def in_query(credentials):
    return credentials(query="access_token")


def asking(method: str = "GET", query: str = "", **headers: str) -> Request:
    return Request(method, "/", headers={name.replace("_", "-"): text for name, text in headers.items()}, query=query)


HEADER, COOKIES, QUERY = {"authorization": "Bearer t"}, {"cookie": f"{COOKIE}=t"}, {"query": "access_token=t"}


@pytest.mark.parametrize(
    ("places", "found"),
    [
        (HEADER, "the Authorization header"),
        (COOKIES, "the cookie"),
        (QUERY, "the query"),
        ({**COOKIES, "authorization": "Basic dXNlcjpwYXNz"}, "the cookie"),
        ({**HEADER, "cookie": f"{COOKIE}="}, "the Authorization header"),
    ],
)
def test_a_token_is_found_with_its_place(everywhere, places, found):
    assert everywhere.find(asking(**places)) == ("t", found)


@pytest.mark.parametrize(
    "places",
    [
        {**HEADER, **COOKIES},
        {**HEADER, **QUERY},
        {**COOKIES, **QUERY},
        {**HEADER, **COOKIES, **QUERY},
        {**HEADER, "query": "access_token="},
        {**COOKIES, "query": "access_token"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_in_two_places_is_malformed(everywhere, places, method):
    with pytest.raises(MalformedCredential, match="more than one token"):
        everywhere.find(asking(method, **places))


def test_a_malformed_header_is_not_saved_by_another_place(everywhere):
    with pytest.raises(MalformedCredential):
        everywhere.find(asking(authorization="Bearer", **COOKIES))


@pytest.mark.parametrize(
    ("switched_on", "places"),
    [
        ({}, {**COOKIES, **QUERY}),
        ({"cookie": COOKIE}, QUERY),
        ({"query": "access_token"}, COOKIES),
        ({"origins": ["https://app.example"]}, {**COOKIES, **QUERY}),
    ],
    ids=["nothing", "the cookie", "the query", "origins"],
)
def test_a_place_that_is_not_switched_on_holds_no_token(credentials, switched_on, places):
    with pytest.raises(MissingCredential):
        credentials(**switched_on).find(asking(**places))


def test_a_place_that_is_not_switched_on_is_not_even_a_second_one(credentials):
    assert credentials().find(asking(**HEADER, **COOKIES, **QUERY))[0] == "t"


@pytest.mark.parametrize("length", [16_384, 16_385, 100_000])
@pytest.mark.parametrize("place", ["authorization", "cookie", "query"])
def test_a_token_is_read_up_to_its_longest(everywhere, place, length):
    token = "x" * length
    written = {"authorization": f"Bearer {token}", "cookie": f"{COOKIE}={token}", "query": f"access_token={token}"}
    request = asking(**{place: written[place]})
    if length <= 16_384:
        assert everywhere.find(request)[0] == token
    else:
        with pytest.raises(CredentialTooLarge) as refusal:
            everywhere.find(request)
        assert refusal.value.status == 431


# -- the cookie ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("{0}=t", "t"),
        ("{0}=t; a=b", "t"),
        ("a=b; {0}=t", "t"),
        ("a=b;{0}=t;c=d", "t"),
        ("a=b; \t{0}=t \t; c=d", "t"),
        ("; ;{0}=t;", "t"),
        ("{0}-csrf=u; {0}=t", "t"),
        ("{0}=T1==YWJj+/==", "T1==YWJj+/=="),
        ("{0}==", "="),
        ('{0}="t"', '"t"'),
        ("{0}=%74", "%74"),
    ],
)
def test_the_cookies_value_is_taken_as_it_stands(in_cookie, header, token):
    assert in_cookie.find(asking(cookie=header.format(COOKIE))) == (token, "the cookie")


@pytest.mark.parametrize(
    "header",
    [
        "",
        ";",
        "{0}",
        "{0}=",
        "{0}= ",
        "{0}=; a=b",
        "a={0}=t",
        "{0}x=t",
        "x{0}=t",
        "{0} =t",
        "{0}-csrf=t",
        "rolecall=t",
        "__host-rolecall=t",
        "__Secure-rolecall=t",
        "%5F_Host-rolecall=t",
        '"{0}"=t',
        "a=b, {0}=t",
        "$Version=1",
    ],
)
def test_another_cookie_or_a_deleted_one_is_no_credential(in_cookie, header):
    with pytest.raises(MissingCredential):
        in_cookie.find(asking(cookie=header.format(COOKIE)))


@pytest.mark.parametrize(
    "header",
    [
        "{0}=t; {0}=u",
        "{0}=t; {0}=t",
        "{0}=t;a=b;{0}=u",
        "{0}=; {0}=t",
        "{0}=t; {0}",
        "{0}=; {0}=",
        "{0}=t,{0}=u",
        "{0}=t, a=b",
        "{0}=t u",
        "{0}=t\tu",
        "{0}=\xa0",
    ],
)
def test_two_cookies_of_the_name_are_malformed(in_cookie, header):
    with pytest.raises(MalformedCredential):
        in_cookie.find(asking(cookie=header.format(COOKIE)))


@given(st.text() | st.lists(st.sampled_from([COOKIE, "=", ";", " ", "t", '"', ",", "\xa0", "-csrf"])).map("".join))
@example(f"{COOKIE}=\ud800")
def test_a_cookie_header_holds_one_token_or_is_one_of_two_errors(header):
    with Rolecall(KEY, SECRET, web=Web(cookie=COOKIE)) as kit:
        try:
            token, _ = kit.api.credentials.find(asking(cookie=header))
        except (MissingCredential, MalformedCredential):
            return
    assert f"{COOKIE}={token}" in header
    assert not re.search(r"[\s,;]", token)


# -- forged requests -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_method_that_changes_nothing_needs_no_proof(in_cookie, method):
    assert in_cookie.find(asking(method, **COOKIES))[0] == "t"


@pytest.mark.parametrize("method", UNSAFE)
def test_a_method_that_may_change_something_needs_the_proof(in_cookie, method):
    assert in_cookie.find(asking(method, **COOKIES, x_csrf_token=in_cookie.csrf_token("t")))[0] == "t"
    with pytest.raises(CsrfFailed, match="X-CSRF-Token"):
        in_cookie.find(asking(method, **COOKIES))


def proofs(credentials) -> list[str]:
    """What is not the proof of the token ``t``."""
    right = credentials.csrf_token("t")
    return [
        "",
        " ",
        "t",
        right[:-1],
        right + "=",
        right + "A",
        f"{right},{right}",
        f"{right}, {right}",
        f'"{right}"',
        right.swapcase(),
        right + "\ud800",
        "é" * 43,
        credentials.csrf_token("u"),
        credentials.csrf_token(""),
    ]


@pytest.mark.parametrize("number", range(14))
def test_what_is_not_the_tokens_own_proof_is_refused(in_cookie, number):
    with pytest.raises(CsrfFailed):
        in_cookie.find(asking("POST", **COOKIES, x_csrf_token=proofs(in_cookie)[number]))


def test_the_table_of_wrong_proofs_is_tried_to_its_end(in_cookie):
    assert len(proofs(in_cookie)) == 14


def test_the_proof_of_another_kit_is_refused(in_cookie, make_kit):
    other = make_kit(api_secret="0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789").api.credentials
    with pytest.raises(CsrfFailed):
        in_cookie.find(asking("POST", **COOKIES, x_csrf_token=other.csrf_token("t")))


def test_a_proof_is_good_in_every_worker(make_kit):
    first, second = (make_kit(web=Web(cookie=COOKIE)).api.credentials for _ in range(2))
    assert first.csrf_token("t") == second.csrf_token("t")


@given(st.text(), st.text())
def test_a_proof_is_of_one_token_and_tells_nothing_of_it(token, other):
    with Rolecall(KEY, SECRET) as kit:
        proof = kit.api.credentials.csrf_token(token)
        assert re.fullmatch(r"[0-9A-Za-z_-]{43}", proof)
        assert (kit.api.credentials.csrf_token(other) == proof) == (
            other.encode("utf-8", "replace") == token.encode("utf-8", "replace")
        )


@pytest.mark.parametrize("places", [HEADER, QUERY])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_token_that_no_browser_sends_by_itself_needs_no_proof(everywhere, places, method):
    assert everywhere.find(asking(method, **places))[0] == "t"


# -- the query -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "token"),
    [
        ("access_token=t", "t"),
        ("a=b&access_token=t", "t"),
        ("access_token=t&a=b", "t"),
        ("&&access_token=t&", "t"),
        ("access_token=%74", "t"),
        ("acc%65ss_token=t", "t"),
        ("access_token=T1%3D%3DYWJj%2B%2F%3D%3D", "T1==YWJj+/=="),
        ("access_token=T1==YWJj%2B/==", "T1==YWJj+/=="),
        ("access_token=t;a=b", "t;a=b"),
    ],
)
def test_the_parameters_value_is_decoded(in_query, query, token):
    assert in_query.find(asking(query=query)) == (token, "the query")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "a=b",
        "Access_Token=t",
        "access_tokens=t",
        "access_token[]=t",
        "access-token=t",
        "token=t",
        " access_token=t",
    ],
)
def test_another_parameter_is_no_credential(in_query, query):
    with pytest.raises(MissingCredential):
        in_query.find(asking(query=query))


@pytest.mark.parametrize(
    "query",
    [
        "access_token",
        "access_token=",
        "access_token=t&access_token=u",
        "access_token=t&access_token=t",
        "access_token=t&access_token",
        "access_token=t&acc%65ss_token=u",
        "access_token=t,u",
        "access_token=%20t",
        "access_token=t%0a",
        "access_token=Bearer%20t",
        "access_token=%00%20",
    ],
)
def test_a_parameter_that_is_empty_doubled_or_not_one_token_is_malformed(in_query, query):
    with pytest.raises(MalformedCredential):
        in_query.find(asking(query=query))


def test_a_plus_that_was_not_written_as_such_is_a_space_and_said_to_be(in_query):
    with pytest.raises(MalformedCredential, match="'\\+' is written %2B"):
        in_query.find(asking(query="access_token=T1==YWJj+/=="))


@given(st.text(alphabet=st.characters(max_codepoint=0xFF)))
@example("access_token=%ff")
@example("access_token=%")
@example("access_token=%ED%A0%80")
def test_a_query_holds_one_token_or_is_one_of_two_errors(query):
    with Rolecall(KEY, SECRET, web=Web(query="a")) as kit:
        try:
            token, _ = kit.api.credentials.find(asking(query=query))
        except (MissingCredential, MalformedCredential):
            return
    assert token.split() == [token]


# -- what goes through a guard ---------------------------------------------------------------------


def enter(kit, request, requirement=ANY_TOKEN, session_id=None) -> Any:
    authorization = request.headers.get("authorization")
    admitted = admit(kit.api, authorization, Guard(requirement), session_id, lambda: request)
    entered = admitted if isinstance(admitted, Grant) else drive(admitted)
    return refused(entered) if isinstance(entered, RolecallError) else entered


#: Two kits that differ in the places where they look for tokens.
TWINS = [Rolecall(KEY, SECRET, clock=lambda: NOW, web=web) for web in (Web(), Web(cookie=COOKIE, query="access_token"))]


def test_a_kit_that_takes_tokens_elsewhere_decides_the_long_way():
    assert [kit.api.decides_at_once for kit in TWINS] == [True, False]


SESSION = TWINS[0].create_session()
TOKENS = st.builds(SESSION.generate_token, st.sampled_from(["subscriber", "publisher", "moderator"]))
AUTHORIZATION = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.text(max_size=40).map("Bearer {}".format),
    st.builds("{} {}".format, st.sampled_from(["Bearer", "bearer", "Basic", " Bearer", "Bearer ", "Bearer x"]), TOKENS),
    st.builds("Bearer {}{}".format, TOKENS, st.sampled_from([" ", ",", ", Bearer x", "A", ".", "x" * 17_000])),
)


@settings(max_examples=examples(300), deadline=None)
@given(
    authorization=AUTHORIZATION,
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE"]),
    requirement=st.sampled_from([ANY_TOKEN, Requirement.of_role("publisher"), Requirement.of_role("moderator")]),
    session_id=st.sampled_from([None, SESSION.session_id, "another"]),
)
def test_a_token_in_the_header_comes_to_the_same_both_ways(authorization, method, requirement, session_id):
    headers = {} if authorization is None else {"authorization": authorization}
    request = Request(method, "/", {}, headers)
    at_once, the_long_way = (enter(kit, request, requirement, session_id) for kit in TWINS)
    assert at_once == the_long_way


def placed(place: str, token: str) -> dict[str, str]:
    """Where a token is, for :func:`asking`."""
    return {
        "header": {"authorization": f"Bearer {token}"},
        "cookie": {"cookie": f"{COOKIE}={token}"},
        "query": {"query": f"access_token={quote(token, safe='')}"},
    }[place]


@pytest.mark.parametrize("format", ["opentok", "t1"])
@pytest.mark.parametrize("place", ["header", "cookie", "query"])
def test_a_token_gets_in_wherever_it_is(make_kit, place, format):
    kit = make_kit(web=Web(cookie=COOKIE, query="access_token"), format=format)
    session = kit.create_session()
    request = asking(**placed(place, session.generate_token("moderator", data="Zoë >>> ???")))
    grant = enter(kit, request, Requirement.of_role("moderator"), session.session_id)
    assert (grant.session_id, grant.role) == (session.session_id, "moderator")


@pytest.mark.parametrize("place", ["header", "cookie", "query"])
@pytest.mark.parametrize(
    ("mend", "status", "code"),
    [
        (lambda token: token[:-6] + "AAAAAA", 401, "bad_signature"),
        (lambda token: "x", 401, "malformed_token"),
        (lambda token: f'"{token}"', 401, "malformed_token"),
        (lambda token: token + "," + token, 400, "malformed_credential"),
        (lambda token: token + "x" * 17_000, 431, "credential_too_large"),
    ],
    ids=["signature", "form", "quotes", "two", "too long"],
)
def test_a_token_that_is_not_good_is_refused_alike_wherever_it_is(make_kit, place, mend, status, code):
    kit = make_kit(web=Web(cookie=COOKIE, query="access_token"))
    answer = enter(kit, asking(**placed(place, mend(kit.create_session().generate_token()))))
    assert (answer.status, json.loads(answer.body)["code"]) == (status, code)
    assert ("WWW-Authenticate" in dict(answer.headers)) == (status in (400, 401))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("header", "a token in the Authorization header"),
        ("cookie", "a token in the cookie"),
        ("query", "a token in the query"),
    ],
)
def test_an_explanation_names_the_place_and_not_the_token(make_kit, place, words):
    kit = make_kit(web=Web(cookie=COOKIE, query="access_token"))
    token = kit.create_session().generate_token()
    explanation = kit.explain_access(role="publisher", http=asking(**placed(place, token)))
    assert explanation.allowed
    assert (explanation.steps[0].name, explanation.steps[0].detail) == ("credential", words)
    assert token not in str(explanation) + explanation.as_json()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (asking("POST", **COOKIES), "csrf_failed"),
        (asking(**HEADER, **COOKIES), "malformed_credential"),
        (asking(query="access_token=" + "x" * 17_000), "credential_too_large"),
    ],
    ids=["proof", "two", "too long"],
)
def test_an_explanation_says_why_a_credential_is_not_taken(make_kit, request_, code):
    kit = make_kit(web=Web(cookie=COOKIE, query="access_token"))
    explanation = kit.explain_access(http=request_)
    assert (explanation.allowed, explanation.code) == (False, code)
    assert explanation.steps[-1].name == "credential"


class Listening:
    """Sees everything that a plugin is shown."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl
    def rolecall_identify(self, request):
        self.seen.append(request)

    @hookimpl
    def rolecall_vote_access(self, request):
        self.seen.append(request)

    @hookimpl
    def rolecall_on_event(self, event):
        self.seen.append(event)


@pytest.mark.parametrize("place", ["header", "cookie", "query"])
def test_no_log_event_or_answer_shows_the_token_wherever_it_is(make_kit, caplog, place):
    caplog.set_level(logging.DEBUG)
    listening = Listening()
    kit = make_kit(web=Web(cookie=COOKIE, query="access_token"), plugins=[listening], trace=True)
    session = kit.create_session()
    token = session.generate_token()
    wrong = token[:-6] + "AAAAAA"
    answers = []
    for method in ("GET", "POST"):
        for one in (token, wrong, f"{token},{token}", token * 30):
            request = asking(method, **placed(place, one))
            answers += [enter(kit, request, Requirement.of_role("moderator"), at) for at in (None, "another")]
            answers += [ask(kit, method, f"/sessions/{session.session_id}", **placed(place, one))]
    said = repr((answers, listening.seen, kit)) + "".join(str(answer) for answer in answers) + caplog.text
    said += "".join(str((answer.headers, answer.body)) for answer in answers if isinstance(answer, Response))
    assert len(listening.seen) > 10
    assert len(caplog.text) > 1000
    for one in (token, wrong):
        assert one[-30:] not in said
        assert quote(one, safe="")[-30:] not in said


# -- a token as a cookie ---------------------------------------------------------------------------


def ask(kit, method: str, path: str, body: object = None, query: str = "", **headers: str) -> Response:
    found = find_route(ROUTES, path)
    assert found is not None
    route, params = found
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    raw = b"" if body is None else json.dumps(body).encode()
    sent |= {"content-type": "application/json"} if raw else {}
    return drive(respond(kit.api, route, Request(method, path, params, sent, raw, query=query)))


@pytest.fixture
def web_kit(make_kit):
    return make_kit(web=Web(cookie=COOKIE), plugins=[AllowAnyone("moderator")])


@pytest.fixture
def path(web_kit):
    return f"/sessions/{web_kit.create_session().session_id}"


def cookies_of(answer: Response) -> dict[str, tuple[str, list[str]]]:
    """Each cookie that an answer sets: its value and its attributes."""
    found = {}
    for header, text in answer.headers:
        if header == "Set-Cookie":
            pair, *attributes = text.split("; ")
            name, _, value = pair.partition("=")
            found[name] = (value, attributes)
    return found


def test_a_token_is_set_as_a_cookie_that_scripts_cannot_read(web_kit, path):
    answer = ask(web_kit, "POST", f"{path}/tokens", {"cookie": True, "expires_in": 90})
    value, attributes = cookies_of(answer)[COOKIE]
    assert answer.status == 201
    assert web_kit.verify_token(value).session_id == path.rpartition("/")[2]
    assert sorted(attributes) == ["HttpOnly", "Max-Age=90", "Path=/", "SameSite=Lax", "Secure"]


def test_its_proof_is_set_as_a_cookie_that_scripts_can_read(web_kit, path):
    answer = ask(web_kit, "POST", f"{path}/tokens", {"cookie": True, "expires_in": 90})
    cookies = cookies_of(answer)
    value, attributes = cookies[f"{COOKIE}-csrf"]
    assert value == json.loads(answer.body)["csrf_token"]
    assert value == web_kit.api.credentials.csrf_token(cookies[COOKIE][0])
    assert sorted(attributes) == ["Max-Age=90", "Path=/", "SameSite=Lax", "Secure"]


def test_the_body_has_the_proof_in_the_place_of_the_token(web_kit, path):
    answer = ask(web_kit, "POST", f"{path}/tokens", {"cookie": True})
    assert list(json.loads(answer.body)) == [
        "csrf_token",
        "session_id",
        "role",
        "capabilities",
        "issued_at",
        "expires_at",
        "expires_in",
        "data",
    ]
    assert cookies_of(answer)[COOKIE][0].encode() not in answer.body
    assert dict(answer.headers)["Cache-Control"] == "no-store"


class AtMostAMinute:
    @hookimpl
    def rolecall_vote_token(self, request):
        return Limit(max_lifetime=60)


def test_the_cookie_lives_as_long_as_the_policies_leave_the_token(make_kit):
    kit = make_kit(web=Web(cookie=COOKIE), plugins=[AllowAnyone("moderator"), AtMostAMinute()])
    answer = ask(kit, "POST", f"/sessions/{kit.create_session().session_id}/tokens", {"cookie": True})
    assert "Max-Age=60" in cookies_of(answer)[COOKIE][1]


@pytest.mark.parametrize("asked", [None, {}, {"cookie": False}])
def test_no_cookie_is_set_for_those_who_do_not_ask(web_kit, path, asked):
    answer = ask(web_kit, "POST", f"{path}/tokens", asked)
    assert answer.status == 201
    assert cookies_of(answer) == {}
    assert "token" in json.loads(answer.body)


@pytest.mark.parametrize("value", [None, 1, 0, "true", [], {}])
def test_asking_for_a_cookie_is_true_or_false(web_kit, path, value):
    answer = ask(web_kit, "POST", f"{path}/tokens", {"cookie": value})
    assert (answer.status, cookies_of(answer)) == (400, {})
    assert "expected true or false" in json.loads(answer.body)["detail"]


def test_no_cookie_is_set_where_that_is_not_switched_on(make_kit):
    kit = make_kit(plugins=[AllowAnyone("moderator")])
    answer = ask(kit, "POST", f"/sessions/{kit.create_session().session_id}/tokens", {"cookie": True})
    assert (answer.status, cookies_of(answer)) == (400, {})
    assert "sets no cookies" in json.loads(answer.body)["detail"]


@pytest.mark.parametrize("format", ["opentok", "t1"])
def test_the_cookie_opens_the_kits_own_routes(make_kit, format):
    kit = make_kit(web=Web(cookie=COOKIE), plugins=[AllowAnyone("moderator")], format=format)
    path = f"/sessions/{kit.create_session().session_id}"
    issued = ask(kit, "POST", f"{path}/tokens", {"cookie": True, "role": "moderator", "data": "Zoë"})
    cookie = f"a=b; {COOKIE}={cookies_of(issued)[COOKIE][0]}"
    assert ask(kit, "GET", path, cookie=cookie).status == 200

    refused = ask(kit, "DELETE", path, cookie=cookie)
    assert (refused.status, json.loads(refused.body)["code"]) == (403, "csrf_failed")
    proof = json.loads(issued.body)["csrf_token"]
    assert ask(kit, "DELETE", path, cookie=cookie, x_csrf_token=proof).status == 204


#: Connection data whose token is too long for a cookie, and short enough to be read.
LONG = "\x01" * 500


class Audit:
    def __init__(self) -> None:
        self.events: list[Any] = []

    @hookimpl
    def rolecall_on_event(self, event):
        self.events.append((event.name, getattr(event, "code", None)))


def test_a_token_that_no_cookie_holds_is_refused(web_kit, path):
    answer = ask(web_kit, "POST", f"{path}/tokens", {"cookie": True, "data": LONG})
    assert (answer.status, json.loads(answer.body)["code"], cookies_of(answer)) == (400, "invalid_data", {})
    assert "3800" in json.loads(answer.body)["detail"]
    assert ask(web_kit, "POST", f"{path}/tokens", {"data": LONG}).status == 201


def test_a_token_that_no_cookie_holds_is_not_told_of_as_issued(make_kit):
    audit = Audit()
    kit = make_kit(web=Web(cookie=COOKIE), plugins=[AllowAnyone("moderator"), audit])
    ask(kit, "POST", f"/sessions/{kit.create_session().session_id}/tokens", {"cookie": True, "data": LONG})
    assert audit.events[1:] == [("token_refused", "invalid_data")]


def test_a_token_that_no_cookie_holds_takes_no_place(make_kit):
    kit = make_kit(web=Web(cookie=COOKIE), plugins=[AllowAnyone("moderator"), MaxLiveTokens(per_session=1)])
    path = f"/sessions/{kit.create_session().session_id}/tokens"
    assert ask(kit, "POST", path, {"cookie": True, "data": LONG}).status == 400
    assert ask(kit, "POST", path, {"cookie": True, "data": "Ada"}).status == 201


def test_the_longest_token_that_is_set_fits_what_browsers_keep(web_kit, path):
    answer = ask(web_kit, "POST", f"{path}/tokens", {"cookie": True, "data": "\x01" * 350})
    assert answer.status == 201
    assert all(len(text) <= 4096 for name, text in answer.headers if name == "Set-Cookie")
    assert len(cookies_of(answer)[COOKIE][0]) > 3000


def test_every_refusal_of_a_credential_is_an_error_of_the_kit():
    assert all(issubclass(error, RolecallError) for error in (MissingCredential, MalformedCredential, CsrfFailed))


def test_two_headers_in_one_are_refused_though_a_plugins_format_would_take_them(make_kit):
    class Lenient(OpenTokFormat):
        __slots__ = ()

        def verify(self, token, now):
            return super().verify(token.partition(b",")[0], now)

    class Plugin:
        @hookimpl
        def rolecall_register_formats(self):
            return {"lenient": Lenient}

    kit = make_kit(plugins=[Plugin()], format="lenient", accept=["lenient"])
    token = kit.create_session().generate_token()
    request = Request("GET", "/")
    entered = [
        admit(kit.api, f"Bearer {sent}", Guard(ANY_TOKEN), None, lambda: request)
        for sent in (token, f"{token},{token}")
    ]
    assert isinstance(entered[0], Grant)
    assert drive(untyped(entered[1])).status == 400
