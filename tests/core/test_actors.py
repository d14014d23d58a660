"""The ids of actors: which texts may be one, at each place where one enters, and their way through each format."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolecall import Actor, Allow, Request, Role, Rolecall, hookimpl, inspect_token
from rolecall.actors import problem_with_actor_id
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import InvalidActor, InvalidClaim, PolicyFault
from rolecall.formats import FORMATS
from rolecall.http.api.rest import ROUTES
from rolecall.http.api.routing import find_route
from rolecall.http.respond import respond
from rolecall.sessions import SessionProperties

from ..budgets import examples
from ..conftest import NOW
from ..own_tokens import ISSUER, pem
from ..sdk_tokens import API_KEY, API_SECRET
from ..untyped import untyped

APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
#: The credentials of a kit for each format, and the claim in which its tokens say for whom they are.
CREDENTIALS: dict[str, dict[str, Any]] = {
    "opentok": {"api_key": API_KEY, "api_secret": API_SECRET},
    "vonage": {"application_id": APPLICATION, "private_key": pem("RS256")},
    "jwt": {"issuer": ISSUER, "private_key": pem()},
}
CLAIMS = {"opentok": "rolecall_actor", "vonage": "rolecall_actor", "jwt": "sub"}

WRONG = {
    "a number": (7, "is 7; expected text"),
    "bytes": (b"ada", "expected text"),
    "a list": (["ada"], "expected text"),
    "empty": ("", "has 0 characters; expected 1 to 255"),
    "too long": ("a" * 256, "has 256 characters"),
    "a space before": (" ada", "white space at an end"),
    "a space behind": ("ada ", "white space at an end"),
    "a line end": ("ada\n", "white space at an end"),
    "a no-break space behind": ("ada\N{NO-BREAK SPACE}", "white space at an end"),
    "NUL": ("a\0da", r"U\+0000"),
    "a tab": ("a\tda", r"U\+0009"),
    "a C1 control": ("a\x85da", r"U\+0085"),
    "a zero width space": ("a\N{ZERO WIDTH SPACE}da", r"U\+200B"),
    "a joiner": ("ada\N{ZERO WIDTH JOINER}", r"U\+200D"),
    "a soft hyphen": ("a\N{SOFT HYPHEN}da", r"U\+00AD"),
    "a change of direction": ("a\N{RIGHT-TO-LEFT OVERRIDE}da", r"U\+202E"),
    "a tag": ("ada\N{TAG LATIN SMALL LETTER A}", r"U\+E0061"),
    "a line separator": ("a\N{LINE SEPARATOR}da", r"U\+2028"),
    "a paragraph separator": ("a\N{PARAGRAPH SEPARATOR}da", r"U\+2029"),
    "half a pair": ("a\ud83dda", r"U\+D83D"),
    "decomposed": ("Zoe\N{COMBINING DIAERESIS}", "NFC"),
    "a sign with a letter's form": ("\N{ANGSTROM SIGN}", "NFC"),
}
GOOD = ("a", "a" * 255, "Zoë", "Ada Lovelace", "auth0|5f7c", "ada@example.org", "李", "a\N{NO-BREAK SPACE}b", "👩", "0")

#: What strict JSON holds in no claim.
NO_JSON = (b"ada", "a\ud83dda")

wrong_ids = pytest.mark.parametrize(("wrong", "problem"), WRONG.values(), ids=WRONG)
each_format = pytest.mark.parametrize("form", CREDENTIALS)


class Login:
    """Identifies whom it is told, and allows everything."""

    def __init__(self, actor: object = None) -> None:
        self.actor = actor

    @hookimpl
    def rolecall_identify(self, request):
        return self.actor

    @hookimpl
    def rolecall_vote_session(self, request):
        return Allow()

    @hookimpl
    def rolecall_vote_token(self, request):
        return Allow()


@cache
def kit_of(form: str) -> Rolecall:
    return Rolecall(**CREDENTIALS[form], clock=lambda: NOW)


def created(kit: Rolecall, framework: Actor | None = None):
    return kit.engine.create_session(SessionProperties(), call=Call(Request("POST", "/sessions", actor=framework)))


# -- the rule --------------------------------------------------------------------------------------


@pytest.mark.each_choice
@wrong_ids
def test_what_nobody_can_be_is_refused_as_an_argument(kit, wrong, problem):
    session = kit.create_session()
    named = Actor(untyped(wrong))
    calls = [
        lambda: session.generate_token(actor=named),
        lambda: kit.create_session(actor=named),
        lambda: kit.explain_token(session, actor=named),
        lambda: asyncio.run(kit.aio.create_session(actor=named)),
        lambda: asyncio.run(kit.aio.generate_token(session, actor=named)),
    ]
    if isinstance(wrong, str):
        calls += [lambda: session.generate_token(actor=wrong), lambda: kit.create_session(actor=wrong)]
    for call in calls:
        with pytest.raises(InvalidActor, match=problem):
            call()


@wrong_ids
def test_what_nobody_can_be_is_a_fault_of_the_plugin_or_framework(make_kit, wrong, problem):
    actor = Actor(untyped(wrong))
    with pytest.raises(PolicyFault, match=rf"plugin .* failed to identify: the actor's id .*{problem}"):
        drive(created(make_kit(plugins=[Login(actor)])))
    for plugins in ([Login()], []):
        with pytest.raises(PolicyFault, match=rf"the framework failed to identify: the actor's id .*{problem}"):
            drive(created(make_kit(plugins=plugins), actor))


@pytest.mark.parametrize("wrong", [7, b"ada", ["ada"], ("ada", {}), {"id": "ada"}, Allow(), Role.PUBLISHER, True])
def test_an_actor_is_an_id_or_an_actor(kit, wrong):
    for call in (kit.create_session, kit.create_session().generate_token):
        with pytest.raises(InvalidActor, match=r"expected an actor's id as text, or a rolecall\.Actor"):
            call(actor=wrong)


def test_attributes_are_a_mapping(kit):
    with pytest.raises(InvalidActor, match="attributes are None; expected a mapping"):
        kit.create_session(actor=Actor("ada", untyped(None)))


@pytest.mark.each_choice
@pytest.mark.parametrize("good", GOOD)
def test_what_somebody_can_be_is_accepted_and_never_changed(make_kit, good):
    kit = make_kit(plugins=[Login(Actor(good))])
    assert kit.create_session(actor=good).created_by == drive(created(kit)).created_by == good


@given(
    st.text(max_size=6)
    | st.text(st.sampled_from(" aZ\0\u00a0\u00ad\u0301\u0308\u200b\u2028\ud800Åë\u212b"), max_size=4)
)
@settings(max_examples=examples(500))
def test_the_rule_is_that_of_the_standard(text):
    is_good = (
        1 <= len(text) <= 255
        and text == text.strip()
        and not any(unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for one in text)
        and unicodedata.normalize("NFC", text) == text
    )
    assert (problem_with_actor_id(text) is None) is is_good


# -- the formats -----------------------------------------------------------------------------------

ids = (
    st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), min_size=1, max_size=255)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lambda text: problem_with_actor_id(text) is None)
)


@each_format
@given(actor_id=ids)
@settings(max_examples=examples(100))
def test_an_id_comes_back_from_a_token_as_it_was(form, actor_id):
    kit = kit_of(form)
    token = kit.create_session().generate_token(actor=actor_id)
    assert kit.verify_token(token).actor_id == actor_id == inspect_token(token).claims[CLAIMS[form]]


@each_format
def test_a_token_for_nobody_is_as_before(form):
    kit = kit_of(form)
    token = kit.create_session().generate_token()
    assert kit.verify_token(token).actor_id is None
    assert "rolecall_actor" not in inspect_token(token).claims
    assert inspect_token(token).claims.get("sub") == ("video" if form == "vonage" else None)


def test_a_t1_token_is_minted_and_does_not_say_for_whom_it_is(make_kit):
    kit = make_kit(format="t1")
    token = kit.create_session().generate_token(actor="ada")
    assert kit.verify_token(token).actor_id is None
    assert "rolecall_tag" not in inspect_token(token).claims


def signed(form: str, **changed: object) -> str:
    """A token that the kit's own key signed, with claims changed."""
    kit = kit_of(form)
    token = kit.create_session().generate_token()
    claims = {**inspect_token(token).as_dict()["claims"], **changed}
    issuer = kit._state.mint._codec if form != "opentok" else kit._state.mint._only  # type: ignore[attr-defined]
    return issuer.sign(json.dumps(claims).encode())


@pytest.mark.each_choice
@each_format
@pytest.mark.parametrize("wrong", [*(wrong for wrong, _ in WRONG.values() if wrong not in NO_JSON), None, True])
def test_a_token_for_what_nobody_can_be_is_refused(form, wrong):
    token = signed(form, **{CLAIMS[form]: wrong})
    with pytest.raises(InvalidClaim, match=rf"the token's {CLAIMS[form]} is missing or wrong; expected an actor's id"):
        kit_of(form).verify_token(token)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("claims", [{"rolecall_actor": "eve"}, {"sub": "eve"}])
def test_no_plugin_says_for_whom_a_token_is(form, claims):
    class Forger:
        @hookimpl
        def rolecall_token_claims(self, request):
            return claims

    credentials = CREDENTIALS.get(form, CREDENTIALS["opentok"])
    for named in (True, False):
        with (
            Rolecall(**credentials, format=form, plugins=[Forger()], actor_claim=named) as kit,
            pytest.raises(PolicyFault, match="is not for plugins to set"),
        ):
            kit.create_session().generate_token(actor="ada")


@each_format
def test_a_kit_that_is_told_so_names_nobody_and_still_reads(form):
    somebody = "ada@example.org"  # which stands in no random id by chance
    with Rolecall(**CREDENTIALS[form], actor_claim=False, clock=lambda: NOW) as silent:
        session = silent.create_session(actor=somebody)
        token = session.generate_token(actor=Actor(somebody, {"name": "Ada"}))
        assert silent.verify_token(token).actor_id is None
        assert somebody not in json.dumps(inspect_token(token).as_dict()["claims"])
        assert silent.verify_token(kit_of(form).create_session().generate_token(actor=somebody)).actor_id == somebody
        assert session.created_by == somebody


# -- from outside ----------------------------------------------------------------------------------


@each_format
def test_a_request_from_outside_gets_a_token_for_whoever_was_identified(form):
    """Without any framework: adapters only translate what ``respond`` takes and answers."""
    with Rolecall(**CREDENTIALS[form], plugins=[Login(Actor("Zoë", {"name": "Zoë Z."}))]) as kit:
        session = drive(created(kit))
        found = find_route(ROUTES, f"/sessions/{session.session_id}/tokens")
        assert found is not None
        route, params = found
        request = Request("POST", "/", params, {"content-type": "application/json"}, b'{"role":"moderator"}')
        token = json.loads(drive(respond(kit.api, route, request)).body)["token"]
        grant = kit.verify_token(token, session.session_id)
    assert (grant.actor_id, grant.role, session.created_by) == ("Zoë", "moderator", "Zoë")
