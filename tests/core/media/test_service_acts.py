"""Acts at hosted services: what is asked of their APIs, and what becomes of the answers. The services are stand-ins."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rolecall import Rolecall
from rolecall.errors import NoMediaService, NotFoundAtService, RolecallError, Unavailable

from ...tracebacks import held_by, told_by
from ...waiting import PATIENCE, free_port
from . import daily_acts, hundredms_acts, stream_acts, twilio_acts
from .services import SERVICES
from .stand_in import StandIn

pytestmark = pytest.mark.each_choice

#: By service and name: an act, the answers of the service, what was asked of it, and what the act returns.
TABLES = {"100ms": hundredms_acts, "daily": daily_acts, "stream": stream_acts, "twilio": twilio_acts}
ROWS = {(service, name): row for service, table in TABLES.items() for name, row in table.ROWS.items()}
#: By service: the headers of each call.
HEADERS = {service: table.HEADERS for service, table in TABLES.items()}
NAMES = list(HEADERS)


@pytest.fixture
def service() -> Iterator[StandIn]:
    service = StandIn()
    yield service
    service.stop()


@pytest.fixture
def made(make_kit, service) -> Callable[..., Rolecall]:
    """Makes a kit with one of the services, which has all the time that a busy machine takes."""

    def make(name: str, **settings: Any) -> Rolecall:
        backend = SERVICES[name].backend(**{"api_url": service.url, **settings})
        kit: Rolecall = make_kit(media=backend, session_names="plain", hook_timeout=3 * PATIENCE)
        return kit

    return make


def placed(value: Any, room: str) -> Any:
    """``value`` with the name of the room in place of ``ROOM``."""
    if isinstance(value, str):
        return value.replace("ROOM", room)
    if isinstance(value, dict):
        return {name: placed(one, room) for name, one in value.items()}
    return [placed(one, room) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("name", "what"), ROWS)
def test_an_act_asks_the_service_and_nothing_more(made, service, name, what):
    row = ROWS[name, what]
    kit = made(name)
    session = kit.create_session()
    [backend] = kit._state.media._by_name.values()
    service.script = list(row.script)
    if isinstance(row.result, tuple):
        error, message = row.result
        with pytest.raises(error, match=message):
            row.act(kit, session.session_id)
    else:
        assert row.act(kit, session.session_id) == row.result
    room = backend[0].room(session.session_id)
    assert service.calls == [(method, placed(path, room), placed(body, room)) for method, path, body in row.calls]
    for asked in service.asked:
        assert asked.headers.items() >= HEADERS[name].items()


# -- what a service may answer ---------------------------------------------------------------------

_REFUSED = (Unavailable, "refuses the credential")
ANSWERS: dict[str, tuple[int, object, tuple[type[RolecallError], str]]] = {
    "not there": (404, {"error": "not-found", "info": "SECRET"}, (NotFoundAtService, "no such connection")),
    "unauthenticated": (401, b"invalid token: SECRET", _REFUSED),
    "forbidden": (403, b"SECRET", _REFUSED),
    "too often": (429, {"error": "SECRET"}, (Unavailable, "status 429")),
    "broken": (500, b"SECRET", (Unavailable, "status 500")),
    "a redirect": (302, b"SECRET", (Unavailable, "status 302")),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("name", NAMES)
def test_an_answer_that_is_no_success_is_an_error_without_a_word_of_it(made, service, name, answer):
    kit = made(name)
    status, said, (error, message) = ANSWERS[answer]
    service.script = [(status, said)]
    with pytest.raises(error, match=message) as refused:
        kit.force_disconnect(kit.create_session(), "PA_1")
    assert "SECRET" not in told_by(refused.value)
    assert SERVICES[name].secret not in told_by(refused.value)


@pytest.mark.parametrize("said", [b"SECRET", [], {}, {"data": {}}, {"data": [{}]}], ids=repr)
@pytest.mark.parametrize("name", NAMES)
def test_a_list_that_is_none_is_an_error(made, service, name, said):
    kit = made(name)
    service.script = [(200, said)]
    with pytest.raises(Unavailable, match="not that of the service"):
        kit.list_connections(kit.create_session())


@pytest.mark.parametrize("name", NAMES)
def test_a_service_that_does_not_answer_in_time_is_given_up(made, service, name):
    kit = made(name, timeout=0.2)
    service.hangs = True
    with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
        kit.force_disconnect(kit.create_session(), "PA_1")


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_httpx_and_has_none_holds_no_credential(made, service, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    kit = made(name)
    with pytest.raises(NoMediaService, match="need the package httpx") as refused:
        kit.force_disconnect(kit.create_session(), "PA_1")
    held = held_by(refused.value)
    assert not any(shown in held for shown in ("Authorization", "Bearer ", "Basic ", SERVICES[name].secret))
    assert service.calls == []


@pytest.mark.parametrize("name", NAMES)
def test_a_service_that_is_not_there_is_named_as_such(made, name):
    kit = made(name, api_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="no connection could be made"):
        kit.force_disconnect(kit.create_session(), "PA_1")


@pytest.mark.parametrize("name", NAMES)
def test_a_session_ends_though_the_service_is_out_of_order(made, service, name, caplog):
    kit = made(name)
    session = kit.create_session()
    service.script = [(500, b"SECRET")]
    with caplog.at_level(logging.WARNING, "rolecall"):
        assert not kit.exclude(session, "ada").disconnected
        kit.end_session(session)
    assert kit.get_session(session).ended_at is not None
    assert len(caplog.records) == 2
    assert "SECRET" not in caplog.text
    assert SERVICES[name].secret not in caplog.text


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_done_is_said_in_the_table_of_acts_and_refused(made, service, name):
    kit = made(name)
    session = kit.create_session()
    calls = {
        "signal": lambda: kit.signal(session),
        "mute_stream": lambda: kit.mute_stream(session, "S"),
        "mute_all": lambda: kit.mute_all(session),
        "list_streams": lambda: kit.list_streams(session),
    }
    [backend] = kit._state.media._by_name.values()
    for act, call in calls.items():
        said = backend[0].acts.get(act, "")
        if said.startswith("not done") and "accept_emulated" not in said:
            with pytest.raises(NoMediaService):
                call()
    assert service.calls == []
