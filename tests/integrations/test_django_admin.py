"""The kit's pages in Django's admin: who sees and does what, on which store, and what is never shown."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection, transaction
from django.test import Client, override_settings
from django.urls import path, reverse, set_script_prefix

from rolecall import Deny, Rolecall, hookimpl
from rolecall.errors import RevokedToken, SessionEnded
from rolecall.events import Event

from ..django_settings import configure

configure()

from django.contrib.admin.models import LogEntry  # noqa: E402  # models need the settings
from django.contrib.auth.models import Permission, User  # noqa: E402

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
SESSIONS, TOKENS, EXCLUSIONS = "session", "issuedtoken", "exclusion"


class Watching:
    """Takes note of events, and lets nobody exclude the head."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @hookimpl
    def rolecall_on_event(self, event: Event) -> None:
        self.names.append(event.name)

    @hookimpl
    def rolecall_vote_moderation(self, request):
        return Deny("nobody excludes the head") if getattr(request.act, "actor_id", None) == "head" else None


@pytest.fixture
def watching() -> Watching:
    return Watching()


@pytest.fixture(params=["memory", "sqlite"])
def kit(request, tmp_path, watching) -> Iterator[Rolecall]:
    store = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/sessions.db"
    with Rolecall(KEY, SECRET, store=store, ledger=True, plugins=[watching], entry_points=False) as kit:
        yield kit


@pytest.fixture(scope="module")
def database() -> Iterator[None]:
    connection.creation.create_test_db(verbosity=0)
    yield
    connection.creation.destroy_test_db(":memory:", verbosity=0)


@pytest.fixture
def site(database, kit) -> Iterator[None]:
    set_script_prefix("/")
    module = ModuleType("urls")
    vars(module)["urlpatterns"] = [path("admin/", admin.site.urls)]
    with override_settings(ROOT_URLCONF=module, ROLECALL=kit, MIDDLEWARE=MIDDLEWARE), transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def staff(site) -> Callable[..., Client]:
    """A browser of somebody on the staff, with some permissions."""

    def log_in(*permissions: str, **options: Any) -> Client:
        user = User.objects.create_user(f"user{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client(**options)
        client.force_login(user)
        return client

    return log_in


def url(model: str, **query: str) -> str:
    return reverse(f"admin:rolecall_{model}_changelist", query=query)


def cells(answer: Any) -> list[list[str]]:
    """The cells of the list on a page, without its buttons."""
    assert answer.status_code == 200
    body = answer.content.decode().partition("<tbody>")[2].partition("</tbody>")[0]
    rows = [re.findall(r"<td>([^<]*)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)]
    return [[html.unescape(cell) for cell in row] for row in rows if row]


def act(client: Client, model: str, name: str, **values: str) -> Any:
    """Press a button, and confirm."""
    asked = client.post(url(model), {"act": name, **values})
    assert asked.status_code == 200
    again = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', asked.content.decode()))
    again.pop("csrfmiddlewaretoken", None)
    assert again.pop("confirmed") == "yes"
    given = {key: html.unescape(value) for key, value in again.items()}
    return client.post(url(model), {"act": name, "confirmed": "yes", **given}, follow=True)


# -- what is shown -----------------------------------------------------------------------------------


def test_sessions_are_listed_page_by_page(staff, kit):
    ids = [kit.create_session(actor="ada" if number % 2 else None).session_id for number in range(150)]
    kit.end_session(ids[0])
    client = staff("view_session")
    first = client.get(url(SESSIONS))
    rows = cells(first)
    (following,) = re.findall(r'href="(\?[^"]*after=[^"]*)"', first.content.decode())
    rest = client.get(url(SESSIONS) + html.unescape(following))
    assert len(rows) == 100
    assert {row[0] for row in [*rows, *cells(rest)]} == set(ids)
    assert "Next page" not in rest.content.decode()
    assert {row[0] for row in cells(client.get(url(SESSIONS, state="ended")))} == {ids[0]}
    assert {row[2] for row in cells(client.get(url(SESSIONS, created_by="ada")))} == {"ada"}
    assert [row[0] for row in cells(client.get(url(SESSIONS, session_id=ids[7])))] == [ids[7]]
    assert cells(client.get(url(SESSIONS, created_by="nobody"))) == []


def test_live_tokens_are_listed_and_no_token_is_shown(staff, kit):
    session, other = kit.create_session(), kit.create_session()
    token = session.generate_token("moderator", actor="<ada>", data="the data")
    other.generate_token(actor="ben")
    token_id = kit.verify_token(token).token_id
    client = staff("view_issuedtoken")
    answer = client.get(url(TOKENS))
    assert {(row[0], row[1], row[2], row[3]) for row in cells(answer)} >= {
        (token_id, session.session_id, "<ada>", "moderator")
    }
    assert len(cells(client.get(url(TOKENS, actor="ben")))) == 1
    assert len(cells(client.get(url(TOKENS, session_id=session.session_id)))) == 1
    text = answer.content.decode()
    for secret in (token, token.rpartition(".")[2], SECRET, "<ada>", "the data"):
        assert secret not in text


def test_exclusions_are_listed(staff, kit):
    session = kit.create_session()
    session.exclude("ada")
    session.exclude("ben", 4_000_000_000)
    client = staff("view_exclusion")
    rows = {row[1]: row[2] for row in cells(client.get(url(EXCLUSIONS)))}
    assert rows["ada"] == "for good"
    assert "2096" in rows["ben"]
    assert cells(client.get(url(EXCLUSIONS, session_id=kit.create_session().session_id))) == []


def test_the_index_has_what_one_may_see(staff):
    assert "/admin/rolecall/" not in staff().get("/admin/").content.decode()
    index = staff("view_session").get("/admin/").content.decode()
    assert url(SESSIONS) in index
    assert url(TOKENS) not in index
    assert "/add/" not in index


# -- what is done ------------------------------------------------------------------------------------


def test_a_session_is_ended(staff, kit, watching):
    session = kit.create_session()
    client = staff("change_session")
    answer = act(client, SESSIONS, "end", session_id=session.session_id)
    assert f"Ended the session {session.session_id}." in html.unescape(answer.content.decode())
    with pytest.raises(SessionEnded):
        session.generate_token()
    assert "session_ended" in watching.names
    (entry,) = LogEntry.objects.all()
    assert (entry.object_repr, entry.get_change_message()) == (
        session.session_id,
        f"Ended the session {session.session_id}.",
    )
    assert entry.get_admin_url() is None  # a row has no page of its own
    assert client.get("/admin/").status_code == 200


def test_a_token_is_revoked(staff, kit, watching):
    token = kit.create_session().generate_token(actor="ada")
    grant = kit.verify_token(token)
    client = staff("change_issuedtoken")
    act(client, TOKENS, "revoke", session_id=grant.session_id, token_id=grant.token_id)
    with pytest.raises(RevokedToken):
        kit.verify_token(token)
    assert cells(client.get(url(TOKENS))) == []
    assert "token_revoked" in watching.names


def test_an_actor_is_excluded_and_readmitted(staff, kit, watching):
    session = kit.create_session()
    token = session.generate_token(actor="ada of 2b")
    client = staff("change_exclusion")
    act(client, EXCLUSIONS, "exclude", session_id=session.session_id, actor="ada of 2b", until="2096-10-02 07:06:40")
    with pytest.raises(RevokedToken):
        kit.verify_token(token)
    (exclusion,) = kit.exclusions()
    assert exclusion.until is not None
    act(client, EXCLUSIONS, "readmit", session_id=session.session_id, actor="ada of 2b")
    assert kit.verify_token(token).actor_id == "ada of 2b"
    assert watching.names.count("moderated") == 2
    assert LogEntry.objects.count() == 2


def test_nothing_is_done_before_it_is_confirmed(staff, kit):
    session = kit.create_session()
    client = staff("change_session")
    asked = client.post(url(SESSIONS), {"act": "end", "session_id": session.session_id})
    assert "issues no more tokens" in asked.content.decode()
    assert kit.get_session(session.session_id).ended_at is None


# -- who may do it -----------------------------------------------------------------------------------


BUTTONS = [
    (SESSIONS, {"act": "end"}),
    (TOKENS, {"act": "revoke", "token_id": "1"}),
    (EXCLUSIONS, {"act": "exclude", "actor": "ada"}),
    (EXCLUSIONS, {"act": "readmit", "actor": "ada"}),
]


@pytest.mark.each_choice
@pytest.mark.parametrize(("model", "values"), BUTTONS)
def test_nobody_does_what_he_has_no_permission_for(staff, kit, model, values):
    session = kit.create_session()
    sent = {"confirmed": "yes", "session_id": session.session_id, **values}
    nobody, viewer = staff(), staff(f"view_{model}")
    others = staff(*(f"change_{other}" for other in {SESSIONS, TOKENS, EXCLUSIONS} - {model}))
    for client in (nobody, others):
        assert client.get(url(model)).status_code == 403
    shown = viewer.get(url(model))
    assert shown.status_code == 200
    assert 'name="act"' not in shown.content.decode()
    for client in (nobody, others, viewer):
        assert client.post(url(model), sent).status_code == 403
    for client in (Client(), _member()):
        assert client.post(url(model), sent).status_code == 302  # to the login
    forged = staff(f"change_{model}", enforce_csrf_checks=True)
    assert forged.post(url(model), sent).status_code == 403
    assert staff(f"change_{model}").get(url(model, **sent)).status_code == 200
    assert kit.get_session(session.session_id).ended_at is None
    assert list(kit.exclusions()) == []
    assert LogEntry.objects.count() == 0


def _member() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("root", is_superuser=True))
    return client


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (SESSIONS, {"act": "end", "session_id": "1_x"}, "session_id"),
        (SESSIONS, {"act": "erase", "session_id": "1_x"}, "no such button"),
        (SESSIONS, {"session_id": "1_x"}, "no such button"),
        (EXCLUSIONS, {"act": "exclude", "session_id": "1_x", "actor": ""}, "Actor: This field is required"),
        (EXCLUSIONS, {"act": "exclude", "session_id": "1_x", "actor": "a", "until": "soon"}, "Until: Enter a valid"),
    ],
)
def test_what_is_wrong_is_said(staff, model, values, message):
    answer = staff(f"change_{model}").post(url(model), {**values, "confirmed": "yes"}, follow=True)
    assert answer.status_code == 200
    assert message in html.unescape(answer.content.decode()).replace("invalid_session_id", "session_id")
    assert LogEntry.objects.count() == 0


def test_a_policy_has_its_say(staff, kit):
    session = kit.create_session()
    answer = act(staff("change_exclusion"), EXCLUSIONS, "exclude", session_id=session.session_id, actor="head")
    assert "(policy_denied)" in answer.content.decode()
    assert list(kit.exclusions()) == []
    assert LogEntry.objects.count() == 0


@pytest.mark.each_choice
@pytest.mark.parametrize("model", [SESSIONS, TOKENS, EXCLUSIONS])
def test_a_wrong_cursor_is_no_fault(staff, kit, model):
    kit.create_session().exclude("ada")
    assert staff(f"view_{model}").get(url(model, after="x")).status_code == 200


def test_a_kit_without_a_ledger_says_so(staff, site):
    with (
        Rolecall(KEY, SECRET, entry_points=False) as bare,
        override_settings(ROLECALL=bare),
    ):
        assert "ledger=True" in staff("view_issuedtoken").get(url(TOKENS)).content.decode()
