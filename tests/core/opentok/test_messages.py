"""The SDK's messages for what the kit has refused."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest

from rolecall.errors import Forbidden, InvalidRole, MalformedToken, RolecallError, StoreUnavailable
from rolecall.opentok import AuthError, OpenTokException, RequestError
from rolecall.opentok.messages import data_problem, expire_time_problem, raise_refusal, session_problem

pytestmark = pytest.mark.each_choice

NOW = 1_795_186_800.0
DAY = 86_400


def session_of(*parts: str) -> str:
    return "1_" + b64encode("~".join(parts).encode(), b"-_").decode().rstrip("=")


OF_ANOTHER, OF_THIS = session_of("1", "654321", "", "now"), session_of("1", "123456", "", "now")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (Forbidden("no"), AuthError),
        (StoreUnavailable("no"), RequestError),
        (InvalidRole("no"), OpenTokException),
        (MalformedToken("no"), OpenTokException),
    ],
)
def test_an_error_of_the_kit_is_one_of_the_sdk(error: RolecallError, raised: type[OpenTokException]):
    with pytest.raises(OpenTokException, match=r"^Cannot do it: no$") as caught:
        raise_refusal(error, "Cannot do it")
    assert type(caught.value) is raised
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("session_id", "problem"),
    [
        (None, "session_id was not valid None"),
        ("", "session_id was not valid "),
        ("1_a", "the session_id 1_a was not valid"),
        (OF_ANOTHER, f"the session_id {OF_ANOTHER} does not belong to the api_key 123456"),
        (OF_THIS, f"the session_id {OF_THIS} was not valid"),
    ],
)
def test_a_session_id_is_refused_as_the_sdk_parses_it(session_id, problem):
    assert session_problem(session_id, "123456") == f"Cannot generate token, {problem}"


@pytest.mark.parametrize(
    ("expiry", "message"),
    [
        (NOW - 1, "expire_time is not in the future 1795186799"),
        (NOW + 31 * DAY, "expire_time is not in the next 30 days 1797865200"),
        (timedelta(days=31), "expire_time is not in the next 30 days 1797865200"),
        (datetime.fromtimestamp(NOW - 1, UTC), "expire_time is not in the future 1795186799"),
        (datetime(2026, 1, 1), "invalid expire time soon"),
        (float("inf"), "invalid expire time soon"),
        (True, "invalid expire time soon"),
        ("soon", "invalid expire time soon"),
    ],
)
def test_an_expiry_is_refused_as_the_sdk_says_it(expiry, message):
    assert expire_time_problem("soon", expiry, NOW) == f"Cannot generate token, {message}"


@pytest.mark.parametrize(
    ("data", "layout", "message"),
    [
        ("x" * 1_001, (), "data must be less than 1000 characters"),
        ("\ud800", (), "data was not valid"),
        (7, (), "data was not valid"),
        (None, "focus", "all items in initial_layout_class_list must be strings"),
        (None, ("focus", 7), "all items in initial_layout_class_list must be strings"),
        (None, ("focus", ""), "all items in initial_layout_class_list must be strings"),
        ("name=Ada", ("x" * 1_001,), "initial_layout_class_list must be less than 1000 characters"),
        ("name=Ada", ("a b",), "data or initial_layout_class_list was not valid"),
    ],
)
def test_data_and_layout_are_refused_as_the_sdk_says_it(data, layout, message):
    assert data_problem(data, layout) == f"Cannot generate token, {message}"
