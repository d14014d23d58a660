"""Audit trails: a line of JSON for each event, whatever becomes of the file."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from rolecall import Rolecall, events, hookimpl
from rolecall.errors import PluginError, PolicyFault
from rolecall.observing import AuditFile, AuditLog, StrictAuditFile

from ...forking import forked, in_child, needs_fork

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
#: A file on a disk that is always full.
FULL = "/dev/full"


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "audit.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Told:
    name = "told"

    def __init__(self) -> None:
        self.events: list[events.Event] = []

    @hookimpl
    def rolecall_on_event(self, event: events.Event) -> None:
        self.events.append(event)


def test_each_event_is_a_line(make_kit, path):
    told = Told()
    kit: Rolecall = make_kit(plugins=[AuditFile(path), told])
    session = kit.create_session()
    session.generate_token("moderator", data="line one\nline two")
    session.end()
    assert lines(path) == [event.as_dict() for event in told.events]
    assert [line["event"] for line in lines(path)] == ["session_created", "token_issued", "session_ended"]


def test_nobody_else_reads_it(make_kit, path):
    make_kit(plugins=[AuditFile(path)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_goes_on_in_a_new_file_after_rotation(make_kit, path):
    kit = make_kit(plugins=[AuditFile(path)])
    kit.create_session()
    path.rename(path.with_suffix(".1"))
    kit.create_session()
    assert (len(lines(path.with_suffix(".1"))), len(lines(path))) == (1, 1)


@needs_fork
def test_lines_of_several_workers_do_not_mix(path):
    audit = AuditFile(path)

    def write() -> None:
        for number in range(200):
            audit.rolecall_on_event(events.SessionCreated(at=number, session_id=str(os.getpid()) * 200))

    children = [forked(write) for _ in range(4)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    written = lines(path)
    assert len(written) == 800
    for session_id in {line["session_id"] for line in written}:
        assert [line["time"] for line in written if line["session_id"] == session_id] == list(range(200))


@needs_fork
def test_a_line_that_was_cut_off_spoils_no_other(path):
    event = events.SessionCreated(at=1, session_id="1_a")

    def write() -> str:
        audit = AuditFile(path)
        audit.rolecall_on_event(event)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, most))
        with pytest.raises(PluginError) as caught:
            audit.rolecall_on_event(event)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        audit.rolecall_on_event(event)
        return str(caught.value)

    assert "only a part of a line" in in_child(write)
    first, torn, last = path.read_text().splitlines()
    assert json.loads(first) == json.loads(last) == event.as_dict()
    assert torn == first[:10]


def test_a_full_disk_is_said_for_each_line_and_grants_all_the_same(make_kit, caplog):
    kit = make_kit(plugins=[AuditFile(FULL)])
    kit.create_session()
    kit.create_session()
    said = [record for record in caplog.records if "does not take a line: No space left" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.ERROR] * 2


@pytest.mark.parametrize("made", [AuditFile, StrictAuditFile])
def test_a_file_that_cannot_be_written_stops_start_up(make_kit, tmp_path, made):
    with pytest.raises(PluginError, match="No such file or directory"):
        make_kit(plugins=[made(tmp_path / "missing" / "audit.jsonl")])


def test_a_strict_file_has_a_line_before_each_grant_and_the_event_after_it(make_kit, path):
    kit = make_kit(plugins=[StrictAuditFile(path)])
    session = kit.create_session()
    session.generate_token("moderator")
    session_granted, created, token_granted, issued = lines(path)
    assert [session_granted["event"], created["event"]] == ["session_granted", "session_created"]
    assert session_granted["call_id"] == created["call_id"]
    assert [token_granted["event"], issued["event"]] == ["token_granted", "token_issued"]
    assert (token_granted["role"], token_granted["session_id"]) == ("moderator", session.session_id)


def test_a_strict_file_grants_nothing_on_a_full_disk_and_still_takes_back(make_kit, path):
    store = f"sqlite:///{path.parent}/sessions.db"
    secret = "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
    session = make_kit(store=store, api_secret=secret).create_session()
    kit = make_kit(store=store, api_secret=secret, plugins=[StrictAuditFile(FULL)])
    for grant in (kit.create_session, lambda: kit.generate_token(session), lambda: kit.signal(session, "x", "y")):
        with pytest.raises(PolicyFault, match="No space left"):
            grant()
    kit.end_session(session)
    assert kit.get_session(session).ended_at is not None


def test_nothing_is_written_for_an_explanation(make_kit, path):
    kit = make_kit(plugins=[StrictAuditFile(path)])
    session = kit.create_session()
    before = path.read_text()
    assert kit.explain_token(session).allowed
    assert path.read_text() == before


def test_a_log_has_the_same_lines(make_kit, path, caplog):
    caplog.set_level(logging.INFO)
    make_kit(plugins=[AuditLog(), AuditFile(path, name="file")]).create_session()
    assert [record.getMessage() for record in caplog.records if record.name == "rolecall.audit"] == (
        path.read_text().splitlines()
    )
