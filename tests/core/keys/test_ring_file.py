"""Ring files: what they hold, what is refused, and that a change is seen as a whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from rolecall.errors import InvalidKey
from rolecall.keys import HMACKey
from rolecall.keys.making import application_key, new_key, pem_of
from rolecall.keys.ring_document import MAX_DOCUMENT
from rolecall.keys.ring_file import RingFile
from rolecall.keys.rotation import added, retired, rotated
from rolecall.keys.states import RingKey

NOW = 1_795_186_800
PROJECT, APPLICATION = "123456", "6b7a1d5e-0f1b-4c56-9a77-1c2b3d4e5f60"
SECRETS = [f"{number}2df95e9fdac14502e8a27a9d8a71e87ef64a502e" for number in range(3)]
FIRST = RingKey.of(HMACKey(SECRETS[0]), "signing").id


@pytest.fixture
def file(tmp_path) -> RingFile:
    return RingFile(tmp_path / "keys.json")


def write(file: RingFile, *entries: object, **document: object) -> None:
    with open(file.path, "w", encoding="utf-8") as opened:
        json.dump({"version": 1, "issuers": {PROJECT: entries}, **document}, opened)


def with_secret(number: int, state: object = "signing", **members: object) -> dict[str, object]:
    return {"secret": SECRETS[number], "state": state, **members}


def test_what_is_written_is_read_again(file):
    made = application_key(pem_of(rsa.generate_private_key(65537, 2048)))
    file.change(PROJECT, lambda found: added(added(found, HMACKey(SECRETS[0]), NOW), HMACKey(SECRETS[1]), NOW))
    file.change(PROJECT, lambda found: retired(rotated(found, None, NOW + 10), FIRST, NOW + 10, 0))
    file.change(APPLICATION, lambda found: added(found, made, NOW))
    read = RingFile(file.path).read()
    assert [(one.id, one.state, one.since) for one in read[PROJECT]] == [
        (FIRST, "retired", NOW + 10),
        (RingKey.of(HMACKey(SECRETS[1]), "signing").id, "signing", NOW + 10),
    ]
    assert [(one.id, one.algorithm) for one in read[APPLICATION]] == [(RingKey.of(made, "signing").id, "RS256")]


def test_the_keys_of_an_issuer_that_is_a_url_are_named_by_their_thumbprints(file):
    url = "https://video.example"
    file.change(url, lambda found: added(added(found, new_key(url), NOW), new_key(url), NOW))
    assert [(one.algorithm, one.key and one.key.kid) for one in file.read()[url]] == [
        ("ES256", one.id) for one in file.read()[url]
    ]


def test_its_owner_alone_can_read_it_and_a_retired_secret_is_gone(file):
    file.change(PROJECT, lambda found: added(added(found, HMACKey(SECRETS[0]), NOW), HMACKey(SECRETS[1]), NOW))
    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o600
    file.change(PROJECT, lambda found: retired(found, RingKey.of(HMACKey(SECRETS[1]), "signing").id, NOW, 0))
    with open(file.path, encoding="utf-8") as opened:
        text = opened.read()
    assert (SECRETS[0] in text, SECRETS[1] in text) == (True, False)
    assert sorted(os.listdir(os.path.dirname(file.path))) == ["keys.json", "keys.json.lock"]


def test_a_link_to_the_file_stays_a_link(file, tmp_path):
    link = RingFile(tmp_path / "link.json")
    file.change(PROJECT, lambda found: added(found, HMACKey(SECRETS[0]), NOW))
    os.symlink("keys.json", link.path)
    link.change(PROJECT, lambda found: added(found, HMACKey(SECRETS[1]), NOW))
    assert os.path.islink(link.path)
    assert len(file.read()[PROJECT]) == 2


def test_a_file_written_by_hand_needs_states_and_keys_alone(file):
    write(file, with_secret(0), with_secret(1, "verifying", since=NOW))
    assert [(one.state, one.since) for one in file.read()[PROJECT]] == [("signing", None), ("verifying", NOW)]


BAD = {
    "two that sign": ([with_secret(0), with_secret(1)], "2 keys are signing"),
    "none that signs": ([with_secret(0, "published")], "no key is signing"),
    "an unknown state": ([with_secret(0, "asleep")], "its state is 'asleep'; the states are published, signing"),
    "no state": ([{"secret": SECRETS[0]}], "its state is None"),
    "the same key twice": ([with_secret(0), with_secret(0, "verifying")], "is in the ring twice"),
    "a member misspelt": ([with_secret(0, sinse=1)], "expected an object with members among"),
    "no object": ([SECRETS[0]], "expected an object"),
    "no key": ([{"state": "signing"}], "expected its 'secret' as text, and no 'private_key'"),
    "two keys": ([with_secret(0, private_key="x")], "expected its 'secret' as text, and no 'private_key'"),
    "the id of another": ([with_secret(0, id="0123")], "its id is '0123', and its key's is"),
    "a time that is none": ([with_secret(0, since="now")], "its since is 'now'; expected Unix seconds"),
    "a short secret": ([{"secret": "short", "state": "signing"}], "the secret has 5 bytes"),
    "a public secret": ([{"secret": "a" * 40, "state": "signing"}], "publicly known"),
    "no private key": ([{"private_key": SECRETS[0], "state": "signing"}], "expected its 'secret' as text"),
    "a retired key without id": ([with_secret(0), {"state": "retired"}], "a retired key has its id"),
}


@pytest.mark.parametrize(("entries", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_by_a_message_that_quotes_no_key(file, entries, message):
    write(file, *entries)
    with pytest.raises(InvalidKey, match=message) as caught:
        file.read()
    assert file.path in str(caught.value)
    assert not any(secret in f"{caught.value}{show_frames(caught.value)}" for secret in SECRETS)


def show_frames(error: BaseException) -> str:
    """The local variables of the traceback's frames, beyond this test's."""
    shown, frame = [], error.__traceback__ and error.__traceback__.tb_next
    while frame is not None:
        shown.append(repr(frame.tb_frame.f_locals))
        frame = frame.tb_next
    return f"{shown}{error.__context__ and show_frames(error.__context__)}"


DOCUMENTS = {
    "empty": ("", "not JSON"),
    "half": ('{"version": 1, "issuers": {', "not JSON"),
    "a list": ("[]", "not a JSON object"),
    "another version": ('{"version": 2, "issuers": {}}', "its version is not 1"),
    "a member more": ('{"version": 1, "issuers": {}, "keys": []}', "other members than"),
    "one name twice": ('{"version": 1, "version": 1, "issuers": {}}', "stands twice"),
    "too long": (" " * (MAX_DOCUMENT + 1), "more than 262144 bytes"),
    "no list": ('{"version": 1, "issuers": {"123456": {}}}', "expected a list of keys"),
}


@pytest.mark.parametrize(("text", "message"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_what_is_no_ring_file_is_refused(file, text, message):
    with open(file.path, "w", encoding="utf-8") as opened:
        opened.write(text)
    with pytest.raises(InvalidKey, match=message):
        file.read()


def test_a_change_that_is_refused_leaves_the_file_as_it_was(file):
    file.change(PROJECT, lambda found: added(found, HMACKey(SECRETS[0]), NOW))
    before = file.read()
    with pytest.raises(InvalidKey, match="no key is signing"):
        file.change(PROJECT, lambda found: tuple(one._replace(state="verifying") for one in found))
    assert file.read() == before


def test_a_fourth_secret_is_refused_because_all_are_tried(file):
    for _ in range(3):
        file.change(PROJECT, lambda found: added(found, new_key(PROJECT), NOW))
    with pytest.raises(InvalidKey, match="at most 3"):
        file.change(PROJECT, lambda found: added(found, new_key(PROJECT), NOW))


def test_changes_at_the_same_time_are_all_kept_and_a_reader_sees_no_half_of_one(file):
    issuers = [f"{number}" for number in range(24)]
    file.change("0", lambda found: found or added(found, new_key("0"), NOW))

    def change(issuer: str) -> None:
        RingFile(file.path).change(issuer, lambda found: added(found, new_key(issuer), NOW))
        file.read()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, issuers[1:]))
    assert sorted(file.read()) == sorted(issuers)


def test_a_file_in_a_folder_that_does_not_exist_says_so(tmp_path):
    with pytest.raises(InvalidKey, match="its folder must exist"):
        RingFile(tmp_path / "no" / "keys.json").change(PROJECT, tuple)


def test_retired_keys_do_not_fill_the_file(file):
    file.change(PROJECT, lambda found: added(found, new_key(PROJECT), NOW))
    gone = tuple(RingKey(f"{number:016x}", "retired", "HS256", NOW) for number in range(200))
    file.change(PROJECT, lambda found: (*gone, *found))
    assert [one.id for one in file.read()[PROJECT]][:-1] == [one.id for one in gone[-100:]]
