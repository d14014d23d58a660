"""Cloudflare RealtimeKit: what its API is asked for, and what becomes of its answers. The API is a stand-in."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rolecall import Allow, Grant, Role, Rolecall, hookimpl
from rolecall.errors import (
    ConfigurationError,
    InvalidSessionId,
    NoMediaService,
    NotFoundAtService,
    RevokedToken,
    RolecallError,
    RoleNotHeld,
    Unavailable,
)
from rolecall.media import Cloudflare

from ...tracebacks import held_by, told_by
from ...untyped import untyped
from ...waiting import PATIENCE
from .acts import Acted
from .stand_in import Answer, StandIn

pytestmark = pytest.mark.each_choice

ACCOUNT, APP = "7f3a91c04be2d85617c9e0f2ab36d481", "a1b2c3d4-app"
TOKEN = "throwaway-cloudflare-api-token-0123456789"
AT = f"/accounts/{ACCOUNT}/realtime/kit/{APP}"
MEETING = "bbb4b2ec-3f9c-4e7a-9a3f-0123456789ab"
LIVE = "1ec1a1fe-0000-4000-8000-0123456789ab"
PRESETS = {"publisher": "group_call_participant", "moderator": "group_call_participant", "subscriber": "viewer"}


@pytest.fixture
def service() -> Iterator[StandIn]:
    service = StandIn()
    yield service
    service.stop()


@pytest.fixture
def made(make_kit, service) -> Callable[..., Rolecall]:
    """Makes a kit with that service, which has all the time that a busy machine takes."""

    def make(*plugins: object, **settings: Any) -> Rolecall:
        given: dict[str, Any] = {"account_id": ACCOUNT, "app_id": APP, "api_token": TOKEN, "roles": PRESETS}
        given |= {"api_url": service.url, "timeout": PATIENCE, **settings}
        kit: Rolecall = make_kit(
            media="cloudflare",
            media_config={"cloudflare": given},
            session_names="plain",
            hook_timeout=4 * PATIENCE,
            plugins=plugins,
        )
        return kit

    return make


def _done(data: Any = None, **further: Any) -> Answer:
    return 200, {"success": True, "data": data, **further}


CREATED = _done({"id": MEETING, "created_at": "2026-11-01T10:00:00Z", "updated_at": "2026-11-01T10:00:00Z"})


def _added(token: str = "opaque", **changes: Any) -> Answer:
    return _done({"id": "aaa", "token": token, "custom_participant_id": "ada", "preset_name": "viewer", **changes})


def granted(kit: Rolecall, service: StandIn, role: Any = "publisher", actor: str = "ada") -> Grant:
    service.script = [CREATED, _added()]
    session = kit.create_session()
    return kit.verify_token(kit.generate_token(session, role, actor=actor))


def test_a_session_is_a_meeting_and_a_participant_an_actor(made, service, clock):
    kit = made()
    grant = granted(kit, service)
    assert grant.session_id == MEETING
    ticket = kit.ticket(grant)
    assert (ticket.token, ticket.room, ticket.session_id, ticket.identity) == ("opaque", MEETING, MEETING, "ada")
    assert (ticket.url, ticket.expires_at, ticket.credentials) == (
        "https://realtime.cloudflare.com",
        int(clock()) + 60,
        {},
    )
    added = {"custom_participant_id": "ada", "preset_name": "group_call_participant"}
    assert service.calls == [
        ("POST", f"{AT}/meetings", {}),
        ("POST", f"{AT}/meetings/{MEETING}/participants", added),
    ]
    assert {asked.headers["authorization"] for asked in service.asked} == {f"Bearer {TOKEN}"}


def test_sessions_and_tickets_in_async_code(made, service):
    kit = made()
    service.script = [CREATED, _added()]

    async def joined() -> str:
        session = await kit.aio.create_session()
        token = await session.generate_token("publisher", actor="ada")
        return (await kit.aio.ticket(await kit.aio.verify_token(token))).token

    assert asyncio.run(joined()) == "opaque"


def _jwt(**claims: Any) -> str:
    parts = (urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in ({"alg": "RS256"}, claims))
    return ".".join((*parts, "c2lnbmF0dXJl"))


@pytest.mark.parametrize(
    ("token", "later"),
    [
        (_jwt(exp=4_000_000_000), 4_000_000_000),
        (_jwt(exp="4000000000"), None),
        (_jwt(exp=True), None),
        (_jwt(exp=0), None),
        (_jwt(), None),
        ("a.b.c", None),
        ("ä.ö.ü", None),
        ("\ud800.x.y", None),
    ],
)
def test_a_ticket_ends_when_its_token_says_so(made, service, clock, token, later):
    kit = made()
    grant = granted(kit, service)
    service.script = [_added(token)]
    assert kit.ticket(grant).expires_at == (later or int(clock()) + 60)


# -- roles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", PRESETS)
def test_a_role_has_its_preset(made, service, role):
    kit = made()
    kit.ticket(granted(kit, service, role))
    assert service.calls[-1][2]["preset_name"] == PRESETS[role]


def test_a_role_without_a_preset_gets_no_ticket(made, service):
    kit = made()
    grant = granted(kit, service, "publisheronly")
    with pytest.raises(RoleNotHeld, match="cloudflare has no name for the role 'publisheronly'"):
        kit.ticket(grant)
    assert len(service.asked) == 1


def test_a_role_of_the_app_has_a_preset_by_its_own_name(made, service):
    class Roles:
        @hookimpl
        def rolecall_register_roles(self) -> Any:
            return [Role("guide", ["connect", "subscribe", "publish"], wire_name="publisheronly")]

    kit = made(Roles(), roles={"guide": "webinar_host"})
    grant = granted(kit, service)._replace(role=untyped(kit.roles.get("guide")))
    kit.ticket(grant._replace(capabilities=grant.role.capabilities))
    assert service.calls[-1][2]["preset_name"] == "webinar_host"


def test_what_policies_leave_of_a_grant_has_the_preset_of_the_role_that_is_left(made, service):
    class Listeners:
        @hookimpl
        def rolecall_vote_token(self, request: Any) -> Allow:
            return Allow(capabilities=["connect", "subscribe"])

    kit = made(Listeners())
    kit.ticket(granted(kit, service, "publisher"))
    assert service.calls[-1][2]["preset_name"] == "viewer"


# -- sessions --------------------------------------------------------------------------------------


def test_a_session_that_is_no_meeting_gets_no_ticket(made, service):
    class Names:
        @hookimpl
        def rolecall_create_session(self, request: Any) -> str:
            return "physics-1"

    kit = made(Names())
    grant = kit.verify_token(kit.create_session().generate_token("publisher", actor="ada"))
    with pytest.raises(InvalidSessionId, match="no meeting of Cloudflare's"):
        kit.ticket(grant)
    with pytest.raises(NotFoundAtService, match="no meeting of Cloudflare's"):
        kit.force_disconnect("physics-1", "ada")
    assert service.asked == []


def test_ids_of_opentoks_form_stop_start_up(make_kit):
    backend = Cloudflare(ACCOUNT, APP, TOKEN, PRESETS)
    with pytest.raises(ConfigurationError, match=r"'cloudflare' gives its sessions ids of its own: .*='plain'"):
        make_kit(media=backend)


# -- acts ------------------------------------------------------------------------------------------

_KICK = ("POST", f"{AT}/meetings/{MEETING}/active-session/kick")
_KICKED = {"custom_participant_ids": ["ada"], "participant_ids": []}
_PARTICIPANTS = f"{AT}/meetings/{MEETING}/participants"
_NOBODY = (404, {"success": False, "error": {"code": 404, "message": "SECRET"}})


def _page(*rows: tuple[str, str], total: int | None = None) -> Answer:
    data = [{"id": name, "custom_participant_id": actor, "preset_name": "viewer"} for name, actor in rows]
    further = {} if total is None else {"paging": {"total_count": total, "start_offset": 0, "end_offset": 0}}
    return _done(data, **further)


def _listing(page: int, at: str = _PARTICIPANTS) -> tuple[str, str, None]:
    return "GET", f"{at}?page_no={page}&per_page=100", None


def _joined(actor: str, left_at: str | None = None) -> dict[str, Any]:
    return {
        "id": f"peer-{actor}",
        "custom_participant_id": actor,
        "display_name": None,
        "joined_at": "2026-11-01T10:00:00Z",
        "left_at": left_at,
    }


ACTS = {
    "disconnect": Acted(
        lambda kit, session: kit.force_disconnect(session, "ada"),
        [_done({"action": "kick", "participants": [{"id": "x"}]})],
        [(*_KICK, _KICKED)],
    ),
    "disconnect without a word about whom": Acted(
        lambda kit, session: kit.force_disconnect(session, "ada"), [_done({"action": "kick"})], [(*_KICK, _KICKED)]
    ),
    "disconnect nobody": Acted(
        lambda kit, session: kit.force_disconnect(session, "ada"),
        [_done({"action": "kick", "participants": []})],
        [(*_KICK, _KICKED)],
        (NotFoundAtService, "no such connection"),
    ),
    "disconnect where nobody is": Acted(
        lambda kit, session: kit.force_disconnect(session, "ada"),
        [_NOBODY],
        [(*_KICK, _KICKED)],
        (NotFoundAtService, "no such connection"),
    ),
    "exclude": Acted(
        lambda kit, session: kit.exclude(session, "ada").disconnected,
        [
            _page(("p1", "ada"), ("p2", "ben"), total=3),
            _done({}),
            _page(("p2", "ben"), ("p/3", "ada"), total=2),  # which has moved to this page
            _NOBODY,  # another worker has deleted it
            _done({"participants": [{"id": "x"}]}),
        ],
        [
            _listing(1),
            ("DELETE", f"{_PARTICIPANTS}/p1", None),
            _listing(1),
            ("DELETE", f"{_PARTICIPANTS}/p%2F3", None),
            (*_KICK, _KICKED),
        ],
        True,
    ),
    "exclude deletes what was found before the service fails": Acted(
        lambda kit, session: kit.exclude(session, "ada").disconnected,
        [_page(("p1", "ada"), total=9000), _done({}), (503, b"SECRET"), _done({"participants": [{"id": "x"}]})],
        [_listing(1), ("DELETE", f"{_PARTICIPANTS}/p1", None), _listing(1), (*_KICK, _KICKED)],
        False,
    ),
    "exclude where the service lists what it has deleted": Acted(
        lambda kit, session: kit.exclude(session, "ada").disconnected,
        [
            _page(("p1", "ada"), total=2),
            _done({}),
            _page(("p1", "ada"), total=2),
            _page(("p2", "ben"), total=2),
            _NOBODY,
        ],
        [_listing(1), ("DELETE", f"{_PARTICIPANTS}/p1", None), _listing(1), _listing(2), (*_KICK, _KICKED)],
        True,
    ),
    "exclude where pages do not say how many there are": Acted(
        lambda kit, session: kit.exclude(session, "ada").disconnected,
        [_page(("p2", "ben")), _page(), _NOBODY],
        [_listing(1), _listing(2), (*_KICK, _KICKED)],
        True,
    ),
    "exclude kicks though nothing can be deleted": Acted(
        lambda kit, session: kit.exclude(session, "ada").disconnected,
        [(503, b"SECRET"), _done({"participants": [{"id": "x"}]})],
        [_listing(1), (*_KICK, _KICKED)],
        False,
    ),
    "list": Acted(
        lambda kit, session: kit.list_connections(session),
        [
            _done({"id": LIVE, "status": "LIVE"}),
            _done({"participants": [_joined("ada"), _joined("ben", "2026-11-01T10:05:00Z")]}),
            _done({"participants": []}),
        ],
        [
            ("GET", f"{AT}/meetings/{MEETING}/active-session", None),
            _listing(1, f"{AT}/sessions/{LIVE}/participants"),
            _listing(2, f"{AT}/sessions/{LIVE}/participants"),
        ],
        [{"connectionId": "ada", "id": "peer-ada", "joined_at": "2026-11-01T10:00:00Z"}],
    ),
    "list where nobody is": Acted(
        lambda kit, session: kit.list_connections(session),
        [_NOBODY],
        [("GET", f"{AT}/meetings/{MEETING}/active-session", None)],
        [],
    ),
    "list of something else": Acted(
        lambda kit, session: kit.list_connections(session),
        [_done({"id": "../SECRET"})],
        [("GET", f"{AT}/meetings/{MEETING}/active-session", None)],
        (Unavailable, "not that of the service"),
    ),
    "end": Acted(
        lambda kit, session: kit.end_session(session),
        [_done({"id": MEETING}), _NOBODY],
        [
            ("PATCH", f"{AT}/meetings/{MEETING}", {"status": "INACTIVE"}),
            ("POST", f"{AT}/meetings/{MEETING}/active-session/kick-all", None),
        ],
    ),
}


@pytest.mark.parametrize("name", ACTS)
def test_an_act_asks_the_service_and_nothing_more(made, service, name):
    row, kit = ACTS[name], made()
    service.script = [CREATED]
    session = kit.create_session()
    service.script, before = list(row.script), len(service.asked)
    if isinstance(row.result, tuple):
        error, message = row.result
        with pytest.raises(error, match=message):
            row.act(kit, session.session_id)
    else:
        assert row.act(kit, session.session_id) == row.result
    assert service.calls[before:] == list(row.calls)


def test_a_list_without_an_end_is_none(made, service):
    kit = made()
    service.script = [CREATED, _done({"id": LIVE}), _done({"participants": [_joined("ada")]})]
    session = kit.create_session()
    with pytest.raises(Unavailable, match="the list has no end"):
        kit.list_connections(session)


def test_who_is_excluded_gets_no_other_ticket(made, service):
    kit = made()
    grant = granted(kit, service)
    kit.ticket(grant)
    service.script = [_page(("p1", "ada"), total=1), _done({})]
    assert kit.exclude(MEETING, "ada").disconnected
    with pytest.raises(RevokedToken):
        kit.ticket(grant)


@pytest.mark.parametrize("act", ["signal", "mute_all", "list_streams"])
def test_what_is_not_done_is_said(made, service, act):
    kit = made()
    service.script = [CREATED]
    session = kit.create_session()
    with pytest.raises(NoMediaService, match=act):
        getattr(kit, act)(session)
    assert Cloudflare.acts[act].startswith("not done")
    assert len(service.asked) == 1


# -- what the service may answer -------------------------------------------------------------------

_UNREADABLE = (Unavailable, "not that of the service")
ANSWERS: dict[str, tuple[Answer, tuple[type[RolecallError], str]]] = {
    "unauthenticated": ((401, {"errors": [{"message": "SECRET"}]}), (Unavailable, "refuses the credential")),
    "forbidden": ((403, b"SECRET"), (Unavailable, "refuses the credential")),
    "no such preset": ((422, {"error": {"message": "SECRET"}}), (Unavailable, "status 422")),
    "broken": ((500, b"SECRET"), (Unavailable, "status 500")),
    "no JSON": ((200, b"SECRET"), _UNREADABLE),
    "a list": ((200, ["SECRET"]), _UNREADABLE),
    "no data": (_done(None), _UNREADABLE),
    "nothing of what is needed": (_done({"id": 7, "token": 7, "other": "SECRET"}), _UNREADABLE),
    "empty": (_done({"id": "", "token": ""}), _UNREADABLE),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("of", ["session", "ticket"])
def test_an_answer_that_is_no_success_is_an_error_without_a_word_of_it(made, service, name, of):
    answer, (error, message) = ANSWERS[name]
    kit = made()
    grant = granted(kit, service)
    service.script = [answer]
    with pytest.raises(error, match=message) as refused:
        kit.ticket(grant) if of == "ticket" else kit.create_session()
    assert "SECRET" not in told_by(refused.value)
    assert TOKEN not in told_by(refused.value)


def test_a_meeting_that_is_gone_gives_no_ticket(made, service):
    kit = made()
    grant = granted(kit, service)
    service.script = [_NOBODY]
    with pytest.raises(NotFoundAtService):
        kit.ticket(grant)


def test_an_id_that_is_none_is_no_session(made, service):
    service.script = [_done({"id": "../../SECRET"})]
    with pytest.raises(Unavailable, match="not that of the service"):
        made().create_session()


def test_a_service_that_does_not_answer_in_time_is_given_up(made, service):
    kit = made(timeout=0.2)
    service.hangs = True
    with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
        kit.create_session()


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"account_id": "me"}, "account_id is missing or malformed"),
        ({"account_id": TOKEN, "api_token": ACCOUNT}, "account_id is missing or malformed"),
        ({"app_id": "a/b"}, "app_id is malformed"),
        ({"app_id": 7}, "app_id is malformed"),
        ({"api_token": "short"}, "api_token"),
        ({"api_token": TOKEN + "\n"}, "api_token"),
        ({"api_token": None}, "api_token"),
        ({"roles": {}}, "roles is"),
        ({"roles": {"publisher": ""}}, "roles has '' for 'publisher'"),
        ({"url": "wss://media.example"}, "expected one like 'https://"),
        ({"api_url": "media.example"}, "api_url is not the URL of a service"),
        ({"url": f"https://ada:{TOKEN}@media.example"}, "url holds a user"),
        ({"api_url": f"https://ada:{TOKEN}@media.example"}, "api_url holds a user"),
        ({"app_id": f"{TOKEN} "}, "app_id is malformed"),
        ({"timeout": 0}, "timeout is 0"),
    ],
)
def test_wrong_settings_stop_start_up_and_no_secret_is_quoted(settings, message):
    given = {"account_id": ACCOUNT, "app_id": APP, "api_token": TOKEN, "roles": PRESETS, **settings}
    with pytest.raises(ConfigurationError, match=message) as refused:
        Cloudflare(**untyped(given))
    assert TOKEN not in held_by(refused.value)


def test_settings_come_from_the_environment(service, clock):
    variables = {
        "ROLECALL_API_KEY": "123456",
        "ROLECALL_API_SECRET": "throwaway-secret-of-the-kit-0123456789",
        "ROLECALL_SESSION_NAMES": "plain",
        "ROLECALL_MEDIA": "cloudflare",
        "ROLECALL_CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        "ROLECALL_CLOUDFLARE_APP_ID": APP,
        "ROLECALL_CLOUDFLARE_API_TOKEN": TOKEN,
        "ROLECALL_CLOUDFLARE_ROLES": json.dumps(PRESETS),
        "ROLECALL_CLOUDFLARE_API_URL": service.url,
        "ROLECALL_CLOUDFLARE_TIMEOUT": "60",
    }
    with Rolecall.from_env(variables, clock=clock, hook_timeout=4 * PATIENCE) as kit:
        assert kit.ticket(granted(kit, service, "subscriber")).token == "opaque"
        assert service.calls[-1][2]["preset_name"] == "viewer"


def test_nothing_shows_the_token_of_the_api():
    backend = Cloudflare(ACCOUNT, APP, TOKEN, PRESETS)
    assert TOKEN not in repr(vars(backend))
