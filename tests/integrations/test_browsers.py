"""In a real browser: which pages may call the kit, what they see of a token in a cookie, what forged requests do."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import flask
import pytest
from playwright.sync_api import expect, sync_playwright
from werkzeug.serving import make_server

from rolecall import Rolecall, Web
from rolecall.policies import AllowAnyone
from rolecall_flask import current_grant, require_token, rolecall_blueprint

pytestmark = pytest.mark.browser

COOKIE = "__Host-rolecall"
FLAGS = (
    "--no-sandbox",
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
#: What a page does; each answers with a status and what it could read.
CALL = """async ([url, options]) => {
    try {
        const response = await fetch(url, options);
        const text = await response.text();
        let body = text;
        try { body = JSON.parse(text); } catch {}
        return {status: response.status, body, challenge: response.headers.get("WWW-Authenticate")};
    } catch (error) {
        return {status: 0, body: null, failed: error.name};
    }
}"""
POST_FORM = """([url, type]) => {
    const form = Object.assign(document.createElement("form"), {method: "POST", action: url, enctype: type});
    form.append(Object.assign(document.createElement("input"), {name: '{"role":"moderator","x":"', value: '"}'}));
    document.body.append(form);
    form.submit();
}"""


class Serving:
    """Serves WSGI apps on ports of this machine until it is closed."""

    def __init__(self) -> None:
        self._servers: list[Any] = []

    def __call__(self, app=None) -> int:
        """The port of ``app``, or one whose app is given to :meth:`put` later."""
        late = [app]
        server: Any = make_server("127.0.0.1", 0, lambda *arguments: late[0](*arguments), threaded=True)
        server.late = late
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port

    def put(self, port: int, app) -> None:
        next(server for server in self._servers if server.server_port == port).late[0] = app

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


@pytest.fixture(scope="module")
def serve():
    serving = Serving()
    yield serving
    serving.close()


@pytest.fixture(scope="module")
def browser(chromium):
    with sync_playwright() as playwright:
        # Names that every machine can look up, for pages of other sites.
        rules = "--host-resolver-rules=MAP *.example 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, rules])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()


def blank() -> flask.Flask:
    """A site with an empty page."""
    app = flask.Flask("blank")
    app.add_url_rule("/", "index", lambda: "<!doctype html><title>A page</title>")
    return app


class Service:
    """An app with a kit, and a site beside it whose pages may call it."""

    def __init__(self, serve: Serving) -> None:
        self.port, self.listed, self.unlisted = serve(), serve(blank()), serve(blank())
        web = Web(origins=[f"http://localhost:{self.listed}"], cookie=COOKIE, query="access_token")
        self.kit = Rolecall("123456", "0f1e2d3c4b5a69788796a5b4c3d2e1f0", plugins=[AllowAnyone("moderator")], web=web)
        self.changed: list[Any] = []
        serve.put(self.port, self.app())
        self.url = f"http://localhost:{self.port}"

    def app(self) -> flask.Flask:
        app = blank()
        app.register_blueprint(rolecall_blueprint(self.kit), url_prefix="/video")

        @app.route("/rooms/<session_id>", methods=["GET", "POST"])
        @require_token
        def room(session_id):
            if flask.request.method == "POST":
                self.changed.append(session_id)
            return {"role": current_grant.role}

        return app


@pytest.fixture(scope="module")
def service(serve):
    service = Service(serve)
    yield service
    service.kit.close()


def call(page, url: str, method: str = "GET", body: str | None = None, **headers: str):
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    options = {"method": method, "headers": sent, "credentials": "include"}
    return page.evaluate(CALL, [url, options | ({} if body is None else {"body": body})])


def post(page, url: str, body: str = "{}", **headers: str):
    return call(page, url, "POST", body, content_type="application/json", **headers)


# -- pages of other origins ------------------------------------------------------------------------


def test_a_page_of_a_listed_origin_gets_a_session_and_a_token(page, service):
    page.goto(f"http://localhost:{service.listed}")
    session = post(page, f"{service.url}/video/sessions")
    assert session["status"] == 201
    path = f"{service.url}/video/sessions/{session['body']['session_id']}"
    issued = post(page, f"{path}/tokens", '{"role": "moderator"}')
    assert service.kit.verify_token(issued["body"]["token"]).role == "moderator"
    authorization = f"Bearer {issued['body']['token']}"
    assert call(page, path, authorization=authorization)["status"] == 200
    assert call(page, path, "DELETE", authorization=authorization)["status"] == 204


def test_a_page_of_a_listed_origin_can_read_why_it_was_refused(page, service):
    page.goto(f"http://localhost:{service.listed}")
    refused = call(page, f"{service.url}/video/sessions/x")
    assert (refused["status"], refused["body"]["code"]) == (401, "missing_token")
    assert refused["challenge"] == 'Bearer realm="rolecall"'


@pytest.mark.parametrize("host", ["localhost:{0.unlisted}", "127.0.0.1:{0.listed}", "app.example:{0.listed}"])
def test_a_page_of_another_origin_reads_and_does_nothing(page, service, host):
    page.goto("http://" + host.format(service))
    assert call(page, f"{service.url}/video/openapi.json")["status"] == 0
    session = service.kit.create_session()
    path, authorization = (
        f"{service.url}/video/sessions/{session.session_id}",
        f"Bearer {session.generate_token('moderator')}",
    )
    assert post(page, f"{path}/tokens")["status"] == 0
    assert call(page, path, "DELETE", authorization=authorization)["status"] == 0
    assert service.kit.get_session(session.session_id).ended_at is None


# -- a token as a cookie ---------------------------------------------------------------------------


@pytest.fixture(params=["localhost", "127.0.0.1"])
def logged_in(page, service, request):
    """A page with a token in its cookie: the page, the room's URL, and the proof."""
    base = f"http://{request.param}:{service.port}"
    page.goto(base)
    session = service.kit.create_session()
    issued = post(page, f"{base}/video/sessions/{session.session_id}/tokens", '{"cookie": true, "role": "moderator"}')
    assert issued["status"] == 201
    # Without https, as it is of this machine.
    assert {cookie["name"] for cookie in page.context.cookies()} == {COOKIE, f"{COOKIE}-csrf"}
    return page, f"{base}/rooms/{session.session_id}", issued["body"]["csrf_token"]


def test_a_script_can_read_the_proof_and_not_the_token(logged_in):
    page, _, proof = logged_in
    assert page.evaluate("document.cookie") == f"{COOKIE}-csrf={proof}"
    kept = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert [kept[COOKIE][name] for name in ("httpOnly", "secure", "sameSite", "path")] == [True, True, "Lax", "/"]
    assert kept[f"{COOKIE}-csrf"]["httpOnly"] is False


def test_the_cookie_opens_a_guarded_view(logged_in):
    page, room, _ = logged_in
    assert call(page, room) == {"status": 200, "body": {"role": "moderator"}, "challenge": None}


def test_the_cookie_changes_nothing_without_the_proof(logged_in, service):
    page, room, proof = logged_in
    before = list(service.changed)
    refused = call(page, room, "POST")
    assert (refused["status"], refused["body"]["code"], service.changed) == (403, "csrf_failed", before)
    assert call(page, room, "POST", x_csrf_token=proof)["status"] == 200
    assert len(service.changed) == len(before) + 1


def test_the_proof_can_be_read_again_after_the_page_was_loaded_anew(logged_in):
    page, room, _ = logged_in
    page.reload()
    proof = page.evaluate(f"document.cookie.match(/{COOKIE}-csrf=([^;]*)/)[1]")
    assert call(page, room, "POST", x_csrf_token=proof)["status"] == 200


# -- forged requests -------------------------------------------------------------------------------


@pytest.fixture
def victim(page, service):
    """A page of a browser that has a moderator's cookie for the service, and the session's id."""
    page.goto(service.url)
    session = service.kit.create_session()
    issued = post(
        page, f"{service.url}/video/sessions/{session.session_id}/tokens", '{"cookie": true, "role": "moderator"}'
    )
    assert issued["status"] == 201
    return page, session.session_id


@pytest.mark.parametrize("host", ["localhost:{0.unlisted}", "localhost:{0.listed}", "evil.example:{0.unlisted}"])
@pytest.mark.parametrize("encoding", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"])
def test_a_form_of_another_page_changes_nothing(victim, service, host, encoding):
    page, session_id = victim
    before = list(service.changed)
    page.goto("http://" + host.format(service))
    with page.expect_navigation() as navigation:
        page.evaluate(POST_FORM, [f"{service.url}/rooms/{session_id}", encoding])
    # Of the same site the browser sends the cookie, and the proof is missing; of another it sends none.
    assert navigation.value.status == (403 if host.startswith("localhost") else 401)
    assert service.changed == before


@pytest.mark.parametrize("host", ["localhost:{0.unlisted}", "evil.example:{0.unlisted}"])
@pytest.mark.parametrize("encoding", ["application/x-www-form-urlencoded", "text/plain"])
def test_a_form_of_another_page_gets_no_token(victim, service, host, encoding):
    page, session_id = victim
    page.goto("http://" + host.format(service))
    with page.expect_navigation() as navigation:
        page.evaluate(POST_FORM, [f"{service.url}/video/sessions/{session_id}/tokens", encoding])
    assert navigation.value.status == 415
    assert "set-cookie" not in navigation.value.all_headers()


def test_a_page_of_the_same_site_that_is_not_listed_reads_nothing_with_the_cookie(victim, service):
    page, session_id = victim
    page.goto(f"http://localhost:{service.unlisted}")
    assert call(page, f"{service.url}/video/sessions/{session_id}")["status"] == 0
    assert call(page, f"{service.url}/video/sessions/{session_id}", "DELETE")["status"] == 0
    assert service.kit.get_session(session_id).ended_at is None


def test_a_page_of_a_listed_origin_of_the_same_site_works_with_the_cookie(victim, service):
    page, session_id = victim
    page.goto(f"http://localhost:{service.listed}")
    path = f"{service.url}/video/sessions/{session_id}"
    issued = post(page, f"{path}/tokens", '{"cookie": true, "role": "moderator"}')
    assert call(page, path)["status"] == 200
    assert call(page, path, "DELETE")["body"]["code"] == "csrf_failed"
    assert call(page, path, "DELETE", x_csrf_token=issued["body"]["csrf_token"])["status"] == 204


def test_a_link_with_the_token_in_its_query_opens(page, service):
    session = service.kit.create_session()
    token = session.generate_token("moderator")
    answer = page.goto(f"{service.url}/rooms/{session.session_id}?access_token={token}")
    assert (answer.status, answer.json()) == (200, {"role": "moderator"})


# -- the guide -------------------------------------------------------------------------------------


def test_the_page_of_the_guide_joins_and_changes_something(page, serve):
    guide = (Path(__file__).parents[2] / "docs/browsers.md").read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "guide"}
    for block in re.findall(r"^```python\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE):
        if ">>>" not in block:
            exec(block, namespace)
    with namespace["kit"]:
        page.goto(f"http://localhost:{serve(namespace['app'])}/classes/{namespace['session_id']}")
        expect(page.locator("#answer")).to_have_text("1 up")
        page.reload()
        expect(page.locator("#answer")).to_have_text("2 up")
    assert namespace["hands"] == ["Ada", "Ada"]
