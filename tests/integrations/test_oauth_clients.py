"""Authlib's client asks running servers about tokens, and revokes them, without a word of this kit in it."""

from __future__ import annotations

import time

import pytest
from authlib.integrations.requests_client import OAuth2Session

from rolecall import RevokedToken

pytestmark = pytest.mark.server

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
SITES = ("flask", "starlette", "wsgi")
METHODS = ("client_secret_basic", "client_secret_post")


def client(method: str, secret: str = SECRET, key: str = KEY) -> OAuth2Session:
    return OAuth2Session(key, secret, token_endpoint_auth_method=method, revocation_endpoint_auth_method=method)


@pytest.fixture
def kit(make_kit):
    return make_kit(clock=time.time)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("site", SITES)
def test_it_learns_of_a_token_revokes_it_and_learns_of_that(sites, kit, site, method):
    url = f"http://127.0.0.1:{sites[site].port}/video/tokens"
    session = kit.create_session()
    token, other = session.generate_token("moderator"), session.generate_token()
    with client(method) as oauth:
        answer = oauth.introspect_token(f"{url}/introspect", token, "access_token")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
        said = answer.json()
        assert (said["active"], said["client_id"], said["sid"]) == (True, KEY, session.session_id)
        assert said["exp"] == kit.verify_token(token).expires_at
        answer = oauth.revoke_token(f"{url}/revoke", token, "refresh_token")
        assert (answer.status_code, answer.content) == (200, b"")
        assert oauth.introspect_token(f"{url}/introspect", token).json() == {"active": False}
        assert oauth.introspect_token(f"{url}/introspect", other).json()["active"] is True


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("site", SITES)
def test_without_the_secret_it_learns_nothing(sites, kit, site, method):
    url = f"http://127.0.0.1:{sites[site].port}/video/tokens"
    with client(method, "f" * 40) as oauth:
        for answer in (
            oauth.introspect_token(f"{url}/introspect", kit.create_session().generate_token()),
            oauth.revoke_token(f"{url}/revoke", "x"),
        ):
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="rolecall"'


@pytest.mark.parametrize("method", METHODS)
def test_a_secret_that_a_form_writes_in_another_way_is_taken_as_it_sends_it(protected, method):
    token = protected.kit.create_session().generate_token()
    with client(method, protected.secret) as oauth:
        assert oauth.introspect_token(f"{protected.url}/tokens/introspect", token).json()["active"] is True
        assert oauth.revoke_token(f"{protected.url}/tokens/revoke", token).status_code == 200
    with pytest.raises(RevokedToken):
        protected.kit.verify_token(token)
