"""``store="django"``: the store's contract, requests that are rolled back, migrations, and databases of test runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.management import call_command
from django.db import connections
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from rolecall import Rolecall
from rolecall.errors import ConfigurationError, RevokedToken, StoreUnavailable
from rolecall.stores.memory import MemoryStore
from rolecall.stores.sql_url import SQLURL
from rolecall.testing.store_parts import (
    DocumentsContract,
    LeasesContract,
    LedgerContract,
    ListingContract,
    MarksContract,
    UpkeepContract,
)
from rolecall.testing.stores import StoreContract
from rolecall_django import get_kit, require_token
from rolecall_django.kits import make_kit
from rolecall_django.management.commands.rolecall import Command
from rolecall_django.stores import StoreNotReady, migrate, open_store, path_beside, place_in, postgresql_url

from ..conftest import needed
from ..django_settings import configure
from ..postgres_servers import PROGRAMS, PostgresProcess
from ..waiting import free_port

configure()

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
ROLECALL = {"api_key": KEY, "api_secret": SECRET, "entry_points": False}
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

_numbers = count(1)


@contextmanager
def database(engine: str, **settings: Any) -> Iterator[str]:
    """A further database of Django's settings; its alias."""
    alias = f"further{next(_numbers)}"
    given: Any = {"default": connections.settings["default"], alias: {"ENGINE": engine, **settings}}
    connections.settings[alias] = connections.configure_settings(given)[alias]
    try:
        yield alias
    finally:
        with suppress(ImproperlyConfigured, ImportError):  # of an engine that is not there
            connections[alias].close()
            del connections[alias]
        del connections.settings[alias]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresProcess]:
    needed(PROGRAMS, "the server of PostgreSQL (initdb and postgres)")
    server = PostgresProcess()
    try:
        yield server.start()
    finally:
        server.remove()


def at(server: PostgresProcess, name: str, **settings: Any) -> Any:
    options = {"HOST": "127.0.0.1", "PORT": server.port, "USER": "app", "NAME": name, **settings}
    return database("django.db.backends.postgresql", **options)


@pytest.fixture
def sqlite(tmp_path) -> Iterator[str]:
    """The alias of an SQLite database."""
    with database("django.db.backends.sqlite3", NAME=tmp_path / "db.sqlite3", ATOMIC_REQUESTS=True) as alias:
        yield alias


@pytest.fixture
def postgresql(server) -> Iterator[str]:
    """The alias of a PostgreSQL database."""
    with at(server, server.new_database(), ATOMIC_REQUESTS=True) as alias:
        yield alias


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def alias(request) -> str:
    """The alias of a database of each kind."""
    return request.getfixturevalue(request.param)


# -- the contract ----------------------------------------------------------------------------------


class Contract(
    StoreContract, LeasesContract, MarksContract, LedgerContract, DocumentsContract, ListingContract, UpkeepContract
):
    #: Of the store.
    options = ""

    @pytest.fixture
    def store(self, ready):
        return open_store(ready, self.options)

    @pytest.fixture
    def other_store(self, ready):
        with closing(open_store(ready, self.options)) as other:
            yield other


@pytest.mark.exhaustive
class TestInSQLite(Contract):
    @pytest.fixture
    def ready(self, sqlite):
        migrate(sqlite)
        return sqlite

    @pytest.fixture
    def broken_store(self, tmp_path):
        with database("django.db.backends.sqlite3", NAME=tmp_path / "broken.sqlite3") as broken:
            migrate(broken)
            with closing(open_store(broken)) as store:
                path_beside(connections[broken]).unlink()
                yield store


@pytest.fixture(scope="module")
def migrated(server) -> Iterator[str]:
    """One database for all tests of the contract, because a new one takes 0.3 s."""
    with at(server, server.new_database()) as alias:
        migrate(alias)
        yield alias


@pytest.mark.server
@FORKS
class TestInPostgreSQL(Contract):
    options = "timeout=10&max_staleness=10"

    @pytest.fixture
    def ready(self, migrated, server):
        tables = ("sessions", "ended_sessions", "used_once", "leases", "marks", "tokens", "documents")
        with server.connect(connections[migrated].settings_dict["NAME"]) as raw:
            # One by one: with a lock on several tables it could wait for a reader that waits for it.
            for table in tables:
                raw.execute(f"TRUNCATE rolecall_{table}".encode())
        return migrated

    @pytest.fixture
    def broken_store(self, server):
        with (
            at(SimpleNamespace(port=free_port()), "app") as broken,  # type: ignore[arg-type]
            closing(open_store(broken)) as store,
        ):
            yield store


# -- requests that are rolled back -----------------------------------------------------------------


@pytest.fixture
def kit(alias) -> Iterator[Rolecall]:
    migrate(alias)
    patience = "?timeout=10" if connections[alias].vendor == "postgresql" else ""
    with override_settings(ROLECALL={**ROLECALL, "store": f"django:{alias}{patience}", "ledger": True}):
        yield get_kit()


@pytest.fixture(params=[False, True], ids=["wsgi", "asgi"])
def ask(request) -> Iterator[Callable[..., Any]]:
    """Asks a site with one view, under WSGI and under ASGI."""
    with ExitStack() as stack:

        def ask(view: Callable[..., HttpResponse], token: str) -> HttpResponse:
            module = ModuleType("urls")
            vars(module)["urlpatterns"] = [path("<session_id>/", view)]
            stack.enter_context(override_settings(ROOT_URLCONF=module))
            client: Any = AsyncClient if request.param else Client
            get = client(raise_request_exception=False).get
            room = get_kit().verify_token(token).session_id
            return (async_to_sync(get) if request.param else get)(
                f"/{room}/", headers={"Authorization": f"Bearer {token}"}
            )

        yield ask


def with_notes(alias: str) -> Callable[[str], list]:
    """Runs statements in a database of the app's, which has a table of notes."""

    def run(statement: str) -> list:
        with connections[alias].cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    run("CREATE TABLE notes (note text)")
    return run


@pytest.mark.exhaustive
@pytest.mark.parametrize("failure", [ZeroDivisionError, PermissionDenied])
def test_a_request_that_is_rolled_back_loses_no_revocation(kit, alias, ask, failure):
    run = with_notes(alias)
    session = kit.create_session()
    token = session.generate_token()

    @require_token
    def view(request, session_id):
        run("INSERT INTO notes VALUES ('of this request')")  # by which SQLite lets nobody else write to this file
        kit.revoke_token(token)
        run("INSERT INTO notes VALUES ('another one')")
        raise failure

    assert ask(view, token).status_code == (403 if failure is PermissionDenied else 500)
    assert run("SELECT * FROM notes") == []
    with pytest.raises(RevokedToken):
        kit.verify_token(token)
    with make_kit() as other, pytest.raises(RevokedToken):  # which another process would have
        other.verify_token(token)


def test_what_the_store_keeps_is_seen_by_others_before_the_request_ends(sqlite, kit_in_sqlite, ask):
    token = kit_in_sqlite.create_session().generate_token()
    seen = []

    @require_token
    def view(request, session_id):
        with make_kit() as other:
            kit_in_sqlite.end_session(session_id)
            seen.append(other.get_session(session_id).ended_at is not None)
        raise ZeroDivisionError

    ask(view, token)
    assert seen == [True]


@pytest.fixture
def kit_in_sqlite(sqlite) -> Iterator[Rolecall]:
    migrate(sqlite)
    with override_settings(ROLECALL={**ROLECALL, "store": f"django:{sqlite}"}):
        yield get_kit()


# -- migrations ------------------------------------------------------------------------------------


def test_migrate_makes_the_tables(sqlite, capsys):
    with override_settings(ROLECALL={**ROLECALL, "store": f"django:{sqlite}"}):
        with pytest.raises(StoreNotReady, match=r"run manage\.py migrate"):
            get_kit()
        assert [message.id for message in run_checks(tags=["security"]) if "rolecall" in str(message.id)] == [
            "rolecall.W003"
        ]
        call_command("migrate", database=sqlite, verbosity=1)
        assert "Rolecall's tables: from version 0 to" in capsys.readouterr().out
        call_command("migrate", database=sqlite, verbosity=1)
        assert "Rolecall" not in capsys.readouterr().out
        assert get_kit().create_session()
    assert path_beside(connections[sqlite]).name == "db.rolecall.sqlite3"


def test_migrate_makes_none_where_the_store_is_elsewhere(sqlite, tmp_path):
    with override_settings(ROLECALL=ROLECALL):
        call_command("migrate", database=sqlite, verbosity=0)
    assert not (tmp_path / "db.rolecall.sqlite3").exists()


def test_the_admins_models_need_no_further_migration_and_no_table(capsys):
    call_command("makemigrations", "rolecall", check=True, dry_run=True)
    call_command("dumpdata", "rolecall")
    assert capsys.readouterr().out.split("\n")[:2] == ["No changes detected in app 'rolecall'", "[]"]


@pytest.mark.server
def test_nothing_is_migrated_but_by_migrate(postgresql):
    with closing(open_store(postgresql)) as store:
        with pytest.raises(StoreUnavailable, match=r"do not exist: run manage\.py migrate"):
            store.get_session("1_abc")
        with connections[postgresql].cursor() as cursor:
            cursor.execute("SELECT to_regclass('rolecall_schema')")
            assert cursor.fetchone() == (None,)
        assert migrate(postgresql)[0] == 0  # type: ignore[index]
        assert store.get_session("1_abc") is None
        with connections[postgresql].cursor() as cursor:
            cursor.execute("DELETE FROM rolecall_schema WHERE version = (SELECT max(version) FROM rolecall_schema)")
    with closing(open_store(postgresql)) as store, pytest.raises(StoreUnavailable, match="are of version"):
        store.get_session("1_abc")


# -- names and settings ------------------------------------------------------------------------------


def test_only_its_own_names_are_djangos():
    assert place_in("django") == ("default", "")
    assert place_in("django:default?timeout=2") == ("default", "timeout=2")
    assert [place_in(other) for other in ("sqlite:///django", "djangos", "memory://", None, MemoryStore())] == [
        None
    ] * 5
    for wrong in ("django:", "django://default", "django:school"):
        with pytest.raises(ConfigurationError, match="DATABASES has 'default'"):
            place_in(wrong)


def test_options_of_a_store_in_sqlite_are_refused(sqlite):
    migrate(sqlite)
    with pytest.raises(ConfigurationError, match="options 'timeout=2'; one in an SQLite database takes none"):
        open_store(sqlite, "timeout=2")


@pytest.mark.server
def test_options_of_a_store_in_postgresql_are_its_own(postgresql):
    migrate(postgresql)
    with pytest.raises(ConfigurationError, match="timuot"):
        open_store(postgresql, "timuot=2")
    with closing(open_store(postgresql, "timeout=2")) as store:
        assert store.get_session("1_abc") is None


def test_the_environment_may_name_it(sqlite, monkeypatch):
    migrate(sqlite)
    monkeypatch.setenv("ROLECALL_STORE", f"django:{sqlite}")
    with override_settings(ROLECALL=ROLECALL):
        assert repr(get_kit().engine.state.store) == "<SQLiteStore 'db.rolecall.sqlite3'>"


def test_a_database_in_memory_has_a_store_in_memory():
    with override_settings(ROLECALL={**ROLECALL, "store": "django"}):
        assert isinstance(get_kit().engine.state.store, MemoryStore)
        assert migrate("default") is None
        deployed = run_checks(tags=["security"], include_deployment_checks=True)
        assert "rolecall.W012" in [message.id for message in deployed]


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("engine", "settings", "problem"),
    [
        ("django.db.backends.dummy", {}, "is django.db.backends.dummy, which cannot be a store"),
        ("django.db.backends.sqlite3", {"NAME": "file:db?mode=ro"}, "NAME is a URI"),
        ("django.db.backends.oracle", {}, "cannot be used|is Oracle, which cannot be a store"),
        ("no.such.engine", {}, "cannot be used"),
        ("django.db.backends.postgresql", {"NAME": ""}, "Please supply the NAME"),
    ],
)
def test_a_database_that_cannot_have_a_store_is_refused(engine, settings, problem):
    with database(engine, **settings) as alias, pytest.raises(ConfigurationError, match=problem):
        open_store(alias)


def test_the_app_must_be_installed(sqlite):
    apps = ["django.contrib.auth", "django.contrib.contenttypes"]
    with override_settings(INSTALLED_APPS=apps), pytest.raises(ConfigurationError, match='"rolecall_django" into INST'):
        open_store(sqlite)


def test_libpq_gets_djangos_parameters_and_no_others():
    options = {
        "sslmode": "require",
        "isolation_level": 3,
        "pool": True,
        "connect_timeout": 30,
        "options": "-c search_path=school",
        "assume_role": "the school",
    }
    settings = {"NAME": "a b", "USER": "app", "PASSWORD": "p@ss +&%", "HOST": "::1", "PORT": 5433, "OPTIONS": options}
    with database("django.db.backends.postgresql", **settings) as alias:
        parameters = SQLURL.parse(postgresql_url(connections[alias])).parameters
    assert parameters == {
        "dbname": "a b",
        "user": "app",
        "password": "p@ss +&%",
        "host": "::1",
        "port": "5433",
        "sslmode": "require",
        "options": r"-c search_path=school -c role=the\ school",
    }


@pytest.mark.server
def test_it_has_the_role_and_the_schema_of_djangos_connections(server):
    name = server.new_database()
    with server.connect(name) as raw:
        raw.execute("CREATE ROLE school; CREATE SCHEMA school AUTHORIZATION school")
    with at(server, name, OPTIONS={"assume_role": "school", "options": "-c search_path=school"}) as alias:
        migrate(alias)
        with server.connect(name) as raw:
            found = raw.execute("SELECT schemaname, tableowner FROM pg_tables WHERE tablename = 'rolecall_sessions'")
            assert found.fetchone() == ("school", "school")


# -- test runs ---------------------------------------------------------------------------------------


def test_the_database_of_a_test_run_is_refused(sqlite, tmp_path, monkeypatch):
    monkeypatch.setitem(vars(sys.modules["rolecall_django.stores"])["_at_start"], sqlite, "db.sqlite3")
    with pytest.raises(StoreNotReady, match="give tests a store in memory"):
        open_store(sqlite)
    assert migrate(sqlite) is None


@pytest.mark.server
def test_a_kit_of_before_a_test_run_writes_nothing(postgresql):
    stores = vars(sys.modules["rolecall_django.stores"])
    migrate(postgresql)
    with closing(open_store(postgresql)) as store:
        stores["_at_start"][postgresql] = "school"
        try:
            with pytest.raises(StoreUnavailable, match="give tests a store in memory"):
                store.get_session("1_abc")
        finally:
            del stores["_at_start"][postgresql]


# -- manage.py ---------------------------------------------------------------------------------------


def manage(capsys, *arguments: str) -> tuple[int, Any]:
    with pytest.raises(SystemExit) as exited:
        Command().run_from_argv(["manage.py", "rolecall", *arguments, "--json"])
    return int(exited.value.code or 0), json.loads(capsys.readouterr().out)


def test_commands_look_after_the_store_of_the_settings(sqlite, kit_in_sqlite, capsys, tmp_path):
    kit_in_sqlite.create_session()
    assert manage(capsys, "store", "check")[0] == 0
    code, counted = manage(capsys, "store", "stats")
    assert (code, counted["rows"]["sessions"]) == (0, 1)
    code, _ = manage(capsys, "store", "copy", f"django:{sqlite}", f"sqlite:///{tmp_path}/copy.db")
    assert code == 0
    code, counted = manage(capsys, "store", "stats", "--store", f"sqlite:///{tmp_path}/copy.db")
    assert (code, counted["rows"]["sessions"]) == (0, 1)


SETTINGS = """
INSTALLED_APPS += ["rolecall_django", "lessons"]
MIDDLEWARE.insert(1, "rolecall_django.RolecallMiddleware")
ROLECALL = {"api_key": "123456", "api_secret": "2df95e9fdac14502e8a27a9d8a71e87ef64a502e", "store": "django"}
"""
TESTS = """
from django.conf import settings
from django.test import TestCase, TransactionTestCase, override_settings
from rolecall_django import get_kit

get_kit()  # as a module of an app may, before there is a test run

def use(test):
    session = get_kit().create_session(actor="ada")
    test.assertEqual(get_kit().get_session(session.session_id), session)

class Usual(TestCase):
    def test_it(self):
        use(self)

class Committing(TransactionTestCase):
    def test_it(self):
        use(self)
"""
FRESH = """
class Fresh(TestCase):
    def setUp(self):
        self.enterContext(self.settings(ROLECALL={**settings.ROLECALL, "store": "memory://"}))

    def test_one(self):
        use(self)
        self.assertEqual(len(get_kit().sessions()), 1)

    test_two = test_one
"""


def project(folder: Path, settings: str, tests: str) -> None:
    """A project of Django's, with its own settings, and tests."""
    environment = {**os.environ, "PYTHONPATH": ""}
    for command in (["startproject", "school", "."], ["startapp", "lessons"]):
        subprocess.run([sys.executable, "-m", "django", *command], cwd=folder, env=environment, check=True)
    with (folder / "school/settings.py").open("a") as file:
        file.write(SETTINGS + settings)
    (folder / "lessons/tests.py").write_text(tests)


def manage_py(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-W", "error", "manage.py", *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.process
@pytest.mark.parametrize("options", [[], ["--parallel", "2"]], ids=["", "parallel"])
def test_a_test_run_in_memory_has_a_store_of_its_own(tmp_path, options):
    project(tmp_path, "", TESTS + FRESH)
    code, output = manage_py(tmp_path, "migrate", "-v", "0")
    assert code == 0, output
    code, output = manage_py(tmp_path, "test", *options)
    assert code == 0, output
    code, output = manage_py(tmp_path, "rolecall", "store", "stats", "--json")
    assert json.loads(output)["rows"]["sessions"] == 0


@pytest.mark.server
def test_a_test_run_in_a_database_on_a_disk_needs_a_store_in_memory(tmp_path, server):
    settings = f"""
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "{server.new_database()}",
                          "HOST": "127.0.0.1", "PORT": {server.port}, "USER": "app"}}}}
"""
    project(tmp_path, settings, TESTS)
    code, output = manage_py(tmp_path, "migrate", "-v", "0")
    assert code == 0, output
    code, output = manage_py(tmp_path, "test")
    assert code == 1
    assert "rolecall.W003" in output
    assert "give tests a store in memory: override_settings(ROLECALL=" in output
    (tmp_path / "lessons/tests.py").write_text(TESTS.partition("class Usual")[0] + FRESH)
    for options in ([], ["--parallel", "2"]):
        code, output = manage_py(tmp_path, "test", *options)
        assert code == 0, output
