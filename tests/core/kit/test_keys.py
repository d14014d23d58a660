"""The keys of a kit: from arguments, the environment, a ring file or a plugin; and how they change while it runs."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from rolecall import Rolecall, hookimpl
from rolecall.engine.verified import VerifiedTokens
from rolecall.errors import (
    BadSignature,
    ConfigurationError,
    InvalidKey,
    InvalidSessionId,
    InvalidToken,
    PluginError,
    RolecallError,
    StoreUnavailable,
)
from rolecall.keys import HMACKey, KeyRing
from rolecall.keys.making import issuer_key, new_key, pem_of
from rolecall.keys.ring_file import RingFile
from rolecall.keys.rotation import added, retired, rotated
from rolecall.keys.states import key_id
from rolecall.kit import key_watch
from rolecall.stores.memory import MemoryStore

from ...conftest import NOW
from ...forking import in_child, needs_fork
from ...own_tokens import ISSUER, issuing, pem
from ...sdk_tokens import API_KEY, API_SECRET
from ...untyped import untyped
from ...waiting import soon
from ..keys.test_ring_file import show_frames

OLD, NEW, NEXT, FOURTH = (f"{number}2df95e9fdac14502e8a27a9d8a71e87ef64a502e" for number in range(4))
SECOND = "654321"
APPLICATION = "6b7a1d5e-0f1b-4c56-9a77-1c2b3d4e5f60"
OLD_ID, NEW_ID, NEXT_ID = (key_id(HMACKey(secret)) for secret in (OLD, NEW, NEXT))


@pytest.fixture
def quick(monkeypatch) -> None:
    """Has the kit look at its files a hundred times a second."""
    monkeypatch.setattr(key_watch, "EVERY", 0.01)


@pytest.fixture
def ring_file(tmp_path) -> RingFile:
    """A ring file with the old secret, which signs, and the new one, which is published."""
    file = RingFile(tmp_path / "keys.json")
    file.change(API_KEY, lambda found: added(added(found, HMACKey(OLD), NOW), HMACKey(NEW), NOW))
    return file


def states(kit: Rolecall) -> dict[str, str]:
    return {one.id: one.state for one in kit.keys}


def accepts(kit: Rolecall, token: str) -> bool:
    try:
        kit.verify_token(token)
    except InvalidToken:
        return False
    return True


# -- arguments -------------------------------------------------------------------------------------


def test_secrets_that_verify_are_taken_and_do_not_sign(make_kit):
    old, both, new = (
        make_kit(api_secret=OLD),
        make_kit(api_secret=NEW, verify_secrets=[OLD, NEXT.encode()]),
        make_kit(api_secret=NEW),
    )
    token = old.create_session().generate_token()
    assert (accepts(both, token), accepts(new, token)) == (True, False)
    assert accepts(new, both.create_session().generate_token())
    assert states(both) == {NEW_ID: "signing", OLD_ID: "verifying", NEXT_ID: "verifying"}


def test_a_further_project_has_secrets_that_verify(make_kit):
    before = make_kit(projects={SECOND: OLD})
    after = make_kit(projects={SECOND: {"api_secret": NEW, "verify_secrets": [OLD]}})
    token = before.create_session(api_key=SECOND).generate_token()
    assert accepts(after, token)
    assert [(one.issuer, one.state) for one in after.keys] == [
        (API_KEY, "signing"),
        (SECOND, "signing"),
        (SECOND, "verifying"),
    ]


def test_an_application_has_private_keys_that_verify(tmp_path):
    old, new = (pem_of(rsa.generate_private_key(65537, 2048)) for _ in range(2))
    (tmp_path / "old.key").write_bytes(old)
    before = Rolecall(application_id=APPLICATION, private_key=old)
    after = Rolecall(application_id=APPLICATION, private_key=new, verify_keys=[tmp_path / "old.key"])
    session = before.create_session()
    assert after.verify_token(session.generate_token(), session.session_id)
    assert after.generate_token(session.session_id)
    assert [one.algorithm for one in after.keys] == ["RS256", "RS256"]


REFUSED = {
    "one text": ({"verify_secrets": NEW}, "verify_secrets is a text of 41 characters; expected a list"),
    "the same twice": ({"verify_secrets": [OLD]}, f"verify_secrets: the key {OLD_ID} is in the ring twice"),
    "too many": ({"verify_secrets": [NEW, NEXT, FOURTH]}, "at most 3 can be: retire the oldest"),
    "a short one": ({"verify_secrets": [NEW, "short"]}, "verify_secrets, number 2: the secret has 5 bytes"),
    "a public one": ({"verify_secrets": ["a" * 40]}, "number 1: the secret is publicly known"),
    "None": ({"verify_secrets": [None]}, "number 1: a secret is text or bytes"),
    "a path": ({"verify_secrets": ["/run/secrets/old.txt"]}, "number 1: .*is the path of a file"),
    "without a secret": ({"api_secret": None, "verify_secrets": [NEW]}, "api_secret is missing"),
    "of no project": (
        {"api_key": None, "api_secret": None, "verify_secrets": [NEW]},
        "verify_secrets are further secrets of a project",
    ),
    "of no application": ({"verify_keys": [NEW]}, "verify_keys are further keys of an application"),
    "a project's, misspelt": ({"projects": {SECOND: {"secret": NEW}}}, "expected its api_secret, or an object of"),
    "a project's twice": (
        {"projects": {SECOND: {"api_secret": NEW, "verify_secrets": [NEW]}}},
        "projects, number 1: verify_secrets: the key .* twice",
    ),
    "a project's elsewhere": ({"projects": {SECOND: None}}, "projects, number 1: the project's api_secret is missing"),
    "no path": ({"keys_file": 5}, "keys_file is 5; expected the path"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_stops_start_up_and_is_not_quoted(make_kit, options, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        make_kit(**{"api_secret": OLD, **options})
    assert not any(secret in str(caught.value) for secret in (OLD, NEW, NEXT, FOURTH))


# -- sessions --------------------------------------------------------------------------------------


def test_a_session_that_the_store_knows_outlives_the_key_of_its_tag(make_kit):
    store = MemoryStore()
    old, new = make_kit(api_secret=OLD, store=store), make_kit(api_secret=NEW, store=store)
    kept, unknown = old.create_session().session_id, make_kit(api_secret=OLD).create_session().session_id
    assert accepts(new, new.generate_token(kept))
    assert new.get_session(kept).api_key == API_KEY
    assert [one.session_id for one in new.sessions()] == [kept]
    new.end_session(kept)
    for call in (new.generate_token, new.get_session, new.end_session, new.force_disconnect):
        with pytest.raises(InvalidSessionId, match="its tag does not fit"):
            call(unknown, *(["5f0c1d2e-96f1-4f52-8b0e-0c8a1f7e5d34"] if call == new.force_disconnect else []))


def test_a_session_of_the_store_is_asked_for_once_and_again_after_a_change_of_keys(make_kit):
    class Counting(MemoryStore):
        asked = 0

        def get_session(self, session_id):
            self.asked += 1
            return super().get_session(session_id)

    store = Counting()
    session_id = make_kit(api_secret=OLD, store=store).create_session().session_id
    kit = make_kit(api_secret=NEW, store=store)
    kit.generate_token(session_id)
    asked = store.asked
    kit.generate_token(session_id)
    assert store.asked == asked == 1
    kit.keys.add(NEXT)
    kit.generate_token(session_id)
    assert store.asked == 2


def test_a_store_that_is_down_vouches_for_no_session(make_kit):
    class Down(MemoryStore):
        def get_session(self, session_id):
            raise StoreUnavailable("down")

    session_id = make_kit(api_secret=OLD).create_session().session_id
    with pytest.raises(StoreUnavailable):
        make_kit(api_secret=NEW, store=Down()).generate_token(session_id)


def test_async_code_asks_the_store_as_well(make_kit):
    store = MemoryStore()
    session_id = make_kit(api_secret=OLD, store=store).create_session().session_id
    kit = make_kit(api_secret=NEW, store=store)
    assert accepts(kit, asyncio.run(kit.aio.generate_token(session_id)))


def test_a_token_for_a_session_of_a_retired_key_is_good_by_age_and_by_project(make_kit):
    store = MemoryStore()
    session_id = make_kit(api_secret=OLD, store=store).create_session().session_id
    kit = make_kit(api_secret=NEW, store=store, projects={SECOND: NEXT}, max_session_age=86_400)
    assert kit.verify_token(kit.generate_token(session_id)).session_id == session_id
    # Another process, which has not asked the store.
    other = make_kit(api_secret=NEW, projects={SECOND: NEXT}, max_session_age=86_400)
    assert other.verify_token(kit.generate_token(session_id)).session_id == session_id


# -- changes in process ----------------------------------------------------------------------------


def test_a_key_is_added_rotated_and_retired_in_process(make_kit, clock):
    kit = make_kit(api_secret=OLD)
    session = kit.create_session()
    token = session.generate_token()
    assert kit.keys.add(NEW)._replace(since=None, retires_from=None) == (
        *(API_KEY, NEW_ID, "published", "HS256"),
        *(None, None, "arguments"),
    )
    clock.now += 10
    assert kit.keys.rotate().id == NEW_ID
    for _ in range(3):  # from the second time on it is remembered
        assert accepts(kit, token)
    with pytest.raises(InvalidKey, match="may be alive until"):
        kit.keys.retire(OLD_ID)
    clock.now += 3600
    assert kit.keys.retire(OLD_ID, longest_life=3000).state == "retired"
    assert not accepts(kit, token)
    assert accepts(kit, session.generate_token())  # the store knows the session


def test_without_a_life_a_key_verifies_for_thirty_days_more(make_kit, clock):
    kit = make_kit(api_secret=OLD, leeway=30)
    kit.keys.add(NEW)
    kit.keys.rotate(force=True)
    retires_from = next(one.retires_from for one in kit.keys if one.id == OLD_ID)
    assert retires_from == clock.now + 30 * 86_400 + 3600 + 30
    clock.now = retires_from - 1
    with pytest.raises(InvalidKey, match="may be alive"):
        kit.keys.retire(OLD_ID)
    clock.now += 1
    assert kit.keys.retire(OLD_ID).state == "retired"


def test_a_leaked_key_is_refused_at_once_by_force(make_kit):
    kit = make_kit(api_secret=OLD)
    token = kit.create_session().generate_token()
    kit.keys.add(NEW)
    kit.keys.rotate(force=True)
    kit.keys.retire(OLD_ID, force=True)
    with pytest.raises(BadSignature):
        kit.verify_token(token)


def test_a_forged_token_that_was_renewed_in_time_outlives_its_key_until_all_are_revoked(make_kit, clock):
    """Why a leak takes two steps: the keys first, and then all that was issued until now."""
    store = MemoryStore()
    between = make_kit(store=store, api_secret=NEW, verify_secrets=[API_SECRET])
    session = between.create_session()
    forged = make_kit(store=store).generate_token(session, actor="mallory")
    renewed = between.renew_token(forged)
    after = make_kit(store=store, api_secret=NEW)
    assert [accepts(after, token) for token in (forged, renewed)] == [False, True]
    after.revoke_before()
    assert not accepts(after, renewed)
    clock.now += 1
    assert accepts(after, after.generate_token(session))


def test_a_new_key_needs_a_place_that_outlives_the_process(make_kit):
    with pytest.raises(InvalidKey, match="pass the key, too"):
        make_kit().keys.add()


def test_wrong_arguments_say_what_to_do(make_kit):
    kit = make_kit(api_secret=OLD, verify_secrets=[NEW])
    with pytest.raises(ConfigurationError, match=f"the kit's issuers are {API_KEY}"):
        kit.keys.rotate(issuer=SECOND)
    with pytest.raises(ConfigurationError, match="longest_life is 'a day'"):
        kit.keys.retire(NEW_ID, longest_life=untyped("a day"))
    with pytest.raises(InvalidKey, match="nobody knows since when"):
        kit.keys.retire(NEW_ID)


def test_no_secret_shows(make_kit):
    kit = make_kit(api_secret=OLD, verify_secrets=[NEW])
    shown = f"{kit!r} {kit.keys!r} {[*kit.keys]} {vars(kit.keys)}"
    assert not any(secret in shown for secret in (OLD, NEW))
    assert OLD_ID in shown


def parts_of(pem: bytes) -> list[str]:
    """A part of each line of a private key, beyond what all keys of its kind begin with."""
    return [line[24:56] for line in pem.decode().splitlines()[1:-1] if len(line) > 30]


# RSA keys take two seconds here: they are loaded dozens of times.
@pytest.mark.parametrize("algorithm", [pytest.param("RS256", marks=pytest.mark.exhaustive), "ES256", "EdDSA"])
def test_no_private_key_shows_whatever_is_done_with_it(tmp_path, caplog, algorithm):
    caplog.set_level(logging.DEBUG)
    signing, verifying, further = (pem(algorithm, name) for name in ("ours", "before", "to come"))
    (tmp_path / "signing").write_bytes(signing)
    shown = []
    environ = {
        "ROLECALL_ISSUER": ISSUER,
        "ROLECALL_PRIVATE_KEY": signing.decode(),
        "ROLECALL_VERIFY_KEYS_FILE": str(tmp_path / "verifying"),
        "ROLECALL_TRACE": "1",
    }
    (tmp_path / "verifying").write_text(json.dumps([verifying.decode()]))
    from_env = Rolecall.from_env(environ)
    RingFile(tmp_path / "keys.json").change(ISSUER, lambda found: added(found, issuer_key(signing), NOW))
    from_file = Rolecall(issuer=ISSUER, keys_file=tmp_path / "keys.json")
    from_arguments = issuing(algorithm, verify_keys=[verifying])

    def fails(call: Callable[..., object], *arguments: object, **options: object) -> None:
        with pytest.raises(RolecallError) as caught:
            call(*arguments, **options)
        shown.append(f"{caught.value!r}{vars(caught.value)}{show_frames(caught.value)}")

    for kit in (from_env, from_file, from_arguments):
        kit.verify_token(kit.create_session().generate_token())
        fails(kit.keys.add, signing)
        fails(kit.keys.add, further[:-40])
        fails(kit.keys.retire, "none")
        state = kit.engine.state
        shown += [repr(one) for one in (kit, kit.keys, [*kit.keys], vars(kit), vars(kit.keys), vars(state))]
    from_file.keys.add(further)
    (tmp_path / "verifying").write_text(json.dumps([further.decode(), verifying.decode()[:-40]]))
    (tmp_path / "keys.json").write_text((tmp_path / "keys.json").read_text()[:-20])
    fails(from_env.keys.reload)
    fails(from_file.keys.reload)
    fails(Rolecall.from_env, environ)
    fails(Rolecall, issuer=ISSUER, private_key=signing, verify_keys=[verifying, further[:-40]])
    for kit in (from_env, from_file, from_arguments):
        kit.close()
    seen = "".join([*shown, caplog.text])
    assert len(seen) > 10_000
    assert f"the keys of {ISSUER} have changed" in caplog.text
    assert [part for key in (signing, verifying, further) for part in parts_of(key) if part in seen] == []


# -- a ring file -----------------------------------------------------------------------------------


def test_a_ring_file_stands_in_for_the_secret_and_is_changed_by_the_kit(make_kit, ring_file, clock):
    kit = make_kit(api_secret=None, keys_file=ring_file.path)
    token = kit.create_session().generate_token()
    assert [one.source for one in kit.keys] == ["ring file", "ring file"]
    clock.now += 10
    kit.keys.rotate()
    assert {one.id: one.state for one in ring_file.read()[API_KEY]} == states(kit)
    assert states(kit) == {OLD_ID: "verifying", NEW_ID: "signing"}
    made = kit.keys.add()
    assert made.state == "published"
    assert kit.keys.retire(OLD_ID, force=True).id == OLD_ID
    assert not accepts(kit, token)
    assert {one.id for one in make_kit(api_secret=None, keys_file=ring_file.path).keys} == {OLD_ID, NEW_ID, made.id}


def test_a_ring_file_has_the_keys_of_further_projects_and_of_the_application(ring_file):
    pem = pem_of(rsa.generate_private_key(65537, 2048)).decode()
    document = json.loads(Path(ring_file.path).read_text())
    document["issuers"] |= {
        SECOND: [{"secret": NEXT, "state": "signing"}],
        APPLICATION: [{"private_key": pem, "state": "signing"}],
        "somebody else's": [{"secret": FOURTH, "state": "signing"}],
    }
    Path(ring_file.path).write_text(json.dumps(document))
    with Rolecall(API_KEY, application_id=APPLICATION, projects={SECOND: None}, keys_file=ring_file.path) as kit:
        assert {one.issuer for one in kit.keys} == {API_KEY, SECOND, APPLICATION}
        assert kit.verify_token(kit.create_session(api_key=SECOND).generate_token())


def test_keys_in_two_places_stop_start_up(make_kit, ring_file):
    with pytest.raises(ConfigurationError, match="leave one of the two out"):
        make_kit(keys_file=ring_file.path)
    with pytest.raises(ConfigurationError, match="verify_secrets go with keys in an argument"):
        make_kit(api_secret=None, verify_secrets=[NEXT], keys_file=ring_file.path)


def test_a_ring_file_without_the_project_stops_start_up(make_kit, ring_file):
    with pytest.raises(InvalidKey, match="json' has no keys of '654321'; make the first one with: rolecall keys add"):
        make_kit(api_key=SECOND, api_secret=None, keys_file=ring_file.path)


@pytest.mark.usefixtures("quick")
def test_a_changed_ring_file_is_followed(make_kit, ring_file):
    kit = make_kit(api_secret=None, keys_file=ring_file.path)
    token = kit.create_session().generate_token()
    assert accepts(kit, token)
    ring_file.change(API_KEY, lambda found: rotated(found, None, NOW + 10))
    assert soon(lambda: states(kit) == {OLD_ID: "verifying", NEW_ID: "signing"})
    assert accepts(kit, token)
    ring_file.change(API_KEY, lambda found: retired(found, OLD_ID, NOW, 0, force=True))
    assert soon(lambda: not accepts(kit, token))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "content", [None, "", "{", '{"version": 1, "issuers": {}}'], ids=["gone", "empty", "half", "bare"]
)
def test_a_ring_file_that_cannot_be_used_leaves_the_keys_and_is_told_once(make_kit, ring_file, caplog, content):
    kit = make_kit(api_secret=None, keys_file=ring_file.path)
    token, path = kit.create_session().generate_token(), Path(ring_file.path)
    good = path.read_text()
    if content is None:
        path.unlink()
    else:
        path.write_text(content)

    def told() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]

    assert soon(told)
    threading.Event().wait(0.1)  # ten more looks
    assert len(set(told())) == len(told()) <= 2  # an empty file, perhaps, before its content
    assert "the kit keeps those that it has" in told()[-1]
    assert not any(secret in "".join(told()) for secret in (OLD, NEW))
    assert (accepts(kit, token), states(kit)) == (True, {OLD_ID: "signing", NEW_ID: "published"})
    path.write_text(good.replace("published", "verifying"))
    assert soon(lambda: states(kit) == {OLD_ID: "signing", NEW_ID: "verifying"})


@pytest.mark.usefixtures("quick")
def test_the_thread_ends_with_the_kit(make_kit, ring_file):
    def threads() -> int:
        return sum(one.name == "rolecall keys" for one in threading.enumerate())

    kit = make_kit(api_secret=None, keys_file=ring_file.path)
    assert threads() == 1
    kit.close()
    assert soon(lambda: threads() == 0)
    abandoned = Rolecall(API_KEY, keys_file=ring_file.path)
    assert threads() == 1
    del abandoned
    gc.collect()
    assert soon(lambda: threads() == 0)


def test_a_kit_of_arguments_has_no_thread(make_kit):
    make_kit(api_secret=OLD, verify_secrets=[NEW])
    assert "rolecall keys" not in [one.name for one in threading.enumerate()]


# -- the environment -------------------------------------------------------------------------------


def test_the_environment_has_a_list_of_secrets():
    environ = {"ROLECALL_API_KEY": API_KEY, "ROLECALL_API_SECRET": NEW, "ROLECALL_VERIFY_SECRETS": json.dumps([OLD])}
    with Rolecall.from_env(environ) as kit:
        assert states(kit) == {NEW_ID: "signing", OLD_ID: "verifying"}


@pytest.mark.parametrize("value", ["", "x", OLD, '"x"', "[5]", '{"a": "b"}', '["a"], "b": ["c"]'], ids=repr)
def test_a_variable_that_is_no_list_is_refused_and_not_quoted(value):
    environ = {"ROLECALL_API_KEY": API_KEY, "ROLECALL_API_SECRET": NEW, "ROLECALL_VERIFY_SECRETS": value}
    if not value:
        assert states(Rolecall.from_env(environ)) == {NEW_ID: "signing"}
        return
    with pytest.raises(ConfigurationError, match="ROLECALL_VERIFY_SECRETS is not a JSON list of texts") as caught:
        Rolecall.from_env(environ)
    assert OLD not in str(caught.value)


def test_the_environment_names_a_ring_file(ring_file):
    with Rolecall.from_env({"ROLECALL_API_KEY": API_KEY, "ROLECALL_KEYS_FILE": ring_file.path}) as kit:
        assert states(kit) == {OLD_ID: "signing", NEW_ID: "published"}


@pytest.fixture
def secret_files(tmp_path) -> Callable[..., dict[str, str]]:
    """Writes the files of the two variables, one after the other, and returns the environment."""

    def write(api_secret: str, *verify_secrets: str) -> dict[str, str]:
        (tmp_path / "api-secret").write_text(api_secret + "\n")
        (tmp_path / "verify-secrets").write_text(json.dumps(verify_secrets))
        return {
            "ROLECALL_API_KEY": API_KEY,
            "ROLECALL_API_SECRET_FILE": str(tmp_path / "api-secret"),
            "ROLECALL_VERIFY_SECRETS_FILE": str(tmp_path / "verify-secrets"),
        }

    return write


@pytest.mark.usefixtures("quick")
def test_changed_files_of_the_environment_are_followed(secret_files):
    with Rolecall.from_env(secret_files(OLD, NEW)) as kit:
        token = kit.create_session().generate_token()
        secret_files(NEW, OLD)
        assert soon(lambda: states(kit) == {NEW_ID: "signing", OLD_ID: "verifying"})
        assert accepts(kit, token)
        secret_files(NEW)
        assert soon(lambda: not accepts(kit, token))
        with pytest.raises(InvalidKey, match="come from the files of the environment; change them there"):
            kit.keys.add(NEXT)


@pytest.mark.usefixtures("quick")
def test_an_argument_takes_precedence_over_a_changed_file(secret_files):
    environ = secret_files(OLD)
    with Rolecall.from_env(environ, api_secret=API_SECRET) as kit:
        secret_files(NEW, OLD)
        assert soon(lambda: states(kit) == {key_id(HMACKey(API_SECRET)): "signing", OLD_ID: "verifying"})


# -- plugins ---------------------------------------------------------------------------------------


class Vault:
    """Stands for a plugin that asks a key management service."""

    def __init__(self, answer: object, name: str = "vault") -> None:
        self.name = name
        self.answer = answer
        self.asked: list[str] = []

    @hookimpl
    def rolecall_signing_keys(self, issuer):
        self.asked.append(issuer)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_plugin_has_the_keys(make_kit):
    vault = Vault([HMACKey(NEW), HMACKey(OLD)])
    kit = make_kit(api_secret=None, plugins=[vault])
    assert accepts(kit, make_kit(api_secret=OLD).create_session().generate_token())
    assert [(one.id, one.state, one.source) for one in kit.keys] == [
        (NEW_ID, "signing", "plugin vault"),
        (OLD_ID, "verifying", "plugin vault"),
    ]
    assert vault.asked == [API_KEY]
    with pytest.raises(InvalidKey, match="come from the plugin vault; change them there"):
        kit.keys.rotate()


def test_keys_of_a_plugin_are_asked_for_again(make_kit):
    vault = Vault([HMACKey(OLD)])
    kit = make_kit(api_secret=None, plugins=[vault])
    token = kit.create_session().generate_token()
    vault.answer = KeyRing([HMACKey(NEW), HMACKey(OLD)])
    kit.keys.reload()
    assert (states(kit), accepts(kit, token)) == ({NEW_ID: "signing", OLD_ID: "verifying"}, True)
    answers: list[object] = [OSError("the vault is sealed"), None, []]
    for vault.answer in answers:
        with pytest.raises(ConfigurationError):
            kit.keys.reload()
    assert states(kit) == {NEW_ID: "signing", OLD_ID: "verifying"}


@pytest.mark.usefixtures("quick")
def test_a_plugin_is_asked_each_minute_and_its_failure_is_told(make_kit, monkeypatch, caplog):
    monkeypatch.setattr(key_watch, "ASK_EVERY", 0.02)
    vault = Vault([HMACKey(OLD)])
    kit = make_kit(api_secret=None, plugins=[vault])
    vault.answer = [HMACKey(NEW), HMACKey(OLD)]
    assert soon(lambda: states(kit) == {NEW_ID: "signing", OLD_ID: "verifying"})
    vault.answer = OSError("the vault is sealed")
    assert soon(lambda: "the vault is sealed" in caplog.text)
    assert states(kit) == {NEW_ID: "signing", OLD_ID: "verifying"}


class Sealed:
    def __init__(self) -> None:
        self.asked = 0

    def reload(self) -> None:
        self.asked += 1
        raise OSError("the vault is sealed")

    def begin_anew(self) -> None:
        pass


def test_a_plugin_that_fails_is_asked_again_when_its_minute_is_over(monkeypatch):
    monkeypatch.setattr(key_watch, "EVERY", 3600.0)  # the test looks itself
    keys = Sealed()
    watch = key_watch.KeyWatch(keys)
    watch.follow([], asks_each_minute=True)
    for seconds, asked in ((0.0, 1), (60.0, 1), (60.0, 1), (0.0, 2)):
        monkeypatch.setattr(key_watch, "ASK_EVERY", seconds)
        watch.look()
        assert keys.asked == asked
    watch.close()


BAD_ANSWERS = {"a text": OLD, "a list of texts": [OLD], "nothing in it": [], "an exception": OSError("sealed")}


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_plugin_without_good_keys_stops_start_up(make_kit, answer):
    with pytest.raises(PluginError, match="plugin vault: rolecall_signing_keys") as caught:
        make_kit(api_secret=None, plugins=[Vault(answer)])
    assert OLD not in str(caught.value)


def test_two_plugins_with_keys_of_one_project_stop_start_up(make_kit):
    with pytest.raises(PluginError, match="one and two have keys"):
        make_kit(api_secret=None, plugins=[Vault([HMACKey(OLD)], "one"), Vault([HMACKey(NEW)], "two")])


def test_a_plugin_that_has_no_keys_of_the_project_leaves_it_to_the_argument(make_kit):
    assert make_kit(plugins=[Vault(None)]).create_session()
    with pytest.raises(ConfigurationError, match="leave one of the two out"):
        make_kit(plugins=[Vault([HMACKey(OLD)])])


# -- processes -------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.usefixtures("quick")
def test_a_forked_worker_follows_the_file_too(make_kit, ring_file):
    kit = make_kit(api_secret=None, keys_file=ring_file.path)
    child = os.fork()
    if child == 0:  # pragma: no cover
        os._exit(0 if soon(lambda: states(kit).get(NEW_ID) == "signing", 20) else 1)
    ring_file.change(API_KEY, lambda found: rotated(found, None, NOW + 10))
    assert os.waitpid(child, 0)[1] == 0


@needs_fork
def test_a_child_that_is_forked_while_a_key_is_retired_refuses_its_tokens(make_kit, monkeypatch):
    token = make_kit(api_secret=OLD).create_session().generate_token()
    kit, accepted = make_kit(api_secret=NEW, verify_secrets=[OLD]), []
    assert [accepts(kit, token) for _ in range(3)] == [True] * 3  # remembered now

    def fork_first():
        monkeypatch.undo()
        accepted.append(in_child(lambda: accepts(kit, token)))
        return VerifiedTokens()

    monkeypatch.setattr("rolecall.engine.state.VerifiedTokens", fork_first)
    kit.keys.retire(OLD_ID, force=True)
    assert accepted == [False]
    assert not accepts(kit, token)


# -- the issuer of the format jwt ------------------------------------------------------------------


def test_an_issuer_has_its_keys_in_a_ring_file_and_publishes_those_that_verify(tmp_path):
    url, file = "https://video.example", RingFile(tmp_path / "keys.json")
    first = file.change(url, lambda found: added(found, new_key(url), NOW))[0].id
    with Rolecall(issuer=url, keys_file=file.path) as kit:
        session = kit.create_session()
        token = session.generate_token()
        second = kit.keys.add().id
        assert accepts(kit, token)
        kit.keys.rotate(force=True)
        assert (accepts(kit, token), accepts(kit, session.generate_token())) == (True, True)
        assert kit.engine.state.signer is not None
        assert [key.kid for key in kit.engine.state.signer.ring] == [second, first]
        kit.keys.retire(first, force=True)
        assert (accepts(kit, token), [key.kid for key in kit.engine.state.signer.ring]) == (False, [second])
        assert accepts(kit, session.generate_token())


def test_an_issuer_has_private_keys_that_verify():
    url = "https://video.example"
    old, new = (pem_of(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
    before, after = Rolecall(issuer=url, private_key=old), Rolecall(issuer=url, private_key=new, verify_keys=[old])
    assert accepts(after, before.create_session().generate_token())
    assert [one.state for one in after.keys] == ["signing", "verifying"]


def test_a_kit_that_only_verifies_has_no_keys():
    public = new_key("https://video.example").public_jwk()
    with Rolecall.verifier({"keys": [public]}, issuer="https://video.example") as kit:
        assert [*kit.keys] == []
        with pytest.raises(ConfigurationError, match="only verifies"):
            kit.keys.add()
