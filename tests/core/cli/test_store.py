"""The commands that look after a store: what they print, what they refuse, and with which exit code."""

from __future__ import annotations

import json
from math import inf

import pytest

from rolecall.errors import StoreUnavailable
from rolecall.sessions import SessionProperties
from rolecall.stores.leases import Slot
from rolecall.stores.upkeep import Finding, Over

from ...conftest import NOW
from .running import flat

ONE, OTHER = "kept://app:hunter2@one", "kept://app:hunter2@other"
PROPERTIES = SessionProperties().as_json()
DAY = 86_400


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch, kept):
    """Looking after a store takes no credentials of a kit."""
    for name in ("ROLECALL_API_KEY", "ROLECALL_API_SECRET"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("ROLECALL_STORE", ONE)


@pytest.fixture
def one(kept):
    """A store with rows of each kind: 1,200 sessions, of which the 300 oldest ended a day after they were created."""
    kept["one"].load("sessions", [(f"1_{n}", PROPERTIES, NOW - (1200 - n) * DAY, None) for n in range(1200)])
    kept["one"].load("ended", [(f"1_{n}", NOW - (1199 - n) * DAY) for n in range(300)])
    kept["one"].load("marks", [("reset 1_1199", NOW, inf)])
    kept["one"].load("used", [("jti", NOW + 5), ("over", NOW - DAY)])
    kept["one"].keep_lease("l", [Slot("key", 1, NOW + 60)])
    return kept["one"]


@pytest.mark.parametrize("command", [["migrate"], ["check"], ["stats"], ["purge"], ["copy", "ROLECALL_STORE", OTHER]])
def test_no_password_shows_when_the_store_does_not_answer(run, one, monkeypatch, command):
    def fail(*_):
        raise StoreUnavailable("the store does not answer")

    for method in ("migrate", "examine", "count", "forget", "dump"):
        monkeypatch.setattr(type(one), method, fail)
    result = run("store", *command)
    assert (result.exit_code, "hunter2" in result.output) == (2, False)
    assert result.stderr.endswith("error: the store does not answer (store_unavailable)\n")
    assert json.loads(run("store", *command, "--json").stdout)["code"] == "store_unavailable"


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", ONE],
        ["check", "--store", "mongodb://app:hunter2@host"],
        ["copy", ONE],
        ["copy", ONE, OTHER, "redis://:hunter2@host"],
        ["copy", ONE, "mongodb://app:hunter2@host"],
        ["copy", "hunter2", ONE],
        ["copy", ONE, OTHER, "--page", "postgresql://app:hunter2@host/db"],
    ],
)
def test_no_password_shows_in_wrong_usage(run, arguments):
    result = run("store", *arguments)
    assert (result.exit_code, "hunter2" in result.output) == (2, False)


def test_without_a_store_there_is_nothing_to_look_after(run, monkeypatch):
    monkeypatch.delenv("ROLECALL_STORE")
    result = run("store", "check")
    assert result.exit_code == 2
    assert "set ROLECALL_STORE, or give --store URL" in result.stderr


def test_the_url_may_be_in_a_file(run, one, monkeypatch, tmp_path):
    monkeypatch.delenv("ROLECALL_STORE")
    (tmp_path / "url").write_text(ONE + "\n")
    monkeypatch.setenv("ROLECALL_STORE_FILE", str(tmp_path / "url"))
    assert json.loads(run("store", "stats", "--json").stdout)["rows"]["sessions"] == 1200


def test_a_file_that_is_misspelt_is_not_made(run, tmp_path):
    for command in (["check"], ["stats"], ["purge"]):
        result = run("store", *command, "--store", f"sqlite:///{tmp_path}/misspelt.db")
        assert result.exit_code == 2
        assert "misspelt.db' does not exist" in result.stderr
    assert run("store", "copy", f"sqlite:///{tmp_path}/misspelt.db", ONE).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_looked_after_says_so(run, monkeypatch):
    monkeypatch.setattr("rolecall.stores.memory.MemoryStore.__getattribute__", _without_forget)
    result = run("store", "check")
    assert result.exit_code == 2
    assert "cannot be looked after: it has no method forget" in result.stderr


def _without_forget(store, name):
    if name == "forget":
        raise AttributeError(name)
    return object.__getattribute__(store, name)


# migrate, check, stats


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        ((0, 0), "has no schema"),
        ((3, 3), "version 3, as before"),
        ((3, 4), "from version 3 to version 4"),
        ((0, 4), "from version none to version 4"),
    ],
)
def test_migrate_tells_the_versions(run, one, monkeypatch, versions, text):
    monkeypatch.setattr(type(one), "migrate", lambda _: versions)
    assert text in run("store", "migrate").stdout
    assert tuple(json.loads(run("store", "migrate", "--json").stdout).values()) == versions


def test_check_has_the_worst_first_with_what_to_do_and_fails_for_an_error_alone(run, one, monkeypatch):
    found = [Finding("info", "it is there"), Finding("warning", "it is slow", "buy another one")]
    monkeypatch.setattr(type(one), "examine", lambda _: found)
    result = run("store", "check")
    assert result.exit_code == 0
    assert flat(result.stdout) == "warning it is slow buy another one info it is there 0 errors, 1 warning"
    found.append(Finding("error", "it is lost", "restore a backup"))
    result = run("store", "check", "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["ok"], answer["findings"][0]["remedy"]) == (1, False, "restore a backup")


def test_stats_counts_and_checksums_show_whether_two_stores_are_the_same(run, one):
    assert flat(run("store", "stats").stdout) == (
        "ended sessions 300 marks 1 sessions 1,200 single-use ids 2 places of leases 1 issued tokens 0 documents 0"
    )
    run("store", "copy", ONE, OTHER)
    one.forget(Over(NOW - 3600))
    answers = [
        json.loads(run("store", "stats", "--checksums", "--json", "--store", url).stdout) for url in (ONE, OTHER)
    ]
    assert answers[0] == answers[1]
    assert len(set(answers[0]["checksums"].values())) == 6


# purge


def test_purge_forgets_what_is_over_and_no_session_unless_told(run, one):
    assert run("store", "purge").stdout == "1 row removed\n"
    assert one.count() == {
        "ended": 300,
        "marks": 1,
        "sessions": 1200,
        "used": 1,
        "leases": 1,
        "tokens": 0,
        "documents": 0,
    }


def test_purge_forgets_records_and_keeps_their_ends(run, one):
    result = run("store", "purge", "--ended-before", "1000d", "--yes", "--json")
    assert json.loads(result.stdout) == {"removed": 200}
    assert (one.count()["sessions"], one.count()["ended"]) == (1001, 300)


def test_purge_keeps_what_the_environment_says(run, one, monkeypatch):
    monkeypatch.setenv("ROLECALL_SESSION_RETENTION", "1000d")
    monkeypatch.setenv("ROLECALL_MAX_SESSION_AGE", "1100d")
    assert run("store", "purge").exit_code == 0
    assert (one.count()["sessions"], one.count()["ended"]) == (1001, 202)
    monkeypatch.setenv("ROLECALL_SESSION_RETENTION", "90")
    assert "is not a duration with its unit" in run("store", "purge").stderr


def test_purge_asks_before_it_forgets_records_that_the_environment_keeps(run, one, monkeypatch):
    for answer in ("", "n\n"):
        result = run("store", "purge", "--ended-before", "1000d", input=answer)
        assert (result.exit_code, one.count()["sessions"]) == (1, 1200)
        assert "sessions that ended before 20" in result.stderr
    monkeypatch.setenv("ROLECALL_SESSION_RETENTION", "1000d")
    assert run("store", "purge", "--ended-before", "999d").exit_code == 1
    assert run("store", "purge", "--ended-before", "1000d").exit_code == 0
    assert run("store", "purge", "--ended-before", "999d", input="y\n").exit_code == 0
    assert one.count()["sessions"] == 1000


@pytest.mark.parametrize("option", ["--ended-before", "--max-age"])
@pytest.mark.parametrize("age", ["90", "1h30", ""])
def test_purge_refuses_an_age_without_its_unit(run, one, option, age):
    result = run("store", "purge", option, age, "--yes")
    assert (result.exit_code, one.count()["used"]) == (2, 2)
    assert "write for example 90d, 12h or 90s" in result.stderr


def test_purge_asks_before_it_forgets_what_no_kit_is_known_to_refuse(run, one, monkeypatch):
    for answer in ("", "n\n"):
        result = run("store", "purge", "--max-age", "1000d", input=answer)
        assert (result.exit_code, one.count()["sessions"]) == (1, 1200)
        assert "nothing was done" in result.stderr
    assert run("store", "purge", "--max-age", "1100d", input="y\n").exit_code == 0
    monkeypatch.setenv("ROLECALL_MAX_SESSION_AGE", "1000d")
    assert run("store", "purge", "--max-age", "900d").exit_code == 1
    assert run("store", "purge", "--max-age", "1000d").exit_code == 0
    assert run("store", "purge", "--max-age", "900d", "--yes").exit_code == 0
    assert (one.count()["sessions"], one.count()["ended"]) == (901, 2)


# copy


def test_copy_says_what_it_did_of_each_kind(run, one, kept):
    result = run("store", "copy", "ROLECALL_STORE", OTHER)
    assert result.exit_code == 0, result.output
    row = next(line.split() for line in result.stdout.splitlines() if line.startswith("sessions"))
    assert row[1:6] == ["1,200", "1,200", "0", "0", "1,200"]
    assert row[6] == row[7]
    assert "complete, if nobody has written to the source since the copy began" in result.stdout
    assert kept["other"].has_ended("1_3")


def test_copy_fails_where_rows_differ_and_names_the_sessions(run, one, kept):
    kept["other"].load("ended", [("1_7", NOW)])
    result = run("store", "copy", ONE, OTHER, "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["ok"], answer["differing"]) == (1, False, ["1_7"])
    assert answer["kinds"]["ended"]["differing"] == 1
    assert "1_7" in run("store", "copy", ONE, OTHER).stdout


def test_copy_fails_where_the_source_has_more_by_now(run, one, monkeypatch):
    dump = type(one).dump

    def dump_while_sessions_are_created(store, kind, after, limit):
        if kind == "used":
            store.load("sessions", [("1_late", PROPERTIES, NOW, None)])
        return dump(store, kind, after, limit)

    monkeypatch.setattr(type(one), "dump", dump_while_sessions_are_created)
    result = run("store", "copy", ONE, OTHER)
    assert result.exit_code == 1
    assert "the source has 1 more than the target" in result.stdout
    monkeypatch.undo()


def test_a_store_is_not_copied_to_itself_whatever_its_url(run, one, kept, tmp_path, monkeypatch):
    kept["also one"] = one
    monkeypatch.chdir(tmp_path)
    for source, target in (
        (ONE, ONE),
        (ONE, "kept://other:login@also one"),
        ("sqlite:///a", f"sqlite:///{tmp_path}/a"),
    ):
        result = run("store", "copy", source, target)
        assert result.exit_code == 2
        assert "are the same store" in result.stderr


@pytest.mark.parametrize("arguments", [["memory://", OTHER], [ONE, "memory://"]])
def test_a_store_in_memory_is_not_copied(run, one, arguments):
    result = run("store", "copy", *arguments)
    assert result.exit_code == 2
    assert "forgotten with it" in result.stderr


def test_an_interrupted_copy_goes_on_from_its_file_which_only_its_owner_can_read(run, one, kept, monkeypatch, tmp_path):
    load, calls, file = type(one).load, [], tmp_path / "copy.json"

    def load_twice(store, kind, rows):
        calls.append(kind)
        if len(calls) == 4:
            raise StoreUnavailable("the store does not answer")
        return load(store, kind, rows)

    monkeypatch.setattr(type(one), "load", load_twice)
    assert run("store", "copy", ONE, OTHER, "--resume", str(file)).exit_code == 2
    assert file.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in file.read_text()
    assert "belongs to a copy of other stores" in run("store", "copy", OTHER, ONE, "--resume", str(file)).stderr
    result = run("store", "copy", ONE, OTHER, "--resume", str(file))
    assert (result.exit_code, calls[4:]) == (0, ["sessions", "sessions", "used", "leases"])
    assert "continuing after 801 rows" in result.stderr
    assert not file.exists()


def test_a_copy_does_not_go_on_into_a_store_that_took_the_place_of_its_own(run, one, kept, monkeypatch, tmp_path):
    file, load = tmp_path / "copy.json", type(one).load

    def load_ends(store, kind, rows):
        if kind != "ended":
            raise StoreUnavailable("the store does not answer")
        return load(store, kind, rows)

    with monkeypatch.context() as patched:
        patched.setattr(type(one), "load", load_ends)
        assert run("store", "copy", ONE, OTHER, "--resume", str(file)).exit_code == 2
    kept["other"] = type(one)()
    for kind in ("ended", "marks", "sessions"):  # as many rows, and others
        kept["other"].load(kind, [(f"1_other{row[0]}", *row[1:]) for row in one.dump(kind, None, 2000)[0]])
    result = run("store", "copy", ONE, OTHER, "--resume", str(file))
    assert (result.exit_code, file.exists()) == (2, True)
    assert "TO does not know of the copy" in result.stderr


def test_what_a_copy_marks_in_its_target_is_gone_when_it_is_complete(run, one, kept, tmp_path):
    assert run("store", "copy", ONE, OTHER, "--resume", str(tmp_path / "copy.json")).exit_code == 0
    assert kept["other"].count() == {**kept["one"].count(), "used": 1}


def test_a_copy_and_a_purge_say_now_and_then_how_far_they_are(run, one, monkeypatch):
    monkeypatch.setattr("rolecall.cli.stores._TOLD_EVERY", -1)
    assert "801 of about 1,504 rows copied so far\n" in run("store", "copy", ONE, OTHER).stderr
    assert run("store", "purge").stderr == "1 row removed so far\n"


@pytest.mark.parametrize("has_file", [False, True])
def test_ctrl_c_says_how_a_copy_continues(run, one, monkeypatch, tmp_path, has_file):
    load = type(one).load

    def load_ends(store, kind, rows):
        if kind != "ended":
            raise KeyboardInterrupt
        return load(store, kind, rows)

    monkeypatch.setattr(type(one), "load", load_ends)
    result = run("store", "copy", ONE, OTHER, *(("--resume", str(tmp_path / "copy.json")) if has_file else ()))
    assert result.exit_code == 130
    how = "continues there, by the file of --resume" if has_file else "begins anew, which does no harm"
    assert f"interrupted after 300 rows; the same command {how}" in result.stderr


def stopped_copy(run, monkeypatch, one, source, target, *resume):
    """A copy with --resume that ends at its first page, before there is a file."""
    with monkeypatch.context() as patched:
        patched.setattr(type(one), "dump", lambda *_: (_ for _ in ()).throw(StoreUnavailable("no answer")))
        assert run("store", "copy", source, target, *resume).exit_code == 2


@pytest.mark.parametrize("has_file", [False, True])
def test_a_complete_copy_leaves_no_mark_of_one_that_was_stopped(run, one, kept, monkeypatch, tmp_path, has_file):
    resume = ("--resume", str(tmp_path / "copy.json"))
    stopped_copy(run, monkeypatch, one, ONE, OTHER, *resume)
    assert kept["other"].count()["leases"] > 0
    assert run("store", "copy", ONE, OTHER, *(resume if has_file else ())).exit_code == 0
    assert list(kept["other"].dump("leases", None, 10)[0]) == [("l", "key", NOW + 60)]


def test_marks_of_copies_are_neither_copied_nor_counted(run, one, kept, monkeypatch, tmp_path):
    run("store", "copy", ONE, OTHER)
    for name in ("first", "second"):
        stopped_copy(run, monkeypatch, one, ONE, OTHER, "--resume", str(tmp_path / name))
    counts = [run("store", "stats", "--checksums", "--store", url).stdout.splitlines()[4:] for url in (ONE, OTHER)]
    assert counts[0] == counts[1]
    result = run("store", "copy", OTHER, "kept://app@next", "--json")
    leases = json.loads(result.stdout)["kinds"]["leases"]
    assert (leases["source"], leases["sent"], leases["target"]) == (1, 1, 1)
    assert kept["next"].count()["leases"] == 1


def test_a_file_that_is_no_progress_is_left_alone(run, one, tmp_path):
    (tmp_path / "mine.json").write_text('{"mine": 1}')
    result = run("store", "copy", ONE, OTHER, "--resume", str(tmp_path / "mine.json"))
    assert result.exit_code == 2
    assert (tmp_path / "mine.json").read_text() == '{"mine": 1}'
