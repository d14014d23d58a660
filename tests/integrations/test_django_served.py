"""A Django project as it is deployed, and as it is developed: by wsgi.py, asgi.py and both kinds of runserver.

The whole site is guarded, and Django's database has the store.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from ..conftest import needed
from ..postgres_servers import PROGRAMS, PostgresProcess
from ..waiting import PATIENCE, free_port, soon
from .test_websocket_servers import UVICORN, serving

pytestmark = pytest.mark.server

PROJECT = {
    "settings.py": """
import os
from pathlib import Path
from rolecall.policies import AllowAnyone
ALLOWED_HOSTS = ["*"]
ASGI_APPLICATION = "asgi.application"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "db.sqlite3"}}
if "DATABASE" in os.environ:
    port, name = os.environ["DATABASE"].split("/")
    place = {"HOST": "127.0.0.1", "PORT": port, "USER": "app", "NAME": name}
    DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", **place}}
DEBUG = False
INSTALLED_APPS = [*filter(None, [os.environ.get("SERVED_BY")]), "rolecall_django"]
MIDDLEWARE = ["rolecall_django.RolecallMiddleware", "django.middleware.common.CommonMiddleware"]
ROLECALL = {"plugins": [AllowAnyone(max_role="moderator")], "protect": True, "store": "django"}
ROOT_URLCONF = "urls"
SECRET_KEY = "for tests alone, and of the length that Django asks for: more than 50"
USE_TZ = True
WSGI_APPLICATION = "wsgi.application"
""",
    "urls.py": """
import asyncio, time
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import include, path, re_path
from django.views import View
from rolecall_django import current_grant, while_granted

def of_a_thread(request, session_id):
    return HttpResponse(current_grant(request).role)

async def of_the_loop(request, session_id):
    return HttpResponse(current_grant(request).role)

class OfAClass(View):
    def get(self, request, session_id):
        return HttpResponse(current_grant(request).role)

def stream(request, session_id):
    def lines():
        while True:
            yield b"x"
            time.sleep(0.05)
    async def lines_of_the_loop():
        while True:
            yield b"x"
            await asyncio.sleep(0.05)
    made = lines_of_the_loop() if isinstance(request, ASGIRequest) else lines()
    return StreamingHttpResponse(while_granted(request, made))

def missing(request, exception):
    return HttpResponse("the site's own page", status=404)

handler404 = missing
inner = [path("class/", OfAClass.as_view()), re_path(r"^stream/$", stream)]
rooms = [path("thread/", of_a_thread), path("loop/", of_the_loop), path("inner/", include(inner))]
urlpatterns = [path("video/", include("rolecall_django.urls")), path("rooms/<session_id>/", include(rooms))]
""",
    "wsgi.py": """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
""",
    "asgi.py": """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.asgi import get_asgi_application
application = get_asgi_application()
""",
    "manage.py": """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
""",
}
PLACES = ("thread/", "loop/", "inner/class/", "inner/stream/")
GUNICORN = ("gunicorn", "--threads=4", "--no-control-socket", "--graceful-timeout=1", "--bind=fd://{fd}")
WAYS: list[Any] = ["wsgi.py", "asgi.py", "runserver", "runserver of daphne"]


class Site(NamedTuple):
    """A project behind a server.

    :param url: where the project is.
    """

    url: str

    def ask(self, path: str, token: str | None = None, method: str = "GET") -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.request(method, f"{self.url}/{path}", headers=headers, timeout=PATIENCE)

    def token(self) -> tuple[str, str]:
        """A new session, and a moderator's token for it."""
        session_id = self.ask("video/sessions", method="POST").json()["session_id"]
        body = {"role": "moderator"}
        answer = httpx.post(f"{self.url}/video/sessions/{session_id}/tokens", json=body, timeout=PATIENCE)
        return session_id, answer.json()["token"]


@contextmanager
def by_runserver(folder: Path) -> Iterator[int]:
    """The port at which Django's own server for developers runs."""
    port = free_port()
    command = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            assert soon(lambda: _listens(port))
            yield port
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _listens(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/video/healthz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    needed(PROGRAMS, "the server of PostgreSQL (initdb and postgres)")
    server = PostgresProcess()
    try:
        server.start()
        yield f"{server.port}/{server.new_database()}"
    finally:
        server.remove()


@pytest.fixture(
    scope="module",
    params=[*((way, "sqlite") for way in WAYS), ("wsgi.py", "postgresql"), ("asgi.py", "postgresql")],
    ids=" on ".join,
)
def site(request, tmp_path_factory) -> Iterator[Site]:
    way, database = request.param
    folder = tmp_path_factory.mktemp("project")
    for name, text in PROJECT.items():
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROLECALL_API_KEY", "123456")
        patch.setenv("ROLECALL_API_SECRET", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e")
        if database == "postgresql":
            patch.setenv("DATABASE", request.getfixturevalue("postgresql"))
        if way == "runserver of daphne":
            patch.setenv("SERVED_BY", "daphne")
        migrating = [sys.executable, "manage.py", "migrate", "-v", "0"]
        subprocess.run(migrating, cwd=folder, check=True, env=os.environ)
        if way.startswith("runserver"):
            with by_runserver(folder) as port:
                yield Site(f"http://127.0.0.1:{port}")
        else:
            command = (*GUNICORN, "wsgi:application") if way == "wsgi.py" else (*UVICORN, "asgi:application")
            with serving(folder, *command) as server:
                yield Site(f"http://127.0.0.1:{server.address()[1]}")


def test_every_view_needs_a_token_of_its_session(site):
    session_id, token = site.token()
    _, another = site.token()
    for place in PLACES:
        path = f"rooms/{session_id}/{place}"
        assert [site.ask(path, given).status_code for given in (None, "x.y.z", another)] == [401, 401, 403], place
        if "stream" not in place:
            answer = site.ask(path, token)
            assert (answer.status_code, answer.text) == (200, "moderator"), place
    assert site.ask("nowhere").status_code == 401
    missing = site.ask("nowhere", token)
    assert (missing.status_code, missing.text) == (404, "the site's own page")
    assert site.ask(f"video/sessions/{session_id}").status_code == 401


def test_a_stream_and_all_further_requests_end_with_the_session(site):
    session_id, token = site.token()
    received: list[bytes] = []
    url, headers = f"{site.url}/rooms/{session_id}/inner/stream/", {"Authorization": f"Bearer {token}"}

    def read() -> None:
        with httpx.stream("GET", url, headers=headers, timeout=PATIENCE) as answer:
            received.extend(answer.iter_raw())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert soon(lambda: received)
    assert site.ask(f"video/sessions/{session_id}", token, "DELETE").status_code == 204
    reader.join(PATIENCE)
    assert not reader.is_alive()
    for place in PLACES:
        assert site.ask(f"rooms/{session_id}/{place}", token).status_code == 401, place
