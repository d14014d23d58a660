"""The URLs of Redis stores: what they may say, and what each refusal says; no server is asked."""

from __future__ import annotations

import pytest

from rolecall.errors import ConfigurationError
from rolecall.stores import SCHEMES
from rolecall.stores import redis_url as module
from rolecall.stores.redis_url import RedisURL


def parse(url: str) -> RedisURL:
    return RedisURL.parse(url)


def test_a_host_alone_is_enough():
    url = parse("redis://db.example")
    assert (url.hosts, url.kind, url.uses_tls, url.db) == ((("db.example", 6379),), "", False, 0)
    assert (url.timeout, url.max_staleness, url.connections, url.replicas) == (0.4, 1.0, 50, 0)
    assert (url.prefix, url.is_durable, url.username, url.password) == ("rolecall", True, None, None)


def test_all_schemes_are_the_kits():
    assert set(module.SCHEMES) <= set(SCHEMES)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("redis://h:1", [("h", 1)]),
        ("redis://[::1]", [("::1", 6379)]),
        ("redis://[::1]:7", [("::1", 7)]),
        ("redis+sentinel://a,b:1,[::1]:2/kit", [("a", 26379), ("b", 1), ("::1", 2)]),
        ("redis+cluster://a,b:1", [("a", 6379), ("b", 1)]),
    ],
)
def test_hosts(text, hosts):
    assert parse(text).hosts == tuple(hosts)


def test_what_is_encoded_is_decoded():
    url = parse("rediss://us%65r:p%40ss%2F%23%3F@h/3?ssl_ca_certs=%2Fca.pem&ssl_certfile=c&ssl_keyfile=k")
    assert (url.username, url.password, url.db, url.uses_tls) == ("user", "p@ss/#?", 3, True)
    assert url.certificates == (("ssl_ca_certs", "/ca.pem"), ("ssl_certfile", "c"), ("ssl_keyfile", "k"))
    assert parse("redis+unix:///run/my%20redis.sock?db=2").path == "/run/my redis.sock"
    assert parse("redis+unix://:word@/redis.sock").password == "word"


def test_a_sentinel_names_a_service_and_may_name_a_database_and_its_own_login():
    url = parse("rediss+sentinel://u:p@a,b/kit/5?sentinel_username=s&sentinel_password=t&timeout=1&replicas=2")
    assert (url.kind, url.uses_tls, url.service, url.db) == ("sentinel", True, "kit", 5)
    assert (url.sentinel_username, url.sentinel_password, url.timeout, url.replicas) == ("s", "t", 1.0, 2)


@pytest.mark.parametrize("text", ["redis+sentinel://a/kit", "redis+cluster://a"])
def test_where_another_server_may_take_over_a_replica_must_have_a_change(text):
    assert parse(text).replicas == 1
    assert parse(f"{text}?replicas=0").replicas == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redis://", "has no host"),
        ("redis://h:0", "has no host"),
        ("redis://h:99999", "has no host"),
        ("redis://h:x", "has no host"),
        ("redis://a b", "has no host"),
        ("redis://a,b", "several hosts"),
        ("redis://h/x", "has the database 'x'"),
        ("redis://h/1?db=2", "twice"),
        ("redis://h#1", "write # as %23"),
        ("redis://secret@h", "no user:password"),
        ("redis://h?timout=1", "unknown option 'timout'; did you mean timeout"),
        ("redis://h?x=1", "expected timeout, max_staleness"),
        ("redis://h?timeout=1&timeout=2", "an option twice"),
        ("redis://h?timeout=0", "timeout='0'; expected a number from 0.05 to 10"),
        ("redis://h?timeout=nan", "timeout='nan'"),
        ("redis://h?connections=1.5", "connections='1.5'"),
        ("redis://h?max_staleness=61", "from 0.2 to 60"),
        ("redis://h?durability=rdb", "expected aof, or none"),
        ("redis://h?prefix={a}", "letters, digits"),
        ("redis://h?ssl_ca_certs=x", "write rediss://"),
        ("redis+sentinel://h?ssl_ca_certs=x", "names no service"),
        ("redis+sentinel://h/kit?ssl_ca_certs=x", r"write rediss\+sentinel://"),
        ("redis+sentinel://h/kit?sentinel_username=x", "no sentinel_password"),
        ("redis+cluster://h/1", "one database"),
        ("redis+unix://", "names no Unix socket"),
        ("redis+unix://h/x.sock", "three slashes"),
    ],
)
def test_what_is_wrong_is_named(text, message):
    with pytest.raises(ConfigurationError, match=message) as refused:
        parse(text)
    assert "secret" not in str(refused.value)


def test_no_password_is_shown():
    assert repr(parse("redis://:hunter2@h?sentinel_password=hunter3")) == "<RedisURL redis://…>"


@pytest.mark.parametrize("scheme", sorted(module.SCHEMES))
@pytest.mark.parametrize("character", ["@", "/", "?", "#"])
def test_a_password_that_is_not_encoded_is_refused_and_no_part_of_it_shown(scheme, character):
    for url in (f"{scheme}://user:s3cr{character}3t=1@h:1/0", f"{scheme}://:s3cr{character}3t@h"):
        with pytest.raises(ConfigurationError, match="write") as refused:
            parse(url)
        assert "s3cr" not in str(refused.value)
        assert "3t" not in str(refused.value)
