"""The exception tree: stable codes, statuses, and messages that are safe to show."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall import Rolecall, errors
from rolecall.errors import RolecallError
from rolecall.formats.followed import only_verifies
from rolecall.wording import moment, shown, shown_key

#: What clients rely on: the code, the HTTP status, and the challenge's error code.
TREE = {
    errors.RolecallError: ("rolecall_error", 500, None),
    errors.ConfigurationError: ("configuration_error", 500, None),
    errors.InvalidKey: ("invalid_key", 500, None),
    errors.PluginError: ("invalid_plugin", 500, None),
    errors.InvalidRequest: ("invalid_request", 400, None),
    errors.NotServed: ("not_served", 501, None),
    errors.OnlyVerifies: ("only_verifies", 501, None),
    errors.SignalTooLarge: ("signal_too_large", 413, None),
    errors.InvalidSessionId: ("invalid_session_id", 400, None),
    errors.InvalidSessionOption: ("invalid_session_option", 400, None),
    errors.InvalidRole: ("invalid_role", 400, None),
    errors.InvalidExpireTime: ("invalid_expire_time", 400, None),
    errors.InvalidData: ("invalid_data", 400, None),
    errors.SessionNotFound: ("session_not_found", 404, None),
    errors.SessionEnded: ("session_ended", 410, None),
    errors.InvalidToken: ("invalid_token", 401, "invalid_token"),
    errors.MalformedToken: ("malformed_token", 401, "invalid_token"),
    errors.WrongTokenKind: ("wrong_token_kind", 401, "invalid_token"),
    errors.UnknownKey: ("unknown_key", 401, "invalid_token"),
    errors.BadSignature: ("bad_signature", 401, "invalid_token"),
    errors.InvalidClaim: ("invalid_claim", 401, "invalid_token"),
    errors.ExpiredToken: ("expired_token", 401, "invalid_token"),
    errors.TokenNotYetValid: ("token_not_yet_valid", 401, "invalid_token"),
    errors.RevokedToken: ("revoked_token", 401, "invalid_token"),
    errors.WrongSession: ("wrong_session", 403, "insufficient_scope"),
    errors.Forbidden: ("forbidden", 403, None),
    errors.InsufficientRole: ("insufficient_role", 403, "insufficient_scope"),
    errors.PolicyDenied: ("policy_denied", 403, None),
    errors.MissingCredential: ("missing_token", 401, None),
    errors.MalformedCredential: ("malformed_credential", 400, "invalid_request"),
    errors.MethodNotAllowed: ("method_not_allowed", 405, None),
    errors.BodyTooLarge: ("body_too_large", 413, None),
    errors.UnsupportedMediaType: ("unsupported_media_type", 415, None),
    errors.Unavailable: ("unavailable", 503, None),
    errors.StoreUnavailable: ("store_unavailable", 503, None),
    errors.KeysUnavailable: ("keys_unavailable", 503, None),
    errors.PolicyFault: ("policy_fault", 503, None),
}

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, RolecallError)]


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_code_status_and_challenge_are_stable(error):
    assert (error.code, error.status, error.challenge) == TREE[error]


def test_no_two_errors_share_a_code():
    codes = [error.code for error in CLASSES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_every_error_says_when_it_is_raised(error):
    assert inspect.getdoc(error)
    assert error.__doc__ != error.__base__.__doc__


@pytest.mark.parametrize("error", [errors.ConfigurationError, errors.InvalidRequest])
def test_bad_arguments_are_value_errors(error):
    assert issubclass(error, ValueError)


def test_a_refused_token_is_not_a_bad_argument():
    assert not issubclass(errors.InvalidToken, ValueError)


def test_what_is_not_found_is_a_lookup_error():
    assert issubclass(errors.SessionNotFound, LookupError)


#: Errors with a status of faults that tell a client what this service does not do, or which part of it is not ready.
TOLD = (errors.NotServed, errors.OnlyVerifies, errors.NotReady)
FAULTS = [error for error in CLASSES if error.status >= 500 and error not in TOLD]


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: error.__name__)
def test_a_fault_of_the_server_is_not_told_to_clients(error):
    assert "disk is full" not in error("disk is full").public_message


def test_what_is_not_served_is_named_to_clients():
    assert "archives: not served here" in errors.NotServed("archives").public_message


def test_that_a_service_only_verifies_is_told_to_clients():
    assert only_verifies().public_message == str(only_verifies())


def test_the_parts_that_fail_a_health_check_are_named_to_clients():
    assert errors.NotReady("not ready: store").public_message == "not ready: store"


def test_the_clients_own_mistake_is_told_to_it():
    assert errors.InvalidRole("role 'king' does not exist").public_message == "role 'king' does not exist"


def test_a_denial_carries_the_policys_own_code():
    assert errors.PolicyDenied("too late", "class_is_over").code == "class_is_over"


def test_a_denial_without_a_code_has_the_standard_one():
    assert errors.PolicyDenied("too late").code == "policy_denied"


@given(st.text())
def test_shown_text_is_short_printable_ascii_without_line_ends(text):
    words = shown(text).removesuffix("…")
    assert words.isascii()
    assert words.isprintable()
    assert len(words) <= 10 * 25 + 2


@given(
    st.binary() | st.lists(st.integers()) | st.decimals() | st.complex_numbers() | st.dictionaries(st.text(), st.text())
)
def test_shown_objects_are_named_by_their_type_alone(value):
    assert shown(value) == f"a value of type {type(value).__name__}"


@pytest.mark.parametrize("value", [10**24, -(10**24), 10**5000], ids=["big", "negative", "5,001 digits"])
def test_a_huge_integer_is_not_written_out(value):
    assert shown(value) == "a huge int"


@pytest.mark.parametrize("value", [True, None, 0, -1, 1.5, float("nan"), float("inf")])
def test_small_values_are_shown_as_they_are(value):
    assert shown(value) == repr(value)


def test_a_moment_is_readable_by_people_and_by_machines():
    assert moment(1_795_189_572.9) == "2026-11-20T15:46:12Z (1795189572)"


@given(st.floats())
def test_every_float_has_a_moment(seconds):
    assert moment(seconds).isascii()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("123456", "'123456'"),
        ("tenant-three", "'tenant-three'"),
        ("7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34", "'7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34'"),
        ("aB3dE6gH9jK2mN5p", "a text of 16 characters"),
        ("c0ffee7890abcdef1234567890abcdef12345678", "a text of 40 characters"),
        ("7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d3?", "a text of 36 characters"),
        ('a"\n', "'a\"\\n'"),
        (123456, "123456"),
        (None, "None"),
    ],
)
def test_an_api_key_is_shown_unless_it_may_be_the_secret(key, text):
    assert shown_key(key) == text


def test_a_kit_whose_key_may_be_the_secret_does_not_show_it():
    swapped = "c0ffee7890abcdef1234567890abcdef12345678"
    with Rolecall(swapped, "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34", entry_points=False) as kit:
        assert swapped[:6] not in repr(kit) + repr(kit.aio)
