"""Rings in a store: sealed, changed by one process at a time, and refused when they were moved or damaged."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from rolecall.driver import InlineDriver
from rolecall.driver.threads import ThreadPools
from rolecall.errors import InvalidKey, StoreUnavailable
from rolecall.keys import HMACKey
from rolecall.keys.making import application_key, new_key, pem_of
from rolecall.keys.ring_document import MAX_DOCUMENT
from rolecall.keys.ring_store import DOCUMENT, RingStore
from rolecall.keys.rotation import added, retired, rotated
from rolecall.keys.sealing import WrappingKeys
from rolecall.keys.states import RingKey
from rolecall.stores import open_store
from rolecall.stores.memory import MemoryStore
from rolecall.stores.synchronous import SyncDocuments, change_of

from .test_ring_file import APPLICATION, FIRST, NOW, PROJECT, SECRETS, show_frames

KEY, OTHER = secrets.token_bytes(32), secrets.token_bytes(32)
SECOND = "654321"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def rings_in(store, *keys: bytes) -> RingStore:
    documents = SyncDocuments(store, InlineDriver(ThreadPools()), lambda: 5.0)
    return RingStore(documents, WrappingKeys(keys or [KEY]))


@pytest.fixture
def rings(store) -> RingStore:
    """Two secrets of a project, of which the first signs."""
    found = rings_in(store)
    found.change(PROJECT, lambda ring: added(added(ring, HMACKey(SECRETS[0]), NOW), HMACKey(SECRETS[1]), NOW))
    return found


def document(store: MemoryStore) -> dict[str, list[dict[str, object]]]:
    found = store.get_document(DOCUMENT)
    assert found is not None
    issuers: dict[str, list[dict[str, object]]] = json.loads(found[1])["issuers"]
    return issuers


def overwrite(store: MemoryStore, text: str) -> None:
    version, _ = store.get_document(DOCUMENT) or (0, "")
    assert store.put_document(DOCUMENT, text, version)


def write(store: MemoryStore, issuers: dict[str, list[dict[str, object]]]) -> None:
    overwrite(store, json.dumps({"version": 1, "issuers": issuers}))


def test_what_is_written_is_read_again(store, rings):
    made = application_key(pem_of(rsa.generate_private_key(65537, 2048)))
    rings.change(PROJECT, lambda ring: retired(rotated(ring, None, NOW + 10), FIRST, NOW + 10, 0))
    rings.change(APPLICATION, lambda ring: added(ring, made, NOW))
    read = rings_in(store).read()
    assert [(one.id, one.state, one.since) for one in read[PROJECT]] == [
        (FIRST, "retired", NOW + 10),
        (RingKey.of(HMACKey(SECRETS[1]), "signing").id, "signing", NOW + 10),
    ]
    assert [one.id for one in read[APPLICATION]] == [RingKey.of(made, "signing").id]
    ring = rings_in(store).rings()(PROJECT)
    assert ring is not None
    assert ring.current.sign(b"a") == HMACKey(SECRETS[1]).sign(b"a")


def test_no_secret_stands_in_the_store_and_a_retired_one_is_gone(store, rings):
    private = rsa.generate_private_key(65537, 2048)
    rings.change(APPLICATION, lambda ring: added(ring, application_key(pem_of(private)), NOW))
    content = store.get_document(DOCUMENT)[1]
    assert not any(secret in content for secret in (*SECRETS, "PRIVATE KEY", KEY.hex()))
    rings.change(PROJECT, lambda ring: retired(ring, RingKey.of(HMACKey(SECRETS[1]), "signing").id, NOW, 0))
    assert [sorted(one) for one in document(store)[PROJECT]] == [
        ["algorithm", "id", "secret", "since", "state"],
        ["algorithm", "id", "since", "state"],
    ]


def test_a_store_without_the_document_has_no_rings(store):
    rings = rings_in(store)
    assert (rings.read(), rings.listed(), rings.rings()(PROJECT), rings.sealed_by()) == ({}, {}, None, {})


def test_keys_that_are_swapped_between_issuers_are_refused(store, rings):
    rings.change(SECOND, lambda ring: added(ring, HMACKey(SECRETS[2]), NOW))
    issuers = document(store)
    write(store, {PROJECT: issuers[SECOND], SECOND: issuers[PROJECT]})
    for issuer in (PROJECT, SECOND):
        with pytest.raises(InvalidKey, match=f"key 1 of '{issuer}': its sealed secret does not open"):
            rings_in(store).rings()(issuer)


def test_keys_that_are_swapped_within_a_ring_are_refused(store, rings):
    (first, second) = document(store)[PROJECT]
    first["secret"], second["secret"] = second["secret"], first["secret"]
    write(store, {PROJECT: [first, second]})
    with pytest.raises(InvalidKey, match="does not open"):
        rings_in(store).read()


def test_another_key_that_was_sealed_for_an_entry_is_refused(store):
    class Wrong(HMACKey):
        """A key with the id of another one."""

        def derive(self, purpose):
            return HMACKey(SECRETS[0]).derive(purpose)

    rings_in(store).change(PROJECT, lambda ring: added(ring, Wrong(SECRETS[1]), NOW))
    with pytest.raises(InvalidKey, match=f"its id is '{FIRST}', and its key's is"):
        rings_in(store).read()


DAMAGED = {
    "no JSON": ("{", "the keys in the store cannot be used: not JSON"),
    "another version": ('{"version": 2, "issuers": {}}', "its version is not 1"),
    "not sealed": (
        json.dumps({"version": 1, "issuers": {PROJECT: [{"secret": SECRETS[0], "state": "signing"}]}}),
        "key 1 of '123456': it is not sealed, or its sealed text is damaged; restore a backup",
    ),
    "too long": (" " * MAX_DOCUMENT + "{}", "more than 262144 bytes"),
}


@pytest.mark.parametrize(("text", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_document_is_refused_and_stays(store, text, message):
    overwrite(store, text)
    for call in (lambda: rings_in(store).read(), lambda: rings_in(store).change(PROJECT, tuple)):
        with pytest.raises(InvalidKey, match=message) as caught:
            call()
        assert SECRETS[0] not in str(caught.value)
    assert store.get_document(DOCUMENT) == (1, text)


def test_a_ring_of_another_kit_with_another_wrapping_key_disturbs_nobody(store, rings):
    other = rings_in(store, OTHER)
    other.change(SECOND, lambda ring: added(ring, HMACKey(SECRETS[2]), NOW))
    assert rings.rings()(PROJECT) is not None
    assert other.rings()(SECOND) is not None
    with pytest.raises(InvalidKey, match=r"is sealed with the wrapping key [0-9a-f]{16}, and those given are"):
        rings.read()
    assert {issuer: len(ring) for issuer, ring in rings.listed().items()} == {PROJECT: 2, SECOND: 1}
    assert rings.sealed_by() == {WrappingKeys([KEY]).ids[0]: 2, WrappingKeys([OTHER]).ids[0]: 1}


def test_a_change_leaves_the_other_keys_as_they_are_sealed(store, rings):
    before = document(store)[PROJECT]
    rings_in(store, OTHER, KEY).change(PROJECT, lambda ring: rotated(ring, None, NOW, force=True))
    assert [one["secret"] for one in document(store)[PROJECT]] == [one["secret"] for one in before]


def test_a_change_that_is_refused_leaves_the_document_as_it_was(store, rings):
    before = store.get_document(DOCUMENT)
    with pytest.raises(InvalidKey, match="no key is signing") as caught:
        rings.change(PROJECT, lambda ring: tuple(one._replace(state="verifying") for one in ring))
    assert store.get_document(DOCUMENT) == before
    assert not any(secret in show_frames(caught.value) for secret in SECRETS)


def test_a_secret_that_is_the_wrapping_key_is_not_taken(store, rings):
    with pytest.raises(InvalidKey, match="is the wrapping key, too"):
        rings.change(PROJECT, lambda ring: added(ring, HMACKey(KEY.hex()), NOW))
    rings_in(store, OTHER).change(SECOND, lambda ring: added(ring, HMACKey(KEY.hex()), NOW))
    with pytest.raises(InvalidKey, match="is the wrapping key, too"):
        rings_in(store, KEY, OTHER).rings()(SECOND)


def test_rings_that_are_too_long_are_refused(rings):
    gone = tuple(RingKey(f"{number:0100}", "retired", "HS256", NOW) for number in range(100))

    def fill() -> None:
        for number in range(30):
            rings.change(str(number), lambda _: (*gone, *added((), new_key(PROJECT), NOW)))

    with pytest.raises(InvalidKey, match="and 262144 are the most"):
        fill()
    assert len(rings.listed()) > 8


@pytest.mark.parametrize("answer", ["document", (1, None), ("1", "{}"), (1,), 5])
def test_a_store_that_answers_nonsense_is_unavailable(store, rings, monkeypatch, answer):
    monkeypatch.setattr(MemoryStore, "get_document", lambda *_: answer)
    with pytest.raises(StoreUnavailable, match="expected a version and a content, or None"):
        rings.read()


# -- several at once -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_changes_at_the_same_time_are_all_kept(tmp_path, scheme):
    url = f"sqlite:///{tmp_path / 'keys.db'}"
    shared = MemoryStore()

    def opened() -> RingStore:
        return rings_in(shared if scheme == "memory" else open_store(url))

    def change(issuer: str) -> None:
        opened().change(issuer, lambda ring: added(ring, new_key(issuer), NOW))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, [PROJECT] * 3 + [f"{number}" for number in range(13)]))
    read = opened().read()
    assert sorted(read) == sorted([PROJECT, *(f"{number}" for number in range(13))])
    assert [one.state for one in read[PROJECT]] == ["signing", "published", "published"]


def test_a_change_that_another_process_overtakes_is_made_to_what_that_one_left(store):
    calls = []

    def add(ring):
        calls.append(len(ring))
        if len(calls) == 1:  # another process is quicker
            rings_in(store).change(PROJECT, lambda there: added(there, HMACKey(SECRETS[1]), NOW))
        return added(ring, HMACKey(SECRETS[0]), NOW)

    entries = rings_in(store).change(PROJECT, add)
    assert calls == [0, 1]
    assert [one.state for one in entries] == ["signing", "published"]


def test_changes_that_are_always_overtaken_end(store, rings, monkeypatch):
    monkeypatch.setattr("rolecall.keys.ring_store._CHANGE_WAIT", 0.05)
    monkeypatch.setattr(MemoryStore, "put_document", lambda *_: False)
    with pytest.raises(InvalidKey, match="are being changed by other processes; try again"):
        rings.change(PROJECT, lambda ring: added(ring, HMACKey(SECRETS[2]), NOW))


# -- other processes learn of it -------------------------------------------------------------------


def test_each_change_is_announced(store, rings):
    change = change_of(store, DOCUMENT)
    seen = [change()]
    for _ in range(3):
        rings.change(PROJECT, lambda ring: tuple(one._replace(since=(one.since or 0) + 1) for one in ring))
        seen.append(change())
    assert len(set(seen)) == 4
    assert change() == seen[-1]


def test_a_change_of_a_restored_document_is_announced_too(store, rings):
    backup = store.get_document(DOCUMENT)
    for _ in range(3):
        rings.change(PROJECT, lambda ring: tuple(one._replace(since=(one.since or 0) + 1) for one in ring))
    change = change_of(store, DOCUMENT)
    store._documents[DOCUMENT] = backup
    before = change()
    rings.change(PROJECT, lambda ring: tuple(one._replace(since=NOW + 99) for one in ring))
    assert change() != before


def test_a_change_that_cannot_be_announced_is_made_and_told(store, rings, monkeypatch, caplog):
    def fails(*_):
        raise StoreUnavailable("down")

    monkeypatch.setattr(MemoryStore, "raise_mark", fails)
    rings.change(PROJECT, lambda ring: added(ring, HMACKey(SECRETS[2]), NOW))
    assert len(rings.read()[PROJECT]) == 3
    assert "other processes learn of it in a minute: down" in caplog.text


def test_while_a_store_cannot_tell_nothing_seems_to_have_changed(store, rings, monkeypatch):
    change = change_of(store, DOCUMENT)
    before = change()

    def fails(*_):
        raise StoreUnavailable("down")

    monkeypatch.setattr(MemoryStore, "has_ended", fails)
    assert change() == before != 0


# -- other wrapping keys ---------------------------------------------------------------------------


def test_all_keys_are_sealed_anew_with_the_first_wrapping_key(store, rings):
    rings.change(APPLICATION, lambda ring: added(ring, new_key(APPLICATION), NOW))
    both = rings_in(store, OTHER, KEY)
    assert both.rewrap() == (3, [])
    assert both.rewrap() == (0, [])
    assert rings_in(store, OTHER).read().keys() == {PROJECT, APPLICATION}
    assert rings_in(store, OTHER).sealed_by() == {WrappingKeys([OTHER]).ids[0]: 3}


def test_keys_that_do_not_open_stay_as_they_are_and_are_named(store, rings):
    rings_in(store, secrets.token_bytes(32)).change(SECOND, lambda ring: added(ring, HMACKey(SECRETS[2]), NOW))
    issuers = document(store)
    issuers[PROJECT][1]["id"] = "0123456789abcdef"
    write(store, issuers)
    number, problems = rings_in(store, OTHER, KEY).rewrap()
    assert (number, len(problems)) == (1, 2)
    assert problems[0].startswith("key 2 of '123456': its sealed secret does not open")
    assert problems[1].startswith("key 1 of '654321': it is sealed with the wrapping key")
    after = document(store)
    assert after[SECOND] == issuers[SECOND]
    assert after[PROJECT][1] == issuers[PROJECT][1]
    assert after[PROJECT][0]["secret"] != issuers[PROJECT][0]["secret"]
