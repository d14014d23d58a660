"""Bodies: no more is read than 16 KiB, whatever is announced, and what is read is one JSON object, sent as such."""

from __future__ import annotations

import io
import json
from urllib.parse import urlencode

import flask
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rolecall.driver import drive
from rolecall.errors import BodyTooLarge, InvalidRequest, RolecallError, UnsupportedMediaType
from rolecall.http.api.rest import ROUTES
from rolecall.http.api.routing import PROBLEMS
from rolecall.http.bodies import announced_length, fields, members
from rolecall.http.gateways.wsgi import input_of, read_body
from rolecall.http.messages import MAX_BODY, BodyLimit
from rolecall.http.respond import respond
from rolecall.policies import AllowAnyone
from rolecall.request import Request
from rolecall_flask import rolecall_blueprint

KNOWN = ("a", "b")


def posted(body: bytes = b"", **headers: str) -> Request:
    sent = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    return Request("POST", "/", {}, sent, body)


# -- what is announced -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "length"),
    [(None, 0), ("", 0), ("0", 0), ("00", 0), ("5", 5), ("005", 5), ("16384", 16384), ("0" * 14 + "16384", 16384)],
)
def test_the_announced_length_is_read(text, length):
    assert announced_length({} if text is None else {"content-length": text}, MAX_BODY) == length


@pytest.mark.parametrize("text", ["16385", "99999999", "9" * 19, "9" * 20, "9" * 5000, "0" * 5000])
def test_more_than_is_read_is_refused_by_its_announcement(text):
    with pytest.raises(BodyTooLarge):
        announced_length({"content-length": text}, MAX_BODY)


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "+5",
        "5 ",
        " 5",
        "5.0",
        "0x5",
        "1e3",
        "1_0",
        "five",
        "5,5",
        "5, 5",
        "5,6",
        "٥",
        "²",
        "\x00",
        "9" * 30 + "a",
    ],
    ids=ascii,
)
def test_an_announcement_that_is_no_length_is_refused(text):
    with pytest.raises(InvalidRequest, match="expected digits"):
        announced_length({"content-length": text}, MAX_BODY)


@given(st.text())
def test_an_announcement_is_a_length_or_one_of_two_errors(text):
    try:
        length = announced_length({"content-length": text}, MAX_BODY)
    except (BodyTooLarge, InvalidRequest):
        return
    assert 0 <= length <= MAX_BODY


# -- how much is read ------------------------------------------------------------------------------


class Pieces:
    """A stream that hands out at most so many bytes at a time, and counts them."""

    def __init__(self, body: bytes, most: int) -> None:
        self._stream, self._most, self.taken = io.BytesIO(body), most, 0

    def read(self, size: int) -> bytes:
        piece = self._stream.read(min(size, self._most))
        self.taken += len(piece)
        return piece


@given(length=st.integers(0, 3 * MAX_BODY), most=st.integers(200, 40_000))
@example(MAX_BODY - 1, 40_000)
@example(MAX_BODY, 40_000)
@example(MAX_BODY + 1, 40_000)
@example(MAX_BODY + 2, 1000)
def test_a_body_is_read_up_to_one_byte_beyond_the_cap(length, most):
    stream = Pieces(b"x" * length, most)
    assert read_body({}, stream.read, MAX_BODY) == b"x" * min(length, MAX_BODY + 1)
    assert stream.taken <= MAX_BODY + 1


def test_a_body_is_put_together_in_order():
    assert read_body({}, Pieces(b"0123456789", 3).read, MAX_BODY) == b"0123456789"


@pytest.mark.parametrize("length", ["16385", "9" * 30, "-1", "five"])
def test_nothing_is_read_of_a_body_that_is_refused_by_its_announcement(length):
    stream = Pieces(b"x" * 100, 10)
    with pytest.raises(RolecallError):
        read_body({"content-length": length}, stream.read, MAX_BODY)
    assert stream.taken == 0


def fail(size: int) -> bytes:
    raise ConnectionResetError("the client has gone")


def test_a_body_that_does_not_come_to_its_end_is_refused():
    with pytest.raises(InvalidRequest, match="to its end"):
        read_body({}, fail, MAX_BODY)


@pytest.mark.parametrize(("announced", "taken"), [("", 0), ("0", 0), ("2", 2), ("50", 50)])
def test_without_an_end_of_its_own_a_stream_is_read_as_far_as_announced(announced, taken):
    stream = Pieces(b"x" * 100, 7)
    read = input_of({"wsgi.input": stream, "CONTENT_LENGTH": announced}, MAX_BODY)
    assert read_body({"content-length": announced}, read, MAX_BODY) == b"x" * taken
    assert stream.taken == taken


# -- what is taken for a body ----------------------------------------------------------------------


def test_no_body_at_all_is_an_empty_object():
    assert members(Request("POST", "/"), KNOWN) == {}
    assert members(posted(), KNOWN) == {}


@pytest.mark.parametrize("body", [b'{"a": 1}', b' \r\n\t{"a":1}\n', b'{"a":1}' + b" " * (MAX_BODY - 7)])
def test_one_json_object_is_taken(body):
    assert members(posted(body), KNOWN) == {"a": 1}


def test_an_operation_may_take_more():
    limit = BodyLimit(length=MAX_BODY + 1, elements=65)
    body = b'{"a": [' + b"1," * 64 + b"1]}"
    assert members(posted(body.ljust(MAX_BODY + 1)), KNOWN, limit) == {"a": (1,) * 65}
    with pytest.raises(BodyTooLarge, match=f"longer than {MAX_BODY + 1} bytes"):
        members(posted(body.ljust(MAX_BODY + 2)), KNOWN, limit)
    with pytest.raises(InvalidRequest, match="more than 64 elements"):
        members(posted(body), KNOWN)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"1",
        b'"a"',
        b"null",
        b"{",
        b" ",
        b"{}{}",
        b'{"a":1,}',
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"c":1}',
        b'{"A":1}',
        b"a=1",
    ],
)
def test_anything_else_is_refused(body):
    with pytest.raises(InvalidRequest):
        members(posted(body), KNOWN)


@pytest.mark.parametrize("length", [MAX_BODY + 1, MAX_BODY + 2, 100_000])
def test_a_body_that_is_too_long_is_refused_before_it_is_looked_at(length):
    with pytest.raises(BodyTooLarge):
        members(posted(b"{" * length, content_type="text/plain"), KNOWN)


@pytest.mark.parametrize("length", ["0", "1", "7", "9", "16384"])
def test_a_body_is_as_long_as_was_announced(length):
    with pytest.raises(InvalidRequest, match="as long as its Content-Length"):
        members(posted(b'{"a": 1}', content_length=length), KNOWN)
    assert members(posted(b'{"a": 1}', content_length="8"), KNOWN) == {"a": 1}


def test_an_announced_body_that_did_not_come_is_refused():
    with pytest.raises(InvalidRequest):
        members(posted(content_length="5"), KNOWN)


def test_a_body_in_chunks_of_which_nothing_is_left_is_refused():
    with pytest.raises(InvalidRequest, match="send it with a Content-Length"):
        members(posted(transfer_encoding="chunked"), KNOWN)
    assert members(posted(b"{}", transfer_encoding="chunked"), KNOWN) == {}


# -- its media type --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=utf-8",
        " application/json ;x=y",
    ],
)
def test_json_is_named_in_several_ways(media_type):
    assert members(posted(b"{}", content_type=media_type), KNOWN) == {}


OTHER_TYPES = [
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain; application/json",
    "text/plain;charset=application/json",
    "text/json",
    "application/problem+json",
    "application/json, text/plain",
    "application/json,application/json",
    "application/jsonp",
    "application/json\xa0",
    "*/*",
]


@pytest.mark.parametrize("media_type", OTHER_TYPES)
def test_another_media_type_is_refused(media_type):
    with pytest.raises(UnsupportedMediaType, match="expected application/json"):
        members(posted(b"{}", content_type=media_type), KNOWN)


@pytest.mark.parametrize("media_type", OTHER_TYPES)
@pytest.mark.parametrize(
    "browser", [{"origin": "https://other.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}], ids=repr
)
def test_a_browser_names_json_even_without_a_body(media_type, browser):
    """A form of another site cannot name it, so it cannot post in the name of the page's user."""
    with pytest.raises(UnsupportedMediaType):
        members(posted(content_type=media_type, **browser), KNOWN)
    assert members(posted(**browser), KNOWN) == {}


@given(
    body=st.binary(max_size=100) | st.just(b"{}"),
    headers=st.dictionaries(
        st.sampled_from(["content-type", "content-length", "transfer-encoding", "origin"]),
        st.text(max_size=20) | st.sampled_from(["application/json", "2", "chunked"]),
    ),
)
def test_whatever_comes_is_an_object_or_one_of_three_errors(body, headers):
    try:
        found = members(Request("POST", "/", {}, headers, body), KNOWN)
    except (InvalidRequest, BodyTooLarge, UnsupportedMediaType):
        return
    assert set(found) <= set(KNOWN)


# -- through the routes ----------------------------------------------------------------------------


@pytest.fixture
def kit(make_kit):
    return make_kit(plugins=[AllowAnyone("moderator")])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"])
def test_a_body_is_read_only_where_one_is_wanted(kit, route, method):
    read = []

    async def read_it(_: int) -> bytes:
        read.append(True)
        return b""

    path_params = {"session_id": kit.create_session().session_id}
    drive(respond(kit.api, route, Request(method, "/", path_params), read_it))
    operation = route.operations.get(method)
    assert bool(read) == (operation is not None and operation.body is not None)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "", "get", "\ud800"])
def test_a_method_that_a_route_does_not_have_is_told_those_that_it_has(kit, route, method):
    answer = drive(respond(kit.api, route, Request(method, "/", {"session_id": "x"})))
    assert (answer.status == 405) == (method not in route.methods)
    if answer.status == 405:
        assert dict(answer.headers)["Allow"] == ", ".join(route.methods)
        refusal = json.loads(answer.body)
        code = "invalid_request" if route.refusals is not PROBLEMS else "method_not_allowed"
        assert refusal.get("code", refusal.get("error")) == code


class Unreadable(io.RawIOBase):
    """A body of which nobody may read."""

    def read(self, size=-1):
        raise AssertionError("the body was read")


@pytest.fixture
def client(kit):
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit))
    return app.test_client()


@pytest.mark.parametrize(("length", "status"), [("16385", 413), ("9" * 40, 413), ("-1", 400), ("5,5", 400)])
def test_an_adapter_reads_nothing_of_what_is_refused(client, length, status):
    environ = {"wsgi.input": Unreadable(), "wsgi.input_terminated": True, "CONTENT_TYPE": "application/json"}
    answer = client.post("/sessions", environ_overrides={**environ, "CONTENT_LENGTH": length})
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


@pytest.mark.parametrize(("length", "status"), [(MAX_BODY, 201), (MAX_BODY + 1, 413), (200_000, 413)])
def test_a_body_in_chunks_is_measured_as_it_comes(client, length, status):
    stream = io.BytesIO(b"{}".ljust(length))
    environ = {"wsgi.input": stream, "wsgi.input_terminated": True, "CONTENT_TYPE": "application/json"}
    environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
    assert client.post("/sessions", environ_overrides=environ).status_code == status
    assert stream.tell() <= MAX_BODY + 1


@pytest.mark.parametrize(("length", "status"), [("2", 201), ("1", 400), ("3", 400), ("16384", 400)])
@pytest.mark.parametrize("terminated", [True, False])
def test_a_length_that_lies_is_refused(client, length, status, terminated):
    environ = {"wsgi.input": io.BytesIO(b"{}"), "wsgi.input_terminated": terminated, "CONTENT_LENGTH": length}
    answer = client.post("/sessions", environ_overrides={**environ, "CONTENT_TYPE": "application/json"})
    assert answer.status_code == status


# -- forms -----------------------------------------------------------------------------------------

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"b=&a=", {"a": "", "b": ""}),
        (b"a=x+y%2Bz%26", {"a": "x y+z&"}),
        (b"a=%E9%9B%AA", {"a": "\u96ea"}),
        (b"%61=1", {"a": "1"}),
        (b"a=1=2", {"a": "1=2"}),
        (b"a=" + b"x" * (MAX_BODY - 2), {"a": "x" * (MAX_BODY - 2)}),
    ],
)
@pytest.mark.parametrize("media_type", [FORM, f"{FORM}; charset=UTF-8", FORM.upper(), "application/json"])
def test_the_fields_of_a_form_are_read(body, found, media_type):
    assert fields(posted(body, content_type=media_type), KNOWN) == found


@pytest.mark.parametrize(
    "body",
    [
        b"a",
        b"a=1&",
        b"&a=1",
        b"a=1&&b=2",
        b"a=1&a=1",
        b"a=1&%61=2",
        b"c=1",
        b"A=1",
        b"a=%FF",
        b"a=%ED%A0%80",
        "a=\u96ea".encode(),
        b"{}",
        b'{"a":"1"}',
        b" ",
        b"&".join(b"a=1" for _ in range(65)),
    ],
)
def test_what_is_no_form_or_says_something_twice_is_refused(body):
    with pytest.raises(InvalidRequest):
        fields(posted(body, content_type=FORM), KNOWN)


@pytest.mark.parametrize("media_type", ["", "text/plain", "multipart/form-data; boundary=a", f"{FORM}, text/plain"])
def test_a_form_is_sent_as_one(media_type):
    with pytest.raises(UnsupportedMediaType, match=FORM):
        fields(posted(b"a=1", content_type=media_type), KNOWN)


def test_a_form_is_not_read_beyond_its_limit():
    with pytest.raises(BodyTooLarge):
        fields(posted(b"a=" + b"x" * (MAX_BODY - 1), content_type=FORM), KNOWN)


@given(st.binary(max_size=200))
def test_whatever_comes_as_a_form_is_read_or_refused_by_an_error_of_the_kit(body):
    try:
        found = fields(posted(body, content_type=FORM), KNOWN)
    except RolecallError:
        return
    assert set(found) <= set(KNOWN)
    assert all(isinstance(value, str) for value in found.values())


@given(st.dictionaries(st.sampled_from(KNOWN), st.text().filter(lambda text: text.isprintable())))
def test_a_form_that_urllib_writes_comes_back(asked):
    assert fields(posted(urlencode(asked).encode(), content_type=FORM), KNOWN) == asked
