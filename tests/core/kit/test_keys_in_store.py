"""The keys of a kit in its store: read at the start, changed there, followed, and never let back once retired."""

from __future__ import annotations

import gc
import json
import logging
import os
import pprint
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from rolecall import Rolecall, hookimpl
from rolecall.driver import InlineDriver
from rolecall.driver.threads import ThreadPools
from rolecall.errors import ConfigurationError, InvalidKey, StoreUnavailable
from rolecall.keys import HMACKey, KeyRing
from rolecall.keys.making import new_key
from rolecall.keys.ring_file import RingFile
from rolecall.keys.ring_store import DOCUMENT, RingStore
from rolecall.keys.rotation import added, retired, rotated
from rolecall.keys.sealing import WrappingKeys, wrapping_keys
from rolecall.keys.states import RingKey
from rolecall.kit import key_watch
from rolecall.stores import open_store
from rolecall.stores.memory import MemoryStore
from rolecall.stores.sqlite import SQLiteStore
from rolecall.stores.synchronous import SyncDocuments

from ...conftest import NOW
from ...sdk_tokens import API_KEY
from ...waiting import soon
from ..keys.test_ring_file import show_frames
from .test_keys import APPLICATION, NEW, NEW_ID, OLD, OLD_ID, SECOND, accepts, states

KEY, OTHER = (sha256(name).hexdigest() for name in (b"the wrapping key", b"another one"))
URL = "https://video.example"


@pytest.fixture
def quick(monkeypatch) -> None:
    """Has the kit look a hundred times a second."""
    monkeypatch.setattr(key_watch, "EVERY", 0.01)


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'app.db'}"


def rings_in(store, key: object = KEY) -> RingStore:
    """The rings in a store, as another process has them."""
    opened = open_store(store)
    return RingStore(SyncDocuments(opened, InlineDriver(ThreadPools()), lambda: 5.0), wrapping_keys(key))


@pytest.fixture
def rings(url) -> RingStore:
    """Rings in a store with the old secret, which signs, and the new one, which is published."""
    found = rings_in(url)
    found.change(API_KEY, lambda ring: added(added(ring, HMACKey(OLD), NOW), HMACKey(NEW), NOW))
    return found


@pytest.fixture
def stored(make_kit, url) -> Callable[..., Rolecall]:
    """Makes kits whose keys are in the store."""
    return lambda **options: make_kit(**{"api_secret": None, "keys_key": KEY, "store": url, **options})


# -- start-up --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("rings")
def test_keys_in_the_store_stand_in_for_the_secret(stored, make_kit):
    kit, other = stored(), stored(keys_key=[OTHER, KEY])
    token = kit.create_session().generate_token()
    assert accepts(other, token)
    assert accepts(make_kit(api_secret=OLD), token)
    assert [(one.state, one.source) for one in kit.keys] == [("signing", "store"), ("published", "store")]


def test_each_issuer_without_keys_in_arguments_has_them_in_the_store(stored, rings):
    for issuer in (SECOND, APPLICATION):
        rings.change(issuer, lambda ring, issuer=issuer: added(ring, new_key(issuer), NOW))
    kit = stored(projects={SECOND: None, "1": secrets.token_hex(32)}, application_id=APPLICATION)
    assert {(one.issuer, one.source) for one in kit.keys} == {
        *((issuer, "store") for issuer in (API_KEY, SECOND, APPLICATION)),
        ("1", "arguments"),
    }


def test_an_issuer_of_jwts_has_its_keys_in_the_store(url):
    rings_in(url).change(URL, lambda ring: added(ring, new_key(URL), NOW))
    with Rolecall(issuer=URL, keys_key=KEY, store=url) as kit:
        assert accepts(kit, kit.create_session().generate_token())


def test_a_store_without_the_keys_stops_start_up_and_says_what_to_do(stored, rings):
    assert rings.listed()
    with pytest.raises(InvalidKey, match=f"the store has no keys of '{SECOND}'; make the first one with: rolecall key"):
        stored(api_key=SECOND)
    with pytest.raises(InvalidKey, match="the store has no keys of '123456'"):
        stored(store="memory://")


def test_a_kit_makes_no_keys_by_itself(stored, url):
    with pytest.raises(InvalidKey):
        stored()
    assert open_store(url).get_document(DOCUMENT) is None  # type: ignore[attr-defined]


@pytest.mark.usefixtures("rings")
def test_another_wrapping_key_stops_start_up_and_says_which_one_is_needed(stored):
    needed = wrapping_keys(KEY).ids[0]
    with pytest.raises(InvalidKey, match=f"key 1 of '123456': it is sealed with the wrapping key {needed}, and"):
        stored(keys_key=OTHER)


def test_damaged_keys_stop_start_up(stored, rings, url):
    store = SQLiteStore.from_url(url)
    version, text = store.get_document(DOCUMENT) or (0, "")
    store.put_document(DOCUMENT, text.replace("rc1.", "rc2.", 1), version)
    with pytest.raises(InvalidKey, match="key 1 of '123456': it is not sealed, or its sealed text is damaged"):
        stored()


class Bare:
    """A store without documents and marks."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        for method in ("add_session", "get_session", "end_session", "has_ended", "use_once", "close"):
            setattr(self, method, getattr(self._store, method))


REFUSED = {
    "two places": ({"keys_file": "keys.json"}, "keys_file and keys_key name two places for the keys"),
    "a store without documents": ({"store": Bare()}, "which has no get_document; give it the methods of rolecall.stor"),
    "a password": ({"keys_key": "correct horse"}, "keys_key is a text of 13 characters that is neither"),
    "another secret, too": ({"api_secret": OLD}, "are an argument and come from a ring file, the store or a plugin"),
    "secrets that verify": ({"verify_secrets": [OLD]}, "verify_secrets go with keys in an argument"),
    "a secret as wrapping key": ({"keys_key": [KEY, OTHER], "projects": {SECOND: OTHER}}, "is the wrapping key, too"),
    "another mistake": ({"leeway": 99}, "leeway is 99"),
    "a time that is none": ({"store_timeout": "long"}, "store_timeout is 'long'"),
}


@pytest.mark.usefixtures("rings")
@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_stops_start_up_and_is_not_quoted(url, options, message):
    before = threading.active_count()
    with pytest.raises(ConfigurationError, match=message) as caught:
        Rolecall(API_KEY, **{"keys_key": KEY, "store": url, **options})
    shown = f"{caught.value}{show_frames(caught.value)}"
    assert not any(secret in shown for secret in (KEY, OTHER, OLD, NEW, "correct horse"))
    assert soon(lambda: threading.active_count() <= before)  # nothing stays open


def test_a_store_that_does_not_answer_stops_start_up(stored):
    class Down(MemoryStore):
        def get_document(self, name):
            raise StoreUnavailable("down")

    with pytest.raises(StoreUnavailable, match="down"):
        stored(store=Down())


# -- the environment -------------------------------------------------------------------------------


@pytest.mark.usefixtures("rings")
@pytest.mark.parametrize("value", [KEY, f"{OTHER}, {KEY}"])
def test_the_environment_names_wrapping_keys(url, tmp_path, value):
    (tmp_path / "key").write_text(value + "\n")
    environ = {"ROLECALL_API_KEY": API_KEY, "ROLECALL_STORE": url}
    for given in ({"ROLECALL_KEYS_KEY": value}, {"ROLECALL_KEYS_KEY_FILE": str(tmp_path / "key")}):
        with Rolecall.from_env({**environ, **given}) as kit:
            assert states(kit) == {OLD_ID: "signing", NEW_ID: "published"}


@pytest.mark.parametrize("value", [KEY[:-2], f"{KEY},{KEY}", f"'{KEY}'", f"{KEY};{OTHER}"])
def test_a_variable_with_wrong_wrapping_keys_is_refused_and_not_quoted(url, value):
    environ = {"ROLECALL_API_KEY": API_KEY, "ROLECALL_STORE": url, "ROLECALL_KEYS_KEY": value}
    with pytest.raises(ConfigurationError, match=r"(?i)keys_key") as caught:
        Rolecall.from_env(environ)
    assert not any(key[:20] in f"{caught.value}{show_frames(caught.value)}" for key in (KEY, OTHER))


# -- changes ---------------------------------------------------------------------------------------


def test_the_kit_changes_its_keys_in_the_store(stored, rings, clock):
    kit = stored()
    token = kit.create_session().generate_token()
    clock.now += 10
    kit.keys.rotate()
    assert {one.id: one.state for one in rings.read()[API_KEY]} == states(kit)
    made = kit.keys.add()
    assert (made.state, made.source) == ("published", "store")
    kit.keys.retire(OLD_ID, force=True)
    assert not accepts(kit, token)
    with pytest.raises(InvalidKey, match="a retired key never comes back"):
        kit.keys.add(OLD)
    assert states(stored()) == {OLD_ID: "retired", NEW_ID: "signing", made.id: "published"}


@pytest.mark.usefixtures("rings")
def test_kits_that_add_a_key_at_the_same_time_both_do(stored):
    kits = [stored(), stored()]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(_added, kits))
    assert sorted(results, key=str)[1:] == ["refused"]  # four keys without a kid are too many
    assert [len([*kit.keys]) for kit in (kits[0], stored())].count(3) >= 1


def _added(kit: Rolecall) -> str:
    try:
        return kit.keys.add().id
    except InvalidKey:
        return "refused"


class AsyncStore(MemoryStore):
    """A store with coroutines, as one of an async client has."""

    async def get_document(self, name):  # type: ignore[override]
        return super().get_document(name)

    async def put_document(self, name, content, version):  # type: ignore[override]
        return super().put_document(name, content, version)

    async def raise_mark(self, name, value, until):  # type: ignore[override]
        return super().raise_mark(name, value, until)

    async def close(self):  # type: ignore[override]
        pass


@pytest.mark.usefixtures("quick")
def test_an_async_store_keeps_keys_as_well(stored):
    store = AsyncStore()
    rings_in(store).change(API_KEY, lambda ring: added(ring, HMACKey(OLD), NOW))
    kit, other = stored(store=store), stored(store=store)
    made = kit.keys.add()
    assert soon(lambda: states(other) == {OLD_ID: "signing", made.id: "published"})


# -- followed --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_a_change_in_the_store_is_followed(stored, rings):
    kit = stored()
    token = kit.create_session().generate_token()
    assert accepts(kit, token)
    rings.change(API_KEY, lambda ring: rotated(ring, None, NOW + 10))
    assert soon(lambda: states(kit) == {OLD_ID: "verifying", NEW_ID: "signing"})
    assert accepts(kit, token)
    rings.change(API_KEY, lambda ring: retired(ring, OLD_ID, NOW, 0, force=True))
    assert soon(lambda: not accepts(kit, token))


class Counting(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.read = self.looks = 0
        self.is_down = False

    def get_document(self, name):
        self.read += 1
        if self.is_down:
            raise StoreUnavailable("down")
        return super().get_document(name)

    def has_ended(self, session_id):
        self.looks += 1
        if self.is_down:
            raise StoreUnavailable("down")
        return super().has_ended(session_id)


@pytest.fixture
def counting() -> Counting:
    store = Counting()
    rings_in(store).change(API_KEY, lambda ring: added(ring, HMACKey(OLD), NOW))
    return store


@pytest.mark.usefixtures("quick")
def test_as_long_as_nothing_has_changed_nobody_asks_the_store(stored, counting):
    stored(store=counting)
    assert soon(lambda: counting.looks > 5)
    read, looks = counting.read, counting.looks
    assert soon(lambda: counting.looks > looks + 20)
    assert counting.read == read


def test_the_store_is_asked_each_minute_in_any_case(stored, counting, monkeypatch):
    monkeypatch.setattr(key_watch, "EVERY", 3600.0)  # the test looks itself
    kit = stored(store=counting)
    watch = kit.keys._watch
    watch.look()
    # Written without an announcement, as by a process that died in between.
    text = rings_in(counting)._document.changed(
        rings_in(counting)._parsed()[1], API_KEY, lambda ring: added(ring, HMACKey(NEW), NOW)
    )[1]
    counting.put_document(DOCUMENT, text, 1)
    for seconds, number in ((60.0, 1), (0.0, 2)):
        monkeypatch.setattr(key_watch, "ASK_EVERY", seconds)
        watch.look()
        assert len([*kit.keys]) == number


@pytest.mark.usefixtures("quick")
def test_a_store_that_is_down_leaves_the_keys_as_they_are(stored, counting, caplog, monkeypatch):
    kit = stored(store=counting)
    token = kit.create_session().generate_token()
    monkeypatch.setattr(key_watch, "ASK_EVERY", 0.0)
    counting.is_down = True
    assert soon(lambda: "the kit keeps those that it has: down" in caplog.text)
    with pytest.raises(StoreUnavailable):
        kit.keys.add()
    counting.is_down = False
    assert accepts(kit, token)
    assert states(kit) == {OLD_ID: "signing"}
    rings_in(counting).change(API_KEY, lambda ring: added(ring, HMACKey(NEW), NOW))
    assert soon(lambda: states(kit) == {OLD_ID: "signing", NEW_ID: "published"})


@pytest.mark.usefixtures("quick", "rings")
def test_the_thread_ends_with_the_kit(stored, url):
    def threads() -> int:
        return sum(one.name == "rolecall keys" for one in threading.enumerate())

    stored().close()
    assert soon(lambda: threads() == 0)
    abandoned = Rolecall(API_KEY, keys_key=KEY, store=url)
    assert threads() == 1
    del abandoned
    gc.collect()
    assert soon(lambda: threads() == 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.usefixtures("quick")
def test_a_forked_worker_follows_the_store_too(stored, rings):
    kit = stored()
    child = os.fork()
    if child == 0:  # pragma: no cover
        os._exit(0 if soon(lambda: states(kit).get(NEW_ID) == "signing", 20) else 1)
    rings.change(API_KEY, lambda ring: rotated(ring, None, NOW + 10))
    assert os.waitpid(child, 0)[1] == 0


# -- a retired key does not come back --------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_a_retired_key_does_not_come_back_with_a_backup_of_the_store(stored, rings, url, caplog):
    kit, store = stored(), SQLiteStore.from_url(url)
    token = kit.create_session().generate_token()
    rings.change(API_KEY, lambda ring: rotated(ring, None, NOW + 10))
    _, backup = store.get_document(DOCUMENT) or (0, "")
    rings.change(API_KEY, lambda ring: retired(ring, OLD_ID, NOW, 0, force=True))
    assert soon(lambda: not accepts(kit, token))
    version, _ = store.get_document(DOCUMENT) or (0, "")
    store.put_document(DOCUMENT, backup, version)
    with pytest.raises(InvalidKey, match=f"the key {OLD_ID} of '123456' was retired, and verifies again by the store"):
        kit.keys.reload()
    assert not accepts(kit, token)
    assert states(kit)[OLD_ID] == "retired"
    store.raise_mark(f"keys {DOCUMENT}", 99.0, float("inf"))
    assert soon(lambda: "an older state was put back there" in caplog.text)
    assert not accepts(kit, token)
    # The kit changes nothing there but this key, and goes on once that is retired again.
    for change in (kit.keys.add, lambda: kit.keys.rotate(OLD_ID, force=True)):
        with pytest.raises(InvalidKey, match="was retired"):
            change()
    assert len(rings.read()[API_KEY]) == 2
    assert kit.keys.retire(OLD_ID, force=True).state == "retired"
    made = kit.keys.add()
    assert states(kit) == {OLD_ID: "retired", NEW_ID: "signing", made.id: "published"}


def test_a_retired_key_does_not_come_back_with_a_file_that_is_put_back(make_kit, tmp_path):
    file = RingFile(tmp_path / "keys.json")
    file.change(API_KEY, lambda ring: added(added(ring, HMACKey(OLD), NOW), HMACKey(NEW), NOW))
    kit = make_kit(api_secret=None, keys_file=file.path)
    token, backup = kit.create_session().generate_token(), (tmp_path / "keys.json").read_text()
    kit.keys.rotate(force=True)
    kit.keys.retire(OLD_ID, force=True)
    (tmp_path / "keys.json").write_text(backup)
    for _ in range(2):
        with pytest.raises(InvalidKey, match=f"the key {OLD_ID} of '123456' was retired, and verifies again by the ri"):
            kit.keys.reload()
    assert not accepts(kit, token)


def test_a_retired_key_that_was_forgotten_does_not_come_back_either(make_kit, tmp_path):
    file = RingFile(tmp_path / "keys.json")
    file.change(API_KEY, lambda ring: added(added(ring, HMACKey(OLD), NOW), HMACKey(NEW), NOW))
    kit = make_kit(api_secret=None, keys_file=file.path)
    backup = (tmp_path / "keys.json").read_text()
    kit.keys.rotate(force=True)
    kit.keys.retire(OLD_ID, force=True)
    file.change(API_KEY, lambda ring: tuple(one for one in ring if one.state != "retired"))
    kit.keys.reload()
    assert states(kit) == {NEW_ID: "signing"}
    (tmp_path / "keys.json").write_text(backup)
    with pytest.raises(InvalidKey, match="was retired"):
        kit.keys.reload()


def test_a_retired_key_does_not_come_back_by_a_plugin(make_kit):
    class Vault:
        name = "vault"

        def __init__(self, *ring: RingKey) -> None:
            self.ring = ring

        @hookimpl
        def rolecall_signing_keys(self, issuer: str) -> KeyRing:
            return KeyRing.of(self.ring)

    old, new = RingKey.of(HMACKey(OLD), "signing"), RingKey.of(HMACKey(NEW), "signing")
    vault = Vault(old._replace(state="retired", key=None), new)
    kit = make_kit(api_secret=None, plugins=[vault])
    vault.ring = (old, new._replace(state="verifying"))
    with pytest.raises(InvalidKey, match=f"the key {OLD_ID} of '123456' was retired, and verifies again by the plugin"):
        kit.keys.reload()
    assert states(kit) == {OLD_ID: "retired", NEW_ID: "signing"}


# -- nothing shows ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_neither_a_secret_nor_the_wrapping_key_shows(stored, rings, url, caplog):
    caplog.set_level(logging.DEBUG)
    rings.change(URL, lambda ring: added(ring, new_key(URL), NOW))
    shown = []

    def fails(call, *arguments, **options):
        with pytest.raises((ConfigurationError, StoreUnavailable)) as caught:
            call(*arguments, **options)
        shown.append(f"{caught.value!r}{vars(caught.value)}{show_frames(caught.value)}")

    kit = stored(issuer=URL, keys_key=[KEY, OTHER])
    fails(kit.keys.add, OLD)
    fails(kit.keys.add, "short")
    fails(kit.keys.add, KEY)
    fails(kit.keys.retire, "none")
    fails(Rolecall, API_KEY, store=url, keys_key=OTHER)
    fails(Rolecall, API_KEY, store=url, keys_key=[OTHER, OTHER])
    store = SQLiteStore.from_url(url)
    version, text = store.get_document(DOCUMENT) or (0, "")
    store.put_document(DOCUMENT, text[:-40], version)
    fails(kit.keys.reload)
    fails(kit.keys.add)
    store.put_document(DOCUMENT, json.dumps({"version": 1, "issuers": {API_KEY: [{"secret": "x"}]}}), version + 1)
    fails(kit.keys.reload)
    fails(kit.keys.add, NEW)
    fails(Rolecall, API_KEY, store=url, keys_key=KEY)
    state, places = kit.engine.state, kit.keys.elsewhere
    for one in (kit, kit.keys, vars(kit), vars(kit.keys), vars(state), vars(places), vars(places.place)):
        shown += [repr(one), pprint.pformat(one)]
    shown.append(repr(WrappingKeys([bytes.fromhex(KEY)])))
    seen = "".join([*shown, caplog.text])
    assert len(seen) > 5_000
    secrets_ = (KEY, OTHER, OLD, NEW)
    assert [one for one in secrets_ if one in seen or repr(bytes.fromhex(one[:32]))[2:20] in seen] == []
    assert "PRIVATE KEY" not in seen
