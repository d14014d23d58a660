"""Paths that are guarded by what they begin with: what a prefix covers, and that no spelling of a path gets around."""

from __future__ import annotations

import ntpath
import posixpath
import re
from urllib.parse import unquote, urljoin, urlparse, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rolecall.errors import ConfigurationError, InvalidRequest
from rolecall.http.guards.guard import Guard
from rolecall.http.guards.path_guard import GuardedPaths
from rolecall.http.guards.paths import PathPattern, is_crooked, is_plain, path_patterns
from rolecall.roles import ANY_TOKEN


@pytest.mark.parametrize(
    ("prefix", "path", "params"),
    [
        ("/", "/", {}),
        ("/", "", {}),
        ("/", "/anything/at/all", {}),
        ("/admin", "/admin", {}),
        ("/admin", "/admin/", {}),
        ("/admin", "/admin/users", {}),
        ("/admin", "admin/users", {}),
        ("/admin", "/ADMIN/users", {}),
        ("/Admin", "/admin", {}),
        ("/admin/", "/admin", {}),
        ("/admin/users", "/admin/users/1", {}),
        ("/my files", "/my files/1", {}),
        ("/räume", "/RÄUME/1", {}),
        ("/a.b", "/a.b/c", {}),
        ("/rooms/{room}", "/rooms/1", {"room": "1"}),
        ("/rooms/{room}", "/Rooms/AbC/board", {"room": "AbC"}),
        ("/rooms/{room}", "/rooms/1/", {"room": "1"}),
        ("/rooms/{room}/seats/{seat}", "/rooms/1/seats/2/x", {"room": "1", "seat": "2"}),
        ("/{tenant}/admin", "/a/admin", {"tenant": "a"}),
    ],
)
def test_a_prefix_covers_its_path_and_all_below_it(prefix, path, params):
    assert PathPattern(prefix).begins(path) == params


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("/admin", "/"),
        ("/admin", ""),
        ("/admin", "/administration"),
        ("/admin", "/public/admin"),
        ("/admin/users", "/admin"),
        ("/a.b", "/aXb"),
        ("/rooms/{room}", "/rooms"),
        ("/rooms/{room}", "/rooms/"),
        ("/{tenant}/admin", "/admin"),
    ],
)
def test_a_prefix_covers_nothing_beside_or_above_it(prefix, path):
    assert PathPattern(prefix).begins(path) is None


@pytest.mark.parametrize(
    ("pattern", "path", "same"),
    [
        ("/health", "/health", True),
        ("/health", "/health/", False),
        ("/health", "/Health", False),
        ("/health", "/health/deep", False),
        ("/health", "/health\n", False),
        ("/health/", "/health/", True),
        ("/health/", "/health", False),
        ("/", "/", True),
        ("/", "", False),
        ("/", "/x", False),
        ("/rooms/{room}/poster", "/rooms/1/poster", True),
        ("/rooms/{room}/poster", "/rooms//poster", False),
        ("/rooms/{room}/poster", "/rooms/1/2/poster", False),
    ],
)
def test_an_exact_path_is_only_itself(pattern, path, same):
    assert PathPattern(pattern).matches(path) is same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "admin",
        "//admin",
        "/admin//",
        "/./admin",
        "/admin/..",
        "/admin\\users",
        "/admin/*",
        "/admin?all=1",
        "/admin#top",
        "/my%20files",
        "/rooms/<session_id>",
        "/admin\n",
        "/rooms/{}",
        "/rooms/{room",
        "/rooms/room}",
        "/rooms/x{room}",
        "/rooms/{room}x",
        "/rooms/{a}{b}",
        "/rooms/{two words}",
        "/rooms/{1}",
        "/{room}/{room}",
        None,
        b"/admin",
        1,
    ],
)
def test_a_text_that_would_guard_something_else_is_refused(text):
    with pytest.raises(ConfigurationError):
        PathPattern(text)


def test_a_pattern_shows_its_text():
    assert repr(PathPattern("/rooms/{room}")) == "PathPattern('/rooms/{room}')"


def test_patterns_that_say_most_come_last():
    texts = ["/rooms/{room}/x", "/rooms", "/rooms/lobby", "/rooms/{room}", "/"]
    found = [pattern.text for pattern in path_patterns(texts)]
    assert found == ["/", "/rooms", "/rooms/{room}", "/rooms/lobby", "/rooms/{room}/x"]


@pytest.mark.parametrize("path", ["", "/", "/a", "/a/", "/a/b.c", "/a/...", "/.well-known/x", "/a/..b", "/räume"])
def test_a_plain_path_is_read_alike_by_every_app(path):
    assert (is_plain(path), is_crooked(path)) == (True, False)


@pytest.mark.parametrize("path", ["//", "//a", "/a//b", "/a//", "/.", "/..", "/a/.", "/a/../b", "../a", ".", "/a\\b"])
def test_segments_that_some_resolve_make_a_path_crooked(path):
    assert (is_plain(path), is_crooked(path)) == (False, True)


@pytest.mark.parametrize(
    "path",
    [
        *("/a\n", "/a b", "/%61", "/a\x00", "/\ufffda", "/a\x7f", "/a\x85", "/a\xa0", "/a\u2028", "/a\u200b"),
        *("/a;b", "/a?b", "/a#b", "\ufeff/a", "a:/b", "http:/a", ":/a", "a:", "a/b", "a/"),
    ],
    ids=ascii,
)
def test_characters_that_some_drop_or_decode_make_a_path_odd(path):
    assert (is_plain(path), is_crooked(path)) == (False, False)


# -- no spelling gets around -----------------------------------------------------------------------


def without_parameters(path):
    return "/".join(segment.partition(";")[0] for segment in path.split("/"))


#: What apps, frameworks, file servers and proxies make of a path.
READINGS = {
    "as it is": lambda path: path,
    "with one slash in front": lambda path: "/" + path.lstrip("/"),
    "in small letters": lambda path: path.lower(),
    "with runs of slashes as one": lambda path: re.sub("/+", "/", path),
    "normalised": lambda path: posixpath.normpath("/" + path),
    "resolved as RFC 3986 does": lambda path: urljoin("http://h/", "http://h" + path).removeprefix("http://h"),
    "normalised as Windows does": lambda path: ntpath.normpath(path).replace("\\", "/"),
    "decoded again": unquote,
    "decoded again, and normalised": lambda path: posixpath.normpath(unquote(path)),
    "stripped": lambda path: path.strip(),
    "with what is no UTF-8 left out": lambda path: path.replace("\ufffd", ""),
    "up to a newline at the end": lambda path: path.removesuffix("\n"),
    "without control characters": lambda path: re.sub(r"[\x00-\x1f]", "", path),
    "without path parameters": without_parameters,
    "without path parameters, and normalised": lambda path: posixpath.normpath(without_parameters(path)),
    "without path parameters, decoded again": lambda path: without_parameters(unquote(path)),
    "decoded again, without path parameters": lambda path: unquote(without_parameters(path)),
    "as a servlet container does": lambda path: posixpath.normpath(without_parameters(unquote(path))),
    "as urllib.parse.urlparse does": lambda path: urlparse("http://h" + path).path,
    "as urllib.parse.urlparse does without a host": lambda path: urlparse(path).path,
    "as urllib.parse.urlparse does where no slash is first": lambda path: (
        path if path[:1] == "/" else urlparse(path).path
    ),
    "as urllib.parse.urlsplit does, decoded": lambda path: unquote(urlsplit("http://h" + path).path),
    "as the URL of an upstream": lambda path: posixpath.normpath(unquote(re.split("[?#]", path)[0])),
    "up to a query that came encoded twice": lambda path: re.split("[?#]", unquote(path))[0],
}

pieces = st.sampled_from(
    [
        *(
            "admin",
            "ADMIN",
            "users",
            "x",
            "..",
            ".",
            "",
            "%2e%2e",
            "%2e",
            "%61dmin",
            "ad\ufffdmin",
            "admin\n",
            " admin",
        ),
        *("a\x00dmin", "x\\..\\admin", "..\\admin", "%2f..%2fadmin", "%5cadmin", "admin%0a"),
        *("admin;", "admin;x=1", ";admin", "..;", "..;x=1", ".;", ";", "..%3B", "admin%3Bx", "%3B", "x;/../admin"),
        *("admin?", "admin?x", "admin#", "admin#x", "admin%3Fx", "admin%23x", "?", "#", "users?", "users;a?b#c"),
        *("admin\x85", "admin\xa0", "admin\u2028", "\u3000admin", "1\x85", "1\u2028", "a:", "http:"),
        *("1", "2", "1;", "1;x", "1%3B", "1?", "1#x", "1%3Fx", "1%23", "rooms", "rooms;x"),
    ]
)
beginnings = st.sampled_from(["/", "/", "/", "a:/", "http:/", "\ufeff/", "\xa0/", ""])
paths = st.builds(lambda first, found: first + "/".join(found), beginnings, st.lists(pieces, max_size=7))


def is_let_through(patterns, path):
    """Whether a guard that asks as it should takes ``path`` for open."""
    covered = None if is_crooked(path) else next((p for p in patterns if p.begins(path) is not None), None)
    return covered is None and (is_plain(path) or not any(pattern.may_begin(path) for pattern in patterns))


def is_below(prefix, path):
    segments, wanted = path.split("/")[1:], prefix.split("/")[1:]
    if len(segments) < len(wanted):
        return False
    return all(want == segment or (want[0] == "{" and segment) for want, segment in zip(wanted, segments, strict=False))


@pytest.mark.each_choice
@pytest.mark.parametrize("prefix", ["/admin", "/admin/users", "/x/{name}/admin"])
@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@given(path=paths)
@example(path="/x//../admin/users")
@example(path="/x/y/admin\n")
@example(path="x/admin")
@example(path="a:x/admin")
def test_a_path_that_any_app_reads_as_guarded_is_not_let_through(prefix, reading, path):
    patterns = path_patterns([prefix])
    if is_below(prefix, reading(path)):
        assert not is_let_through(patterns, path)


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@given(path=paths)
@example(path="/rooms/1/..;/2")
@example(path="/rooms/1;x")
@example(path="/rooms/1%3B/../2")
@example(path="/rooms/1?/2")
@example(path="/rooms;x/1/%2e%2e/2")
@example(path="x/rooms/1")
@example(path="rooms/1/rooms/2")
@example(path="a:/rooms/1")
def test_a_path_binds_the_session_that_any_app_reads_in_it_or_lets_nobody_in(reading, path):
    """Whatever an app reads as a room, the token must be for that room."""
    read = re.match("/rooms/([^/]+)(?:/|$)", reading(path))
    if read is None:
        return
    guarded = GuardedPaths(Guard(ANY_TOKEN), prefixes=["/rooms/{session_id}"], public=["/rooms/lobby"])
    try:
        found = guarded.find("GET", path)
    except InvalidRequest:
        return
    assert found == {"session_id": read[1]}


@pytest.mark.parametrize(
    "path",
    [
        *("/admin;", "/admin;x=1", "/admin;x=1/y", "/;x/admin", "/x/..;/admin", "/x/..;a=b/admin", "/x;/../admin"),
        *("/admin%3B", "/admin%3Bx=1", "/x/..%3B/admin", "/x/%2e%2e;/admin", "/x/%2e%2e%3B/admin"),
        *("/admin?", "/admin?x", "/admin%3F", "/admin%3Fx", "/admin#", "/admin#x", "/admin%23", "/admin%23x"),
        *("/admin;a?b", "/admin?a;b", "/admin#a?b", "/admin;%3Fx", "/ad;x?/min/../../admin"),
    ],
)
def test_a_path_that_is_guarded_without_parameters_query_or_fragment_is_refused(path):
    guarded = GuardedPaths(Guard(ANY_TOKEN), prefixes=["/admin"])
    with pytest.raises(InvalidRequest, match="can be read in two ways"):
        guarded.find("GET", path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "a:/admin",
            "http:/admin",
            "a:/admin/x",
            "a:/admin?x",
            "a:/admin;x",
            ":/admin",
            "a%3A/admin",
            "x/admin",
            "\ufeffa:/admin",
        ),
        *("\ufeff/admin", "\u200b/admin;x", "\xa0/admin", "/admin\x85", "/admin\xa0", "/admin\u2028", "/admin\u3000"),
        *("/admin%C2%85", "/\u200badmin", "/admin\xa0/x"),
    ],
    ids=ascii,
)
def test_a_path_that_is_guarded_without_a_scheme_or_white_space_is_refused(path):
    guarded = GuardedPaths(Guard(ANY_TOKEN), prefixes=["/admin"])
    with pytest.raises(InvalidRequest, match="can be read in two ways"):
        guarded.find("GET", path)


@pytest.mark.parametrize("path", ["/health;", "/health;x", "a:/health", "/health\xa0", "\ufeff/health"], ids=ascii)
def test_no_path_that_is_public_in_one_reading_alone_is_public(path):
    guarded = GuardedPaths(Guard(ANY_TOKEN, session_param=None), public=["/health"])
    assert guarded.find("GET", path) == {}


@pytest.mark.parametrize(
    "path", ["/health;", "/health;x", "/health%3B", "/health?", "/health%3Fx", "/health#", "/%68ealth"]
)
def test_a_public_path_with_more_in_it_is_not_public(path):
    guarded = GuardedPaths(Guard(ANY_TOKEN, session_param=None), public=["/health"])
    assert (guarded.find("GET", "/health"), guarded.find("GET", path)) == (None, {})


@pytest.mark.parametrize(
    "path", ["/page;v=1", "/page%3Bv", "/page?x", "/page#x", "/x/..;/page", "a:/page", "/a:/admin"]
)
def test_a_path_with_parameters_that_cannot_be_read_as_guarded_is_let_through(path):
    guarded = GuardedPaths(Guard(ANY_TOKEN), prefixes=["/admin", "/rooms/{session_id}"])
    assert guarded.find("GET", path) is None


@pytest.mark.parametrize("path", ["/fetch/https://host/page", "/docs//page", "/a/../b", "/50%", "/x y", "/\ufffd"])
def test_an_odd_path_that_cannot_be_read_as_guarded_is_let_through(path):
    assert is_let_through(path_patterns(["/admin", "/rooms/{room}/board"]), path)


@pytest.mark.parametrize("path", ["/admin/50%", "/admin/x y", "/admin/caf\ufffd"])
def test_odd_characters_below_a_prefix_leave_no_doubt_that_it_is_guarded(path):
    assert PathPattern("/admin").begins(path) == {}


# -- behind a root path ----------------------------------------------------------------------------


def after_the_root(path, root):
    return path[len(root) :] if path.startswith(root) else path


#: How frameworks take the root path off.
ROOTS = {
    "as Starlette does": lambda path, root: path[len(root) :] if path.startswith(root + "/") else path,
    "as Quart does": after_the_root,
    "as Litestar does": lambda path, root: path.split(root, maxsplit=1)[-1] if root else path,
    "as Channels does": lambda path, root: after_the_root(path, root).lstrip("/"),
    "as a server does that leaves it in": lambda path, root: path,
}


@pytest.mark.parametrize("takes_off", ROOTS.values(), ids=ROOTS)
@given(
    root=st.sampled_from(["", "/", "/api", "/api/", "/a/b", "/rooms/2", "/rooms"]),
    path=st.lists(
        st.sampled_from(["/api", "api", "/", "/x", "/a/b", "/rooms/1", "rooms/1", "/rooms/2", "/rooms", ";x"]),
        max_size=5,
    ).map("".join),
)
@example(root="/api", path="/api/rooms/1")
@example(root="/api", path="/apirooms/1")
@example(root="/api", path="/x/api/rooms/1")
@example(root="/api/", path="/api/rooms/1")
@example(root="/rooms/2", path="/rooms/2/rooms/1")
def test_a_path_is_guarded_however_its_root_is_taken_off(takes_off, root, path):
    within = "/" + takes_off(path, root).removeprefix("/")
    read = re.match("/rooms/([^/;]+)(?:[/;]|$)", within)
    if read is None:
        return
    guarded = GuardedPaths(Guard(ANY_TOKEN), prefixes=["/rooms/{session_id}"])
    try:
        found = guarded.find_within("GET", path, root)
    except InvalidRequest:
        return
    assert found == {"session_id": read[1]}


@pytest.mark.parametrize(
    ("root", "path", "params"),
    [
        ("", "/rooms/1", {"session_id": "1"}),
        ("", "/api/rooms/1", None),
        ("/api", "/api/rooms/1/board", {"session_id": "1"}),
        ("/api", "/rooms/1", {"session_id": "1"}),
        ("/api", "/apirooms/1", {"session_id": "1"}),
        ("/api", "/x/api/rooms/1", {"session_id": "1"}),
        ("/api/", "/api/rooms/1", {"session_id": "1"}),
        ("/api", "/api/page", None),
        ("/api", "/api", None),
        ("/rooms", "/rooms/page", {"session_id": "page"}),
        ("/elsewhere", "/api/rooms/1", None),
    ],
)
def test_what_is_guarded_stands_behind_the_root_path(root, path, params):
    guarded = GuardedPaths(Guard(ANY_TOKEN), prefixes=["/rooms/{session_id}"])
    assert guarded.find_within("GET", path, root) == params


@pytest.mark.parametrize(
    ("root", "path"), [("/rooms/1", "/rooms/1/rooms/2"), ("/x", "/rooms/1/x/rooms/2"), ("/api", "/api/admin;x")]
)
def test_a_path_that_names_two_sessions_by_its_root_is_refused(root, path):
    guarded = GuardedPaths(Guard(ANY_TOKEN), prefixes=["/rooms/{session_id}", "/admin"])
    with pytest.raises(InvalidRequest, match="can be read in two ways"):
        guarded.find_within("GET", path, root)
