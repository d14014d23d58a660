"""What a kit may be told about browsers, and what it refuses to be told."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rolecall import Web
from rolecall.errors import ConfigurationError

from ...ids import as_text
from ...untyped import untyped


def test_everything_is_off_unless_it_is_switched_on():
    web = Web()
    assert (web.origins, web.cookie, web.query, web.header_alone) == (frozenset(), None, None, True)


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example:80",
        "http://app.example:443",
        "https://app.example.",
        "https://my_app.example",
        "https://xn--bcher-kva.example",
        "http://localhost",
        "http://localhost:3000",
        "http://127.0.0.1:5000",
        "http://[::1]",
        "http://[::1]:3000",
        "http://[2001:db8::80]",
        "https://app.example:65535",
        f"https://{'a' * 63}.example",
    ],
)
def test_an_origin_is_taken_as_browsers_send_it(origin):
    assert Web(origins=[origin]).origins == {origin}


@pytest.mark.parametrize(
    ("origin", "advice"),
    [
        ("*", "there is no wildcard"),
        ("https://*", "there is no wildcard"),
        ("https://*.app.example", "there is no wildcard"),
        ("https://app.example:*", "there is no wildcard"),
        ("null", "it cannot be listed"),
        ("", "begin it with 'https://'"),
        ("app.example", "begin it with 'https://'"),
        ("//app.example", "begin it with 'https://'"),
        (" https://app.example", "white space at its beginning"),
        ("'https://app.example'", "quotes around it"),
        ("file:///index.html", "begin it with 'https://'"),
        ("javascript:alert(1)", "begin it with 'https://'"),
        ("https:app.example", "begin it with 'https://'"),
        ("https://app.example/", "leave out what follows host and port"),
        ("https://app.example:8443/", "leave out what follows host and port"),
        ("https://app.example/path", "leave out what follows host and port"),
        ("https://app.example?a=b", "leave out what follows host and port"),
        ("https://app.example#top", "leave out what follows host and port"),
        ("https://ada@app.example", "leave out the user"),
        ("https://ada:password@app.example", "leave out the user"),
        ("https://App.example", "small letters"),
        ("HTTPS://app.example", "small letters"),
        ("https://bücher.example", "Punycode"),
        ("https://аpp.example", "Punycode"),
        ("https://app.example:443", "the port is the usual one"),
        ("http://app.example:80", "the port is the usual one"),
        ("http://[::1]:80", "the port is the usual one"),
        ("https://", "expected scheme, host"),
        ("https://:8443", "expected scheme, host"),
        ("https://app.example:", "expected scheme, host"),
        ("https://app.example:0", "expected scheme, host"),
        ("https://app.example:08443", "expected scheme, host"),
        ("https://app.example:65536", "expected scheme, host"),
        ("https://app.example:https", "expected scheme, host"),
        ("https://app.example ", "white space at its end"),
        ("https://app.example\n", "a line end at its end"),
        ("https://app.example,https://b.example", "each stands alone: in a list"),
        ("https://app.example https://b.example", "each stands alone: in a list"),
        ("https://app..example", "expected scheme, host"),
        ("https://.app.example", "expected scheme, host"),
        ("https://-app.example", "expected scheme, host"),
        ("https://.", "expected scheme, host"),
        ("https://app%2eexample", "expected scheme, host"),
        ("https://app.example\\@b.example", "leave out the user"),
        (f"https://{'a' * 64}.example", "expected scheme, host"),
        (f"https://{'a.' * 126}example", "expected scheme, host"),
        ("http://127.1", "expected scheme, host"),
        ("http://127.0.0.01", "expected scheme, host"),
        ("http://2130706433", "expected scheme, host"),
        ("http://0x7f000001", "expected scheme, host"),
        ("http://[0:0:0:0:0:0:0:1]", "expected scheme, host"),
        ("http://[::0001]", "expected scheme, host"),
        ("http://[::1", "expected scheme, host"),
        ("http://::1", "expected scheme, host"),
        ("http://[]", "expected scheme, host"),
        ("http://[fe80::1%25eth0]", "expected scheme, host"),
        (None, "expected a string"),
        (b"https://app.example", "expected a string"),
        (443, "expected a string"),
    ],
)
def test_what_is_no_origin_is_refused_with_what_to_do(origin, advice):
    with pytest.raises(ConfigurationError, match=advice):
        Web(origins=["https://good.example", origin])


def test_the_password_in_an_origin_is_not_quoted():
    with pytest.raises(ConfigurationError, match="leave out the user") as stopped:
        Web(origins=["https://ada:password@app.example"])
    assert "password" not in str(stopped.value)


@given(st.text() | st.from_regex(r"https?://[a-z0-9.*@:/\[\]-]{0,12}"))
@example("https://a\n.example")
def test_whatever_is_listed_is_an_origin_or_one_error(origin):
    try:
        listed = Web(origins=[origin]).origins
    except ConfigurationError:
        return
    assert listed == {origin}
    assert origin.isascii()
    assert not set(origin.partition("://")[2]) & set("*@/?# ")


@pytest.mark.parametrize("origins", ["https://app.example", b"https://app.example", None, 5, iter(())], ids=as_text)
def test_origins_are_a_list(origins):
    with pytest.raises(ConfigurationError, match="expected a list"):
        Web(origins=origins)


@pytest.mark.parametrize("name", ["__Host-rolecall", "__Host-a", "__Host-A_b-9", "__Host-" + "x" * 64])
def test_a_cookies_name_keeps_it_to_the_host(name):
    assert Web(cookie=name).cookie == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "rolecall",
        "__Host-",
        "__host-rolecall",
        "__Secure-rolecall",
        "__Host-role call",
        "__Host-role;call",
        "__Host-role=call",
        "__Host-röle",
        "__Host-rolecall\r\nSet-Cookie: a=b",
        "__Host-rolecall\n",
        "__Host-" + "x" * 65,
        "__Host-rolecall-csrf",
        b"__Host-rolecall",
        True,
    ],
    ids=as_text,
)
def test_another_name_of_a_cookie_is_refused(name):
    with pytest.raises(ConfigurationError, match="__Host-rolecall"):
        Web(cookie=name)


@pytest.mark.parametrize(
    "name", ["", "access token", "a&b", "a=b", "a%62", "ä", "access_token\n", "x" * 65, b"a", True]
)
def test_a_name_that_is_no_parameters_is_refused(name):
    with pytest.raises(ConfigurationError, match="access_token"):
        Web(query=name)


@pytest.mark.parametrize(
    ("argument", "least", "most"),
    [("recheck", 0.05, 60), ("body_timeout", 0.001, 120)],
    ids=["recheck", "body_timeout"],
)
def test_seconds_are_within_their_limits(argument, least, most):
    for value in (least, most, 1):
        assert getattr(Web(**{argument: untyped(value)}), argument) == value
    for value in (least / 2, most + 1, 0, -1, True, "5", None, float("nan"), float("inf")):
        with pytest.raises(ConfigurationError, match=argument):
            Web(**{argument: untyped(value)})


@pytest.mark.parametrize("value", [None, 0, "yes", []], ids=as_text)
def test_the_description_is_on_or_off(value):
    with pytest.raises(ConfigurationError, match="expected True or False"):
        Web(openapi=value)


@pytest.mark.parametrize(("options", "alone"), [({}, True), ({"cookie": "__Host-a"}, False), ({"query": "a"}, False)])
def test_it_says_whether_the_header_is_the_only_place(options, alone):
    assert Web(**options).header_alone == alone


def test_it_does_not_change_once_it_is_made():
    origins = ["https://app.example"]
    web = Web(origins=origins)
    origins.append("https://other.example")
    assert web.origins == {"https://app.example"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(web, "cookie", "rolecall")


@pytest.mark.parametrize("web", [None, {}, {"origins": []}, Web, "https://app.example"], ids=as_text)
def test_a_kit_takes_nothing_else_for_it(make_kit, web):
    with pytest.raises(ConfigurationError, match="expected a rolecall"):
        make_kit(web=web)
