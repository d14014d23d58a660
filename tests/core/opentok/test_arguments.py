"""Arguments as the SDK takes them, before the kit checks them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from rolecall.errors import InvalidRequest
from rolecall.opentok import ArchiveModes, MediaModes, OpenTokException
from rolecall.opentok.arguments import check_archive, check_modes, expiry_of, layout_of, signal_of

pytestmark = pytest.mark.each_choice

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


class Unwilling:
    """A number that cannot be converted."""

    def __int__(self) -> int:
        raise ArithmeticError


UNWILLING = Unwilling()


@pytest.mark.parametrize(
    ("value", "expiry"),
    [
        ("1795190400", 1_795_190_400),
        (" +5 ", 5),
        ("tomorrow", "tomorrow"),
        ("1.5", "1.5"),
        (None, None),
        (1.5, 1.5),
        (MOMENT, MOMENT),
        (timedelta(hours=1), timedelta(hours=1)),
        (Decimal("7.9"), 7),
        (Decimal("NaN"), None),
        (Fraction(9, 2), 4),
        (UNWILLING, UNWILLING),
    ],
)
def test_a_moment_is_what_the_sdk_reads(value, expiry):
    found = expiry_of(value)
    assert found is value if expiry is None else (found, type(found)) == (expiry, type(expiry))


def test_layout_classes_come_from_any_collection():
    assert layout_of(name for name in ("focus", "wide")) == ("focus", "wide")
    assert layout_of(["focus"]) == ("focus",)
    for unchanged in ("focus", b"focus", {"focus": 1}, None, 7):
        assert layout_of(unchanged) is unchanged


@pytest.mark.parametrize(
    ("media", "archive", "message"),
    [
        ("routed", ArchiveModes.manual, "routed is not a valid media mode; expected "),
        (MediaModes.routed, None, "None is not a valid archive mode; expected "),
        (MediaModes.relayed, ArchiveModes.always, "must also have the routed media mode"),
    ],
)
def test_a_mode_that_is_none_is_refused(media, archive, message):
    with pytest.raises(OpenTokException, match=message):
        check_modes(media, archive)


def test_modes_that_go_together_are_taken():
    check_modes(MediaModes.routed, ArchiveModes.always)
    check_modes(MediaModes.relayed, ArchiveModes.manual)


@pytest.mark.parametrize(
    ("mode", "name", "resolution", "message"),
    [
        (ArchiveModes.manual, "lesson", None, "cannot specify a value for archive_name with archive mode: manual"),
        (ArchiveModes.manual, None, "640x480", "cannot specify a value for archive_resolution"),
        (ArchiveModes.always, "", None, "archive_name must be between 1 and 80"),
        (ArchiveModes.always, "x" * 81, None, "archive_name must be between 1 and 80"),
        (ArchiveModes.always, 7, None, "archive_name must be between 1 and 80"),
        (ArchiveModes.always, None, "1x1", "archive_resolution must be one of the allowed values: "),
    ],
)
def test_an_impossible_archive_is_refused(mode, name, resolution, message):
    with pytest.raises(OpenTokException, match=message):
        check_archive(mode, name, resolution)


def test_a_possible_archive_is_taken():
    check_archive(ArchiveModes.manual, None, None)
    check_archive(ArchiveModes.always, "x" * 80, "1280x720")


def test_a_signal_has_a_type_and_data_alone():
    assert signal_of({}) == ("", "")
    assert signal_of({"type": "chat", "data": "hello"}) == ("chat", "hello")
    with pytest.raises(InvalidRequest, match="payload is 'hello'; expected"):
        signal_of("hello")
    with pytest.raises(InvalidRequest, match="payload has 'from'; a signal carries its type and its data alone"):
        signal_of({"type": "chat", "from": "ada"})
