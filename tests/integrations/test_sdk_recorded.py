"""What the SDKs for Ruby, PHP and .NET send, byte for byte over a socket, and the bytes that they read.

Those for Ruby are as its own tests record them, with the very credential that stands there; the others have the
headers, and the fields in the order, in which their SDKs write them, and credentials signed as theirs are.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from hmac import digest
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest

from .sdk_site import API_KEY, API_SECRET, CONNECTIONS, FROZEN, FROZEN_HOST, GONE, STREAMS, make_kit

pytestmark = pytest.mark.sdk

ADAPTERS = ["flask", "starlette", "wsgi"]
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
#: The session, the connection and a stream of the recorded requests.
SESSION = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
CONNECTION, STREAM = "c053fcc8-c681-41d5-8ec2-7a9e1434a21f", "b1963d15-537f-459a-be89-e00fc310b82b"
IN_SESSION = f"/v2/project/{API_KEY}/session/{SESSION}"
#: When the clock stands still, as the answers say it.
CREATED = "Tue Apr 18 10:17:40 UTC 2017"


def signed(header: str, payload: str, secret: str = API_SECRET) -> str:
    head = b".".join(urlsafe_b64encode(part.encode()).rstrip(b"=") for part in (header, payload))
    return f"{head.decode()}.{urlsafe_b64encode(digest(secret.encode(), head, sha256)).rstrip(b'=').decode()}"


class Recording(NamedTuple):
    """How one SDK writes its requests.

    :param headers: in its order and its spelling, ``{}`` standing for what differs.
    """

    name: str
    headers: str

    def request(
        self, method: str, path: str, media_type: str = "", body: str = "", *, auth: str = "", accept: str = ""
    ) -> bytes:
        lines = [
            line
            for line in self.headers.format(host=FROZEN_HOST, auth=auth, media_type=media_type).splitlines()
            if not line.endswith(": ") and not (accept and line.startswith("Accept:"))
        ]
        lines += [f"Accept: {accept}"] if accept else []
        # .NET says how long nothing is.
        lines += [f"Content-Length: {len(body)}"] if method == "POST" or self.name == ".NET" else []
        return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", body]).encode()


RUBY = Recording(
    "Ruby",
    "X-Opentok-Auth: {auth}\n"
    "User-Agent: OpenTok-Ruby-SDK/4.13.0-Ruby-Version-3.2.2-p53\n"
    "Content-Type: {media_type}\n"
    "Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3\n"
    "Accept: */*\n"
    "Connection: close\n"
    "Host: {host}",
)
PHP = Recording(
    "PHP",
    "Host: {host}\nUser-Agent: OpenTok-PHP-SDK/4.21.3 GuzzleHttp/7\nContent-Type: {media_type}\nX-OPENTOK-AUTH: {auth}",
)
DOTNET = Recording(
    ".NET",
    "Host: {host}\n"
    "X-OPENTOK-AUTH: {auth}\n"
    "X-TB-VERSION: 1\n"
    "User-Agent: Opentok-DotNet-SDK/3.22.0\n"
    "Content-Type: {media_type}",
)
#: .NET names its media type once more as what it expects, which is no expectation that HTTP knows (RFC 9110,
#: section 10.1.1).
EXPECTING = DOTNET._replace(headers=f"{DOTNET.headers}\nExpect: {{media_type}}")

TIMES = f'"iat":{int(FROZEN)},"exp":{int(FROZEN) + 300}'
JTIS = iter(range(1_000_000))


@pytest.fixture
def credentials():
    """The credential of each SDK; that for PHP is another one for each request."""

    def credential(sdk: Recording, secret: str = API_SECRET) -> str:
        if sdk is RUBY:
            return signed('{"ist":"project","alg":"HS256"}', f'{{"iss":"{API_KEY}",{TIMES}}}', secret)
        claims = f'"iss":"{API_KEY}","ist":"project",{TIMES}'
        if sdk is PHP:
            claims = f'"ist":"project","iss":"{API_KEY}",{TIMES},"jti":"58f5e8{next(JTIS):07x}"'
        return signed('{"typ":"JWT","alg":"HS256"}', f"{{{claims}}}", secret)

    return credential


@pytest.fixture(params=ADAPTERS)
def site(request, sites):
    found = sites[request.param]
    found.heard()
    return found


@pytest.fixture(scope="module")
def kit(sites):
    with make_kit(clock=lambda: FROZEN) as kit:
        yield kit


# -- sessions --------------------------------------------------------------------------------------

#: What each SDK posts, and what is asked for with it.
FORMS: dict[str, tuple[Any, str, list[Any]]] = {
    "Ruby, default": (RUBY, "p2p.preference=enabled", [None, "relayed", "manual", False, None, None]),
    "Ruby, located": (
        RUBY,
        "location=12.34.56.78&p2p.preference=disabled",
        ["12.34.56.78", "routed", "manual", False, None, None],
    ),
    "Ruby, encrypted": (RUBY, "e2ee=true&p2p.preference=disabled", [None, "routed", "manual", True, None, None]),
    "Ruby, archived": (
        RUBY,
        "archiveMode=always&archiveName=foo&archiveResolution=720x1280&p2p.preference=disabled",
        [None, "routed", "always", False, "foo", "720x1280"],
    ),
    "PHP, default": (
        PHP,
        f"archiveMode=manual&e2ee=false&p2p.preference=enabled&api_key={API_KEY}",
        [None, "relayed", "manual", False, None, None],
    ),
    "PHP, located": (
        PHP,
        f"archiveMode=manual&location=12.34.56.78&e2ee=false&p2p.preference=disabled&api_key={API_KEY}",
        ["12.34.56.78", "routed", "manual", False, None, None],
    ),
    "PHP, archived": (
        PHP,
        f"archiveMode=always&e2ee=false&archiveResolution=640x480&p2p.preference=disabled&api_key={API_KEY}",
        [None, "routed", "always", False, None, "640x480"],
    ),
    ".NET, default": (
        DOTNET,
        "location=&p2p.preference=enabled&archiveMode=manual&e2ee=False",
        [None, "relayed", "manual", False, None, None],
    ),
    ".NET, located and encrypted": (
        DOTNET,
        "location=12.34.56.78&p2p.preference=disabled&archiveMode=manual&e2ee=True",
        ["12.34.56.78", "routed", "manual", True, None, None],
    ),
    ".NET, archived": (
        DOTNET,
        "location=&p2p.preference=disabled&archiveMode=always&e2ee=False",
        [None, "routed", "always", False, None, None],
    ),
}
FORM_KIND = pytest.mark.parametrize("kind", FORMS)


def posted(credentials, kind: str, accept: str = "") -> bytes:
    sdk, form, _ = FORMS[kind]
    return sdk.request("POST", "/session/create", FORM, form, auth=credentials(sdk), accept=accept)


@FORM_KIND
def test_the_answer_is_xml_byte_for_byte(site, kit, credentials, kind):
    status, headers, body = site.send(posted(credentials, kind))
    (session_id,) = re.findall(rb"<session_id>([0-9A-Za-z_-]+)</session_id>", body)
    assert (status, headers["content-type"]) == (200, "application/xml")
    assert body == (
        b"<sessions><Session><session_id>" + session_id + b"</session_id><partner_id>123456</partner_id>"
        b"<create_dt>" + CREATED.encode() + b"</create_dt></Session></sessions>"
    )
    assert kit.get_session(session_id.decode()).created_at == FROZEN


@FORM_KIND
def test_the_session_is_as_it_was_asked_for(site, kit, credentials, kind):
    _, _, body = site.send(posted(credentials, kind))
    asked = FORMS[kind][2]
    assert site.heard() == [["session", *asked]]
    session = kit.get_session(ET.fromstring(body).findtext("Session/session_id"))
    assert [session.location, session.media_mode, session.archive_mode, session.e2ee] == asked[:4]


@pytest.mark.parametrize("accept", [JSON, "application/json, text/plain;q=0.5", "*/*;q=0.1,Application/JSON"])
@pytest.mark.parametrize("kind", ["Ruby, default", "PHP, default", ".NET, default"])
def test_the_answer_is_json_byte_for_byte_for_those_that_ask_for_it(site, credentials, kind, accept):
    status, headers, body = site.send(posted(credentials, kind, accept))
    session_id = json.loads(body)[0]["session_id"]
    assert (status, headers["content-type"]) == (200, "application/json")
    assert body.decode() == (
        f'[{{"session_id":"{session_id}","project_id":"123456","partner_id":"123456",'
        f'"create_dt":"{CREATED}","media_server_url":""}}]'
    )


@FORM_KIND
def test_the_credential_of_another_secret_is_403(site, credentials, kind):
    sdk, form, _ = FORMS[kind]
    auth = credentials(sdk, API_SECRET[::-1])
    status, headers, body = site.send(sdk.request("POST", "/session/create", FORM, form, auth=auth))
    assert (status, headers["content-type"]) == (403, "application/problem+json")
    assert json.loads(body)["code"] == "invalid_server_credential"
    assert site.heard() == []


@pytest.mark.parametrize("kind", ["PHP, default", "PHP, located"])
def test_a_request_with_a_jti_sent_once_more_is_403(site, credentials, kind):
    request = posted(credentials, kind)
    assert [site.send(request)[0] for _ in range(3)] == [200, 403, 403]


def test_another_projects_key_in_the_form_is_403(site, credentials):
    form = "archiveMode=manual&e2ee=false&p2p.preference=enabled&api_key=654321"
    assert site.send(PHP.request("POST", "/session/create", FORM, form, auth=credentials(PHP)))[0] == 403
    assert site.heard() == []


def ruby_token(session_id: str) -> str:
    claims = f'"iss":"{API_KEY}","ist":"project","iat":{int(FROZEN)},"nonce":0.24406202051348058,"role":"moderator"'
    rest = f'"scope":"session.connect","session_id":"{session_id}","connection_data":"name=Jöhn"'
    return signed('{"typ":"JWT","alg":"HS256"}', f'{{{claims},{rest},"initial_layout_class_list":"focus small"}}')


def php_token(session_id: str) -> str:
    claims = f'"iss":"{API_KEY}","iat":{int(FROZEN)},"session_id":"{session_id}","role":"moderator","ist":"project"'
    rest = '"nonce":1922972030,"scope":"session.connect","expireTime":null,"connection_data":"name=J\\u00f6hn"'
    return signed('{"typ":"JWT","alg":"HS256"}', f'{{{claims},{rest},"initial_layout_class_list":"focus+small"}}')


def dotnet_token(session_id: str) -> str:
    data = f"session_id={session_id}&create_time={int(FROZEN)}&nonce=448033&role=moderator"
    data += "&initial_layout_class_list=focus small&connection_data=name%3dJ%c3%b6hn"
    signature = digest(API_SECRET.encode(), data.encode(), "sha1").hex()
    return "T1==" + b64encode(f"partner_id={API_KEY}&sig={signature}:{data}".encode()).decode()


@pytest.mark.parametrize(
    ("kind", "mint"), [("Ruby, default", ruby_token), ("PHP, default", php_token), (".NET, default", dotnet_token)]
)
def test_its_token_for_that_session_verifies(site, kit, credentials, kind, mint):
    """The client's token as this SDK writes it; none of them says when it ends unless it is asked to."""
    _, _, body = site.send(posted(credentials, kind))
    session_id = ET.fromstring(body).findtext("Session/session_id")
    grant = kit.verify_token(mint(session_id), session_id)
    assert (grant.role, grant.data, grant.layout) == ("moderator", "name=Jöhn", ("focus", "small"))
    assert (grant.issued_at, grant.expires_at) == (FROZEN, FROZEN + 86_400)


# -- moderation ------------------------------------------------------------------------------------

NOTHING, PROJECT = (204, b""), (200, b'{"id":"123456"}')
LISTED = (200, json.dumps({"count": 2, "items": STREAMS}, ensure_ascii=False, separators=(",", ":")).encode())
FOUND = (200, json.dumps(STREAMS[1], ensure_ascii=False, separators=(",", ":")).encode())
GET_STREAMS = ["list_streams", SESSION]
CONNECTED = (
    200,
    json.dumps(
        {"count": 1, "projectId": API_KEY, "sessionId": SESSION, "items": CONNECTIONS}, separators=(",", ":")
    ).encode(),
)
MUTE_ALL = ["mute_all", SESSION, True, []]
MUTE_MOST = ["mute_all", SESSION, True, [STREAM]]
STOP_MUTING = ["mute_all", SESSION, False, []]

#: The SDK, method, path, media type and body of what it sends; the answer, and what the media service is told.
MODERATION = {
    "Ruby, signal to all": (
        *(RUBY, "POST", "/signal", JSON, '{"type":"chat","data":"Hello"}'),
        *(NOTHING, ["signal", SESSION, "chat", "Hello", None]),
    ),
    "Ruby, signal to one": (
        *(RUBY, "POST", f"/connection/{CONNECTION}/signal", JSON, '{"type":"chat","data":"Hello"}'),
        *(NOTHING, ["signal", SESSION, "chat", "Hello", CONNECTION]),
    ),
    "Ruby, force disconnect": (
        *(RUBY, "DELETE", f"/connection/{CONNECTION}", JSON, ""),
        *(NOTHING, ["force_disconnect", SESSION, CONNECTION]),
    ),
    "Ruby, mute a stream": (
        *(RUBY, "POST", f"/stream/{STREAM}/mute", JSON, ""),
        *(PROJECT, ["mute_stream", SESSION, STREAM]),
    ),
    "Ruby, mute all": (RUBY, "POST", "/mute", JSON, '{"active":"true"}', PROJECT, MUTE_ALL),
    "Ruby, mute all but one": (
        *(RUBY, "POST", "/mute", JSON, f'{{"excludedStreams":["{STREAM}"],"active":"true"}}'),
        *(PROJECT, MUTE_MOST),
    ),
    "Ruby, stop muting": (RUBY, "POST", "/mute", JSON, '{"active":"false"}', PROJECT, STOP_MUTING),
    "Ruby, list streams": (RUBY, "GET", "/stream", JSON, "", LISTED, GET_STREAMS),
    "Ruby, find a stream": (RUBY, "GET", f"/stream/{STREAM}", JSON, "", FOUND, GET_STREAMS),
    # None of these three has a call for it; Vonage's for Java and Ruby ask in this way.
    "Ruby, list connections": (RUBY, "GET", "/connection", JSON, "", CONNECTED, ["list_connections", SESSION]),
    "PHP, signal to all": (
        *(PHP, "POST", "/signal", JSON, '{"type":"chat","data":"Hello"}'),
        *(NOTHING, ["signal", SESSION, "chat", "Hello", None]),
    ),
    "PHP, signal to one": (
        *(PHP, "POST", f"/connection/{CONNECTION}/signal", JSON, '{"data":"apple","type":"car"}'),
        *(NOTHING, ["signal", SESSION, "car", "apple", CONNECTION]),
    ),
    "PHP, force disconnect": (
        *(PHP, "DELETE", f"/connection/{CONNECTION}", JSON, ""),
        *(NOTHING, ["force_disconnect", SESSION, CONNECTION]),
    ),
    "PHP, mute a stream": (
        *(PHP, "POST", f"/stream/{STREAM}/mute", JSON, ""),
        *(PROJECT, ["mute_stream", SESSION, STREAM]),
    ),
    "PHP, mute all but one": (
        *(PHP, "POST", "/mute", JSON, f'{{"excludedStreams":["{STREAM}"],"active":true}}'),
        *(PROJECT, MUTE_MOST),
    ),
    "PHP, stop muting": (PHP, "POST", "/mute", JSON, '{"active":false}', PROJECT, STOP_MUTING),
    "PHP, stop muting, with streams": (
        *(PHP, "POST", "/mute", JSON, f'{{"excludedStreams":["{STREAM}"],"active":false}}'),
        *(PROJECT, STOP_MUTING),
    ),
    "PHP, list streams": (PHP, "GET", "/stream/", "", "", LISTED, GET_STREAMS),
    "PHP, find a stream": (PHP, "GET", f"/stream/{STREAM}", "", "", FOUND, GET_STREAMS),
    ".NET, signal to all": (
        *(DOTNET, "POST", "/signal", JSON, '{"data":"Hello","type":"chat"}'),
        *(NOTHING, ["signal", SESSION, "chat", "Hello", None]),
    ),
    ".NET, signal to one": (
        *(DOTNET, "POST", f"/connection/{CONNECTION}/signal", JSON, '{"data":"Hello","type":"chat"}'),
        *(NOTHING, ["signal", SESSION, "chat", "Hello", CONNECTION]),
    ),
    ".NET, force disconnect": (
        *(DOTNET, "DELETE", f"/connection/{CONNECTION}", "", ""),
        *(NOTHING, ["force_disconnect", SESSION, CONNECTION]),
    ),
    ".NET, mute a stream": (
        *(DOTNET, "POST", f"/stream/{STREAM}/mute", JSON, "{}"),
        *(PROJECT, ["mute_stream", SESSION, STREAM]),
    ),
    ".NET, mute all": (DOTNET, "POST", "/mute", JSON, '{"active":true}', PROJECT, MUTE_ALL),
    ".NET, mute all, with null": (
        *(DOTNET, "POST", "/mute", JSON, '{"active":true,"excludedStreamIds":null}'),
        *(PROJECT, MUTE_ALL),
    ),
    ".NET, mute all but one": (
        *(DOTNET, "POST", "/mute", JSON, f'{{"active":true,"excludedStreamIds":["{STREAM}"]}}'),
        *(PROJECT, MUTE_MOST),
    ),
    ".NET, stop muting": (DOTNET, "POST", "/mute", JSON, '{"active":false}', PROJECT, STOP_MUTING),
    ".NET, list streams": (DOTNET, "GET", "/stream", "", "", LISTED, GET_STREAMS),
    ".NET, find a stream": (DOTNET, "GET", f"/stream/{STREAM}", "", "", FOUND, GET_STREAMS),
}


@pytest.mark.parametrize("what", MODERATION)
def test_an_act_is_carried_out_and_answered_byte_for_byte(site, credentials, what):
    sdk, method, path, media_type, body, answer, told = MODERATION[what]
    request = sdk.request(method, IN_SESSION + path, media_type, body, auth=credentials(sdk))
    status, headers, answered = site.send(request)
    assert (status, answered) == answer
    assert headers.get("content-type") == (JSON if answered else None)
    assert site.heard() == [told]


@pytest.mark.parametrize("sdk", [RUBY, PHP, DOTNET], ids=lambda sdk: sdk.name)
def test_a_connection_that_is_not_there_is_404(site, credentials, sdk):
    request = sdk.request("DELETE", f"{IN_SESSION}/connection/{GONE}", auth=credentials(sdk))
    status, headers, _ = site.send(request)
    assert (status, headers["content-type"]) == (404, "application/problem+json")


def test_a_post_of_nothing_needs_no_length(site, credentials):
    """As HTTP clients send it that write no length where there is no body."""
    request = RUBY.request("POST", f"{IN_SESSION}/stream/{STREAM}/mute", JSON, auth=credentials(RUBY))
    assert site.send(request.replace(b"Content-Length: 0\r\n", b""))[0] == 200
    assert site.heard() == [["mute_stream", SESSION, STREAM]]


# -- what .NET expects -----------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", ["starlette", "wsgi"])
def test_what_dotnet_expects_is_no_matter(sites, credentials, adapter):
    form, body = FORMS[".NET, default"][1], '{"active":true}'
    auth = credentials(DOTNET)
    create = EXPECTING.request("POST", "/session/create", FORM, form, auth=auth)
    mute = EXPECTING.request("POST", f"{IN_SESSION}/mute", JSON, body, auth=auth)
    assert [sites[adapter].send(request)[0] for request in (create, mute)] == [200, 200]


def test_gunicorn_refuses_what_dotnet_expects(sites, credentials):
    """Before the app sees anything of it; a server in front of gunicorn has to leave that header away."""
    form = FORMS[".NET, default"][1]
    request = EXPECTING.request("POST", "/session/create", FORM, form, auth=credentials(DOTNET))
    status, _, body = sites["flask"].send(request)
    assert (status, b"xpectation" in body) == (417, True)
