"""The demonstration: what a person sees on its page, whom it answers, and how it starts and ends."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

import rolecall_demo
from rolecall.policies import AllowAnyone
from rolecall_demo.explaining import DOORS

FLAGS = (
    "--no-sandbox",
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class Served:
    """A demonstration in a process of its own."""

    def __init__(self, folder, port: int = 0, **options) -> None:
        arguments = "".join(f", {name}={value!r}" for name, value in options.items())
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", f"import rolecall_demo; rolecall_demo.serve(port={port}{arguments})"],
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[Any] = []
        while not (found := re.search(r"Rolecall demo: (http://\S+)  ", self.said[-1] if self.said else "")):
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line, self.process.communicate()
            self.said.append(line)
        self.url = found[1]

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """The exit status, and all that was written after the address."""
        self.process.send_signal(number)
        try:
            written = "".join(self.process.communicate(timeout=20))
        finally:
            self.process.kill()
            self.process.wait()
        return self.process.returncode, written


@pytest.fixture
def serve(tmp_path):
    """Starts demonstrations, and ends those that the test left running."""
    started = []

    def start(**options) -> Served:
        started.append(Served(tmp_path, **options))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.end()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("demo"))
    yield served
    assert served.end() == (0, "")


@pytest.fixture(scope="module")
def browser(chromium):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, demo):
    """Opens the demonstration at a size; in the end nothing must have gone wrong on any page."""
    pages, faults, requested = [], [], []

    def note(message) -> None:
        # A browser reports every refusal so, and refusals are what the page is there to show.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            faults.append(message.text)

    def open_(width: int = 1280, height: int = 800, **options):
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        pages.append(page)
        page.on("console", note)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(demo.url)
        return page

    yield open_
    for page in pages:
        page.close()
    assert faults == []
    assert [url for url in requested if not url.startswith((demo.url + "/", "data:"))] == []


@pytest.fixture
def page(open_page):
    return open_page()


def create_session(page) -> None:
    page.get_by_role("button", name="Create session").click()
    expect(page.locator("#session-result")).to_contain_text("is open")


def get_token(page, role: str, lifetime: str = "15 minutes") -> None:
    page.get_by_role("radio", name=re.compile(f"^{role} ")).check()
    page.get_by_label("Lifetime").select_option(lifetime)
    page.get_by_role("button", name="Get token").click()
    expect(page.locator("#token-result")).to_contain_text(f"{role} in Room")
    expect(page.locator("#mine")).to_have_text(f"This token: {role}.")


def knock(page, act: str):
    page.locator(f"[data-act={act}]").click()
    expect(page.locator(f"[data-badge={act}]")).not_to_be_empty()
    return page.locator("#answer")


# -- the page --------------------------------------------------------------------------------------


def test_a_moderator_may_force_disconnect(page):
    create_session(page)
    get_token(page, "moderator")
    expect(knock(page, "force-disconnect")).to_contain_text(
        "200: force-disconnect is allowed; the token's role is moderator"
    )


def test_a_publisher_is_refused_and_told_why(page):
    create_session(page)
    get_token(page, "publisher")
    answer = knock(page, "force-disconnect")
    expect(answer).to_contain_text("403: role:moderator is required; the token's role is publisher")
    expect(answer).to_contain_text("insufficient_role")
    expect(answer).to_contain_text('error="insufficient_scope"')


def test_a_moderator_of_another_session_is_refused(page):
    create_session(page)
    get_token(page, "moderator")
    page.get_by_role("radio", name="Another").check()
    answer = knock(page, "force-disconnect")
    expect(answer).to_contain_text("403: the token is for another session")
    expect(answer).to_contain_text("Room B, opened just now")


@pytest.mark.parametrize(
    ("credential", "words", "code"),
    [
        ("Nothing", "401: this route needs a token", "missing_token"),
        ("Forged", "401: the token's sig", "bad_signature"),
    ],
)
def test_without_a_good_token_every_door_is_shut(page, credential, words, code):
    create_session(page)
    get_token(page, "subscriber")
    page.get_by_role("radio", name=credential).check()
    answer = knock(page, "connect")
    expect(answer).to_contain_text(words)
    expect(answer).to_contain_text(code)


@pytest.mark.parametrize(
    ("role", "opened"), [("subscriber", 1), ("publisheronly", 2), ("publisher", 3), ("moderator", 5)]
)
def test_each_role_opens_its_doors(page, role, opened):
    create_session(page)
    get_token(page, role)
    page.get_by_role("button", name="Try all five").click()
    expect(page.locator("#answer")).to_contain_text(f"{opened} of 5 doors opened")


def test_the_token_is_taken_apart(page):
    create_session(page)
    page.get_by_label("Connection data").fill("name=Ada <img src=x onerror=alert(1)> Löve")
    get_token(page, "publisher", "1 minute")
    expect(page.locator("#token-text .part")).to_have_count(3)
    expect(page.locator("#header")).to_contain_text("HS256")
    expect(page.locator("#claims")).to_contain_text("name=Ada <img src=x onerror=alert(1)> Löve")
    expect(page.locator("#countdown")).to_have_text(re.compile(r"^5\d s$"))
    expect(page.locator(".grid .mine.may")).to_have_count(4)


def test_a_token_for_too_long_is_refused_and_told_why(page):
    create_session(page)
    page.get_by_label("Lifetime").select_option("31 days (too long)")
    page.get_by_role("button", name="Get token").click()
    expect(page.locator("#token-result")).to_contain_text("400: expire_time is more than 30 days away")


def steps(page, place: str) -> list[tuple[str, str]]:
    """What was looked at, and what came of it."""
    expect(page.locator(f"{place} .steps")).to_be_visible()
    rows = page.locator(f"{place} .steps li").all()
    return [(row.locator(".step").inner_text(), row.locator(".outcome").inner_text()) for row in rows]


def test_each_answer_of_a_door_is_explained(page):
    create_session(page)
    get_token(page, "publisher")
    knock(page, "force-disconnect")
    assert steps(page, "#answer") == [
        *((step, "ok") for step in ("credential", "form", "key", "signature", "claims", "session")),
        ("role", "refused"),
    ]
    expect(page.locator("#answer .steps")).to_contain_text("role:moderator is required; the token's role is publisher")


def test_a_door_without_a_token_is_explained(page):
    create_session(page)
    get_token(page, "publisher")
    page.get_by_role("radio", name="Nothing").check()
    knock(page, "connect")
    assert steps(page, "#answer") == [("credential", "refused")]


def test_a_token_asked_for_is_explained_with_each_policy(page):
    create_session(page)
    get_token(page, "moderator")
    explained = dict(steps(page, "#token-result"))
    policy = next(step for step in explained if step.endswith("AllowAnyone"))
    assert (explained["policy rolecall"], explained[policy], explained["grant"]) == ("abstain", "allow", "ok")
    expect(page.locator("#token-result .steps li", has_text="AllowAnyone")).to_contain_text(
        re.compile(r"max_role=moderator.*\d (µ|m)s")
    )


def test_a_refused_token_is_explained(page):
    create_session(page)
    page.get_by_label("Lifetime").select_option("31 days (too long)")
    page.get_by_role("button", name="Get token").click()
    assert steps(page, "#token-result") == [("request", "refused")]


def test_what_is_left_of_a_token_is_said_as_it_is(page):
    create_session(page)
    get_token(page, "publisher", "1 minute")
    expect(page.locator("#life-note")).to_have_text("left, then it is refused")


def test_the_roles_stand_beneath_the_doors_on_a_wide_screen(page):
    create_session(page)
    get_token(page, "publisher")
    doors, roles = (page.locator(selector).bounding_box() for selector in (".doors", ".grid"))
    assert doors["x"] == roles["x"]
    assert roles["y"] > doors["y"]


def test_a_session_with_options_that_do_not_go_together_is_refused(page):
    page.get_by_label("Encrypt media").check()
    page.get_by_role("button", name="Create session").click()
    expect(page.locator("#session-result")).to_contain_text("400: e2ee needs media_mode 'routed'")
    expect(page.locator("#rooms li")).to_have_count(0)


def test_the_tokens_of_an_ended_session_are_refused(page):
    create_session(page)
    get_token(page, "moderator")
    page.get_by_role("button", name="End Room A").click()
    expect(page.locator("#session-result")).to_contain_text("Room A has ended")
    expect(knock(page, "connect")).to_contain_text("401: the token's session has ended")
    page.get_by_role("button", name="Get token").click()
    expect(page.locator("#token-result")).to_contain_text("410: the session has ended")


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_never_scrolls_sideways(open_page, width, scheme):
    page = open_page(width, color_scheme=scheme)
    create_session(page)
    page.get_by_label("Connection data").fill("x" * 1000)
    get_token(page, "publisher")
    knock(page, "force-disconnect")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_can_be_used_from_the_keyboard(page):
    page.get_by_role("button", name="Create session").press("Enter")
    expect(page.locator("#session-result")).to_contain_text("is open")
    page.get_by_role("radio", name=re.compile("^publisher ")).focus()
    page.keyboard.press("ArrowDown")
    page.get_by_role("button", name="Get token").press("Enter")
    expect(page.locator("#mine")).to_have_text("This token: moderator.")
    page.locator("[data-act=mute]").press("Enter")
    expect(page.locator("#answer")).to_contain_text("200")


# -- whom the server answers -----------------------------------------------------------------------


@pytest.fixture
def client(make_kit):
    return rolecall_demo.create_app(make_kit(plugins=[AllowAnyone("moderator")])).test_client()


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/video/sessions/x", "/nowhere"])
def test_every_answer_carries_the_security_headers(client, path):
    with client.get(path) as response:
        headers = response.headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["rebound.example", "127.0.0.1.rebound.example", "localhost.rebound.example:8000"])
def test_a_foreign_host_name_is_refused(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 400
    assert client.post("/video/sessions", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("origin", ["https://site.example", "http://localhost:81", "https://localhost", "null"])
def test_a_foreign_origin_is_refused(client, origin):
    assert client.post("/video/sessions", headers={"Origin": origin}).status_code == 403


def test_its_own_origin_is_answered(client):
    assert client.post("/video/sessions", json={}, headers={"Origin": "http://localhost"}).status_code == 201


@pytest.mark.parametrize("body", [{}, [], {"token": "x"}, {"token": 1}, {"token": "a.b.c"}])
def test_what_is_no_token_cannot_be_taken_apart(client, body):
    answer = client.post("/inspect", json=body)
    assert (answer.status_code, answer.json["code"]) == (400, "malformed_token")


# -- why it answered so ----------------------------------------------------------------------------


@pytest.fixture
def session_id(client):
    return client.post("/video/sessions").json["session_id"]


@pytest.mark.parametrize("role", ["subscriber", "publisheronly", "publisher", "moderator"])
@pytest.mark.parametrize("act", DOORS)
def test_a_door_and_its_explanation_agree(client, session_id, role, act):
    token = client.post(f"/video/sessions/{session_id}/tokens", json={"role": role}).json["token"]
    headers = {"Authorization": f"Bearer {token}"}
    answer = client.post(f"/rooms/{session_id}/{act}", headers=headers)
    explanation = client.post(f"/explain/rooms/{session_id}/{act}", headers=headers)
    assert explanation.json["allowed"] == (answer.status_code == 200)
    assert explanation.json["code"] == answer.json.get("code")
    assert not any(part in explanation.text for part in token.split("."))


def test_a_door_that_does_not_exist_is_not_explained(client, session_id):
    assert client.post(f"/explain/rooms/{session_id}/cellar").status_code == 404


@pytest.mark.parametrize("asked", [{}, [], {"expires_in": "60"}, {"expires_in": 0}, {"expires_in": True}])
def test_a_token_for_no_time_is_not_explained(client, session_id, asked):
    assert client.post(f"/explain/video/sessions/{session_id}/tokens", json=asked).status_code == 400


def test_a_token_is_explained_as_the_request_from_outside_that_it_is(client, session_id):
    asked = {"role": "moderator", "expires_in": 60}
    explanation = client.post(f"/explain/video/sessions/{session_id}/tokens", json=asked).json
    outcomes = {step["step"]: step["outcome"] for step in explanation["steps"]}
    assert explanation["allowed"]
    assert outcomes["policy rolecall"] == "abstain"


# -- starting and ending ---------------------------------------------------------------------------


def create_over_http(url: str) -> int:
    request = urllib.request.Request(f"{url}/video/sessions", method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["created_at"]


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_starts_answers_and_ends_without_a_trace(serve, tmp_path, number):
    demo = serve()
    assert create_over_http(demo.url)
    assert [folder.name.startswith("rolecall-demo-") for folder in tmp_path.iterdir()] == [True]
    assert demo.end(number) == (0, "")
    assert list(tmp_path.iterdir()) == []
    with socket.create_server(("127.0.0.1", int(demo.url.rpartition(":")[2]))):
        pass  # The port is free again.


@pytest.mark.process
def test_it_ends_while_a_client_holds_a_connection(serve, tmp_path):
    demo = serve()
    with socket.create_connection(("127.0.0.1", int(demo.url.rpartition(":")[2]))) as connection:
        connection.sendall(b"POST /video/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(64).startswith(b"HTTP/1.1 201")
        assert demo.end() == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_port_in_use_is_named_and_another_one_taken(serve):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = serve(port=port)
    assert demo.said[0] == f"Port {port} is in use; taking a free one.\n"
    assert len(demo.said) == 2
    assert create_over_http(demo.url)


@pytest.mark.process
def test_a_store_of_ones_own_is_kept(serve, tmp_path):
    demo = serve(store=f"sqlite:///{tmp_path}/own.db")
    assert create_over_http(demo.url)
    assert demo.end() == (0, "")
    assert (tmp_path / "own.db").exists()


@pytest.mark.process
def test_the_served_demo_refuses_a_foreign_host_name(demo):
    request = urllib.request.Request(demo.url, headers={"Host": "rebound.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    refused.value.close()
    assert refused.value.code == 400


@pytest.mark.process
def test_listening_to_the_network_is_called_what_it_is(serve):
    demo = serve(host="0.0.0.0")
    assert demo.said[0].startswith("Others on the network can reach this demo")


def test_a_token_with_nested_claims_is_taken_apart(client):
    segments = (b'{"alg":"RS256"}', b'{"acl":{"paths":{"/session/**":{}}}}')
    token = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in segments) + ".AAAA"
    response = client.post("/inspect", json={"token": token})
    assert response.json["claims"] == {"acl": {"paths": {"/session/**": {}}}}


@pytest.mark.parametrize("path", ["/inspect", "/explain/video/sessions/x/tokens"])
def test_a_body_that_nests_too_deep_is_a_bad_request(client, path):
    assert client.post(path, data="[" * 16_000, content_type="application/json").status_code == 400
