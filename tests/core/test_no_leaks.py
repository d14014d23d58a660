"""A canary: secrets and tokens go through everything, and come out of no log, trace, repr or error."""

from __future__ import annotations

import asyncio
import json
import logging
import pprint
import traceback

import flask
import pytest

from rolecall import Actor, Allow, Deny, Rolecall, RolecallError, blocking, hookimpl
from rolecall.driver import InlineDriver
from rolecall.driver.threads import ThreadPools
from rolecall.keys import HMACKey
from rolecall.keys.making import new_key, pem_of
from rolecall.keys.pem import PrivateKey
from rolecall.keys.ring_store import RingStore
from rolecall.keys.rotation import added
from rolecall.keys.sealing import wrapping_keys
from rolecall.request import Request
from rolecall.stores import open_store
from rolecall.stores.synchronous import SyncDocuments
from rolecall_flask import current_grant, require_role, rolecall_blueprint

KEY = "123456"
ISSUER = "https://video.example"
SECRET = "canary-secret-5b1f0c2e9d7a4c3f8e6b7d2a1c0f9e8d"
DATA = "canary-data-of-ada-lovelace"
#: Parts of the secret as it is, in hexadecimal digits and in base64.
CANARIES = (SECRET, SECRET[7:30], SECRET.encode().hex()[:32], "Y2FuYXJ5LXNlY3JldC01YjFm")


class Leaky:
    """A plugin that is shown everything, says it all in what it raises, and keeps what it was shown."""

    name = "leaky"

    def __init__(self):
        self.seen = []
        self.mode = "allow"

    def answer(self, request, proper):
        self.seen.append(request)
        http = getattr(request, "http", None) or request
        if self.mode == "raise":
            raise RuntimeError(f"{SECRET} {dict(getattr(http, 'headers', {}))}")
        if self.mode == "wrong":
            return SECRET
        if self.mode == "deny":
            return Deny("not today", "closed", detail="for reasons")
        return proper

    @hookimpl
    def rolecall_identify(self, request):
        return self.answer(request, Actor("ada", {"password": SECRET})) if self.mode != "deny" else None

    @hookimpl
    async def rolecall_vote_session(self, request):
        return self.answer(request, Allow())

    @hookimpl
    @blocking
    def rolecall_vote_token(self, request):
        return self.answer(request, Allow(data=DATA))

    @hookimpl
    async def rolecall_vote_access(self, request):
        return self.answer(request, Allow())

    @hookimpl
    def rolecall_token_claims(self, request):
        self.seen.append(request)
        if self.mode == "raise":
            raise RuntimeError(SECRET)
        return {"group": "a"}

    @hookimpl
    def rolecall_on_event(self, event):
        self.seen.append(event)
        if self.mode == "raise":
            raise RuntimeError(SECRET)


def signature(token):
    return token[-40:]


class Scenario:
    """Everything that a kit does, well and badly; all text that comes out of it."""

    def __init__(self, format):
        self.leaky = Leaky()
        self.kit = Rolecall(KEY, SECRET, plugins=[self.leaky], format=format, trace=True)
        self.session = self.kit.create_session()
        self.tokens = [self.session.generate_token("moderator", data=DATA)]
        self.text = []

    def say(self, *values):
        for value in values:
            self.text += [repr(value), str(value), pprint.pformat(value)]

    def attempt(self, function, *arguments, **options):
        try:
            result = function(*arguments, **options)
        except Exception as error:
            self.say(error)
            # As a log has it: frames and messages, all the way down.
            self.text.append("".join(traceback.format_exception(error)))
        else:
            if isinstance(result, str):
                self.tokens.append(result)
            else:
                self.say(result)

    def run(self):
        kit, session_id = self.kit, self.session.session_id
        token = self.tokens[0]
        broken = [
            token[:-4],
            token + "A",
            token.replace(".", "..", 1),
            token[:-10] + "AAAAAAAAAA",
            " " + token,
            token * 9,
        ]
        self.tokens += broken[:2]
        for mode in ("allow", "deny", "wrong", "raise"):
            self.leaky.mode = mode
            self.attempt(kit.create_session)
            self.attempt(lambda: asyncio.run(kit.aio.create_session()))
            self.attempt(kit.generate_token, session_id, "publisher", data=DATA)
            self.attempt(kit.generate_token, session_id, "nobody")
            self.attempt(kit.generate_token, session_id, expire_time=token)
            self.misplace(kit, token)
            for one in (token, *broken):
                self.attempt(kit.verify_token, one)
                self.attempt(kit.verify_token, one, "1_another")
                self.explain(one, kit)
            self.serve(kit, broken)
        self.attempt(kit.end_session, session_id)
        self.attempt(kit.verify_token, token)
        self.say(kit, kit.aio, kit.engine, kit.aio.engine, kit._state, self.session, kit.plugins, kit.roles)
        self.say(kit._state.mint, kit._state.session_ids, kit._state.store, kit._state.verified, kit._state.rules)
        self.say(*vars(kit._state).values())
        # What plugins may log: all that they are shown.
        for shown in self.leaky.seen:
            self.say(shown, getattr(shown, "http", None), getattr(shown, "actor", None), getattr(shown, "grant", None))
        self.start_up_errors()
        kit.close()

    def misplace(self, kit, token):
        """Errors and logs repeat no token that was sent where none belongs; what plugins see of it is another test."""
        seen, client = len(self.leaky.seen), self.client(kit)
        self.attempt(kit.generate_token, token)
        self.attempt(kit.generate_token, self.session.session_id, token)
        for answer in (
            client.post(f"/sessions/{self.session.session_id}/tokens", json={"role": token}),
            client.post(f"/sessions/{token}/tokens"),
        ):
            self.text += [answer.get_data(as_text=True), str(answer.headers)]
        del self.leaky.seen[seen:]

    def explain(self, token, kit):
        http = Request("GET", "/", {}, {"authorization": f"Bearer {token}"}, token.encode())
        for explanation in (
            kit.explain_access(token, role="moderator"),
            kit.explain_access(http=http),
            kit.explain_token(self.session.session_id, data=DATA, http=http),
        ):
            self.say(explanation, http)
            self.text += [explanation.as_json(), json.dumps(explanation.as_dict())]

    def client(self, kit):
        app = flask.Flask(__name__)
        app.register_blueprint(rolecall_blueprint(kit))

        @app.get("/guarded")
        @require_role("publisher")
        def guarded():
            return repr(current_grant)

        return app.test_client()

    def serve(self, kit, broken):
        client, token = self.client(kit), self.tokens[0]
        path = f"/sessions/{self.session.session_id}"
        for one in (token, *broken):
            headers = {"Authorization": f"Bearer {one}"}
            twice = {"Authorization": f"Bearer {one}, Bearer {one}"}
            for answer in (
                client.get("/guarded", headers=headers),
                client.get("/guarded", headers=twice),
                client.get("/guarded", headers={"Authorization": f"Basic {one}"}),
                client.get(path, headers=headers),
                client.post("/sessions", json={one[:64]: 1}),
                client.post(f"{path}/tokens", json={"expire_time": one}),
            ):
                self.text += [answer.get_data(as_text=True), str(answer.headers)]
        issued = client.post(f"{path}/tokens", json={"data": DATA})
        if issued.status_code == 201:
            self.tokens.append(issued.json["token"])
        else:
            self.text += [issued.get_data(as_text=True), str(issued.headers)]

    def start_up_errors(self):
        for options in (
            {"api_key": SECRET, "api_secret": "short"},
            {"api_key": KEY, "api_secret": SECRET[:20]},
            {"api_key": SECRET + "~", "api_secret": KEY},
            {"api_key": KEY, "api_secret": SECRET, "store": f"postgres://user:{SECRET}@host/db"},
            {"api_key": KEY, "api_secret": SECRET, "store": f"sqlite://{SECRET}"},
            {"api_key": KEY, "api_secret": SECRET, "format": "nothing"},
            {"api_key": KEY, "api_secret": SECRET, "plugin_config": {"a": SECRET}},
            {"api_key": KEY, "api_secret": SECRET, "leeway": 700},
        ):
            self.attempt(Rolecall, **options)
        environ = {"ROLECALL_API_KEY": KEY, "ROLECALL_API_SECRET": SECRET}
        for variable in ("ROLECALL_STORE", "ROLECALL_TRACE", "ROLECALL_PLUGIN_A"):
            self.attempt(Rolecall.from_env, {**environ, variable: SECRET})


@pytest.mark.parametrize("format", ["opentok", "t1"])
def test_no_secret_and_no_token_comes_out_anywhere(format, caplog):
    caplog.set_level(logging.DEBUG)
    scenario = Scenario(format)
    scenario.run()

    logged = "\n".join([caplog.text, *(record.getMessage() for record in caplog.records)])
    out = {"log": logged, "elsewhere": "\n".join(scenario.text)}
    assert len(logged) > 10_000
    assert len(out["elsewhere"]) > 100_000
    found = [
        (place, what, text[max(0, text.index(what) - 160) : text.index(what)])
        for place, text in out.items()
        for what in (*CANARIES, *map(signature, scenario.tokens))
        # What a plugin raises is its own, and stands behind the error as its cause; the log has its place alone.
        if what in text and not (place == "elsewhere" and f"RuntimeError: {SECRET}" in text and what in CANARIES)
    ]
    assert found == []


def test_a_store_holds_no_secret_and_no_token(tmp_path):
    kit = Rolecall(KEY, SECRET, store=f"sqlite:///{tmp_path}/app.db", ledger=True)
    session = kit.create_session()
    tokens = [session.generate_token("moderator", actor="ada") for _ in range(2)]
    tokens.append(kit.renew_token(tokens[1]))
    for token in tokens[1:]:
        kit.revoke_token(token)
    session.exclude("ada")
    kit.revoke_actor("ada")
    kit.revoke_before()
    session.reset()
    session.end()
    kit.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert session.session_id.encode() in written
    assert [what for what in (*CANARIES, *map(signature, tokens)) if what.encode() in written] == []


def test_keys_in_a_store_stand_there_sealed(tmp_path):
    url, wrapping_key = f"sqlite:///{tmp_path}/app.db", "5b1f0c2e9d7a4c3f8e6b7d2a1c0f9e8d" * 2
    pools = ThreadPools()
    documents = SyncDocuments(open_store(url), InlineDriver(pools), lambda: 5.0)
    rings = RingStore(documents, wrapping_keys(wrapping_key))
    rings.change(KEY, lambda ring: added(ring, HMACKey(SECRET), 0.0))
    rings.change(ISSUER, lambda ring: added(ring, new_key(ISSUER), 0.0))
    (private,) = (one.key for one in rings.read()[ISSUER])
    assert isinstance(private, PrivateKey)
    pem = pem_of(private._private).splitlines()[1]
    with Rolecall(KEY, keys_key=wrapping_key, store=url) as kit:
        assert kit.verify_token(kit.create_session().generate_token())
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"rc1." in written
    canaries = [one.encode() for one in (*CANARIES, wrapping_key)]
    assert [one for one in (*canaries, bytes.fromhex(wrapping_key), pem[24:56]) if one in written] == []
    documents.close()
    pools.close()


def test_no_trace_holds_connection_data(caplog):
    caplog.set_level(logging.DEBUG)
    Scenario("opentok").run()
    assert DATA not in caplog.text


def test_an_event_repeats_no_token_that_was_sent_where_none_belongs():
    """An audit trail is kept for long, and a token in it is good for as long as it lives."""
    leaky = Leaky()
    with Rolecall(KEY, SECRET, plugins=[leaky]) as kit:
        session = kit.create_session()
        token = session.generate_token("moderator")
        for misplaced in ((token,), (session.session_id, token)):
            with pytest.raises(RolecallError):
                kit.generate_token(*misplaced)
    assert signature(token) not in repr(leaky.seen)


def test_an_error_of_the_kit_holds_neither_token_nor_secret_in_its_arguments():
    with Rolecall(KEY, SECRET) as kit:
        token = kit.create_session().generate_token("moderator", data=DATA)
        errors = []
        for wrong in (token[:-4], token + "A", token[:-10] + "AAAAAAAAAA", token * 9):
            with pytest.raises(RolecallError) as refusal:
                kit.verify_token(wrong)
            errors.append(repr((refusal.value.args, vars(refusal.value))))
    assert not any(canary in error for error in errors for canary in (SECRET, signature(token), DATA))
