"""Rolecall in GraphQL: guards for resolvers and subscriptions of Strawberry and Ariadne, behind ASGI and WSGI."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import ariadne
import ariadne.asgi
import ariadne.wsgi
import flask
import graphql
import pytest
import starlette.requests
import starlette.responses
import strawberry
import strawberry.asgi
import strawberry.flask.views
from graphql import GraphQLError
from starlette.testclient import TestClient

import rolecall_flask
import rolecall_starlette
import rolecall_wsgi
from rolecall import AccessRequest, Deny, Rolecall, Web, hookimpl
from rolecall.errors import ConfigurationError
from rolecall_graphql import Field, current_grant, find_grant, require_capability, require_role, require_token

from ..untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"

#: The fields that were resolved, with the session that each was for.
Runs = list[tuple[str, Any]]


class Doorkeeper:
    """Keeps one bearer out of everything but the endpoint itself."""

    @hookimpl
    def rolecall_vote_access(self, request: AccessRequest) -> Any:
        is_eve = request.grant.data == "Eve" and request.session_id is not None
        return Deny("Eve stays outside", code="not_eve") if is_eve else None


@pytest.fixture
def kit():
    with Rolecall(KEY, SECRET, entry_points=False, plugins=[Doorkeeper()], web=Web(recheck=0.05)) as kit:
        yield kit


# -- one schema, in each library ---------------------------------------------------------------------


def strawberry_schema(runs: Runs, *, is_async: bool) -> strawberry.Schema:
    @strawberry.input
    class Place:
        session_id: str

    def session_of_place(field: Field) -> str:
        session_id: str = field.arguments["place"].session_id
        return session_id

    @strawberry.type
    class Room:
        session_id: str

        @strawberry.field
        @require_role("moderator", session=lambda field: field.source.session_id)
        def notes(self, info: strawberry.Info) -> str:
            runs.append(("notes", self.session_id))
            return "notes"

    @require_role("subscriber")
    def title(info: strawberry.Info, session_id: str | None = None) -> str | None:
        runs.append(("title", session_id))
        return current_grant(info).role

    @require_token(session=session_of_place)
    def at(self: Any, info: strawberry.Info, place: Place) -> str | None:
        runs.append(("at", place.session_id))
        return "at"

    @require_role("moderator")
    async def close_async(info: strawberry.Info, session_id: str) -> bool | None:
        runs.append(("close", session_id))
        return True

    @require_role("moderator")
    def close(info: strawberry.Info, session_id: str) -> bool | None:
        runs.append(("close", session_id))
        return True

    def room(session_id: str) -> Room:
        return Room(session_id=session_id)

    def health(info: strawberry.Info) -> str:
        grant = find_grant(info)
        return grant.role if grant else "nobody"

    @require_token
    async def messages(info: strawberry.Info, session_id: str) -> AsyncIterator[str]:
        runs.append(("messages", session_id))
        for number in range(1_000):
            yield str(number)
            await asyncio.sleep(0.01)

    class Query:
        pass

    query = type("Query", (), {"title": strawberry.field(title), "at": strawberry.field(at)})
    query.room, query.health = strawberry.field(room), strawberry.field(health)  # type: ignore[attr-defined]
    mutation = type("Mutation", (), {"close": strawberry.mutation(close_async if is_async else close)})
    subscription = type("Subscription", (), {"messages": strawberry.subscription(messages)})
    return strawberry.Schema(strawberry.type(query), strawberry.type(mutation), strawberry.type(subscription))


TYPES = """
type Query {
    title(sessionId: String): String
    at(place: Place!): String
    room(sessionId: String!): Room!
    health: String!
}
input Place { sessionId: String! }
type Room { sessionId: String!, notes: String! }
type Mutation { close(sessionId: String!): Boolean }
type Subscription { messages(sessionId: String!): String! }
"""


def ariadne_schema(runs: Runs) -> Any:
    query, room = ariadne.QueryType(), ariadne.ObjectType("Room")
    mutation, subscription = ariadne.MutationType(), ariadne.SubscriptionType()

    @query.field("title")
    @require_role("subscriber")
    def title(_, info, **arguments):
        runs.append(("title", arguments.get("session_id")))
        return current_grant(info).role

    @query.field("at")
    @require_token(session=lambda field: field.arguments["place"]["session_id"])
    def at(*_, place):
        runs.append(("at", place["session_id"]))
        return "at"

    @query.field("room")
    def find_room(*_, session_id):
        return {"session_id": session_id}

    @query.field("health")
    def health(_, info):
        grant = find_grant(info)
        return grant.role if grant else "nobody"

    @room.field("notes")
    @require_role("moderator", session=lambda field: field.source["session_id"])
    async def notes(room, info):
        runs.append(("notes", room["session_id"]))
        return "notes"

    @mutation.field("close")
    @require_role("moderator")
    def close(_, info, session_id):
        runs.append(("close", session_id))
        return True

    @subscription.source("messages")
    @require_token
    async def messages(_, info, session_id):
        runs.append(("messages", session_id))
        for number in range(1_000):
            yield str(number)
            await asyncio.sleep(0.01)

    @subscription.field("messages")
    def message(text, info, **_):
        return text

    kinds = [query, room, mutation, subscription]
    return ariadne.make_executable_schema(TYPES, *kinds, convert_names_case=True)


def strawberry_asgi(kit: Rolecall, runs: Runs) -> Any:
    app = strawberry.asgi.GraphQL(strawberry_schema(runs, is_async=True))
    return rolecall_starlette.require_token(kit=kit, session_param=None, optional=True)(app)


def ariadne_asgi(kit: Rolecall, runs: Runs) -> Any:
    from ariadne.asgi.handlers import GraphQLTransportWSHandler

    app = ariadne.asgi.GraphQL(ariadne_schema(runs), websocket_handler=GraphQLTransportWSHandler())
    return rolecall_starlette.require_token(kit=kit, session_param=None, optional=True)(app)


def strawberry_flask(kit: Rolecall, runs: Runs) -> Any:
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit), url_prefix="/video")
    schema = strawberry_schema(runs, is_async=False)
    view = strawberry.flask.views.GraphQLView.as_view("graphql", schema=schema)
    guarded = rolecall_flask.require_token(session_param=None, optional=True)(view)
    app.add_url_rule("/", view_func=guarded, methods=["GET", "POST"])
    return app


def ariadne_wsgi(kit: Rolecall, runs: Runs) -> Any:
    schema = ariadne_schema_without_coroutines(runs)
    return rolecall_wsgi.require_token(kit=kit, session_param=None, optional=True)(ariadne.wsgi.GraphQL(schema))


def ariadne_schema_without_coroutines(runs: Runs) -> Any:
    schema = ariadne_schema(runs)

    @require_role("moderator", session=lambda field: field.source["session_id"])
    def notes(room, info):
        runs.append(("notes", room["session_id"]))
        return "notes"

    schema.type_map["Room"].fields["notes"].resolve = notes
    return schema


SITES: dict[str, Callable[[Rolecall, Runs], Any]] = {
    "strawberry asgi": strawberry_asgi,
    "ariadne asgi": ariadne_asgi,
    "strawberry flask": strawberry_flask,
    "ariadne wsgi": ariadne_wsgi,
}
every_site = pytest.mark.parametrize("make", SITES.values(), ids=SITES)


def ask(app: Any, query: str, token: str | None = None, **variables: Any) -> tuple[Any, dict[str, str]]:
    """The data of a query's answer, and the code of each field that was refused."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = {"query": query, "variables": variables}
    if isinstance(app, flask.Flask | rolecall_wsgi.guards.GuardedApp):
        from werkzeug.test import Client

        answer = Client(app).post("/", json=body, headers=headers)
        assert answer.status_code in (200, 400), answer.text  # Ariadne answers 400 where all of the data is null
        said: Any = answer.json
    else:
        answered = TestClient(app).post("/", json=body, headers=headers)
        assert answered.status_code in (200, 400), answered.text
        said = answered.json()
    return said["data"], {error["path"][0]: code_of(error) for error in said.get("errors", ())}


def code_of(error: dict[str, Any]) -> str:
    code: str = error.get("extensions", {}).get("code", error["message"])
    return code


# -- fields ------------------------------------------------------------------------------------------


@pytest.mark.each_choice
@every_site
def test_a_field_is_resolved_for_the_session_of_the_token_and_nobody_else(make, kit):
    runs: Runs = []
    app = make(kit, runs)
    mine, other = kit.create_session(), kit.create_session()
    close = "mutation($id: String!) { close(sessionId: $id) }"
    moderator = mine.generate_token("moderator")
    assert ask(app, close, moderator, id=mine.session_id) == ({"close": True}, {})
    assert runs == [("close", mine.session_id)]
    for token, session_id, code in (
        (None, mine.session_id, "missing_token"),
        (mine.generate_token("publisher"), mine.session_id, "insufficient_role"),
        (other.generate_token("moderator"), mine.session_id, "wrong_session"),
        (moderator, "", "wrong_session"),
        (mine.generate_token("moderator", data="Eve"), mine.session_id, "not_eve"),
    ):
        assert ask(app, close, token, id=session_id) == ({"close": None}, {"close": code})
    assert len(runs) == 1


@pytest.mark.each_choice
@every_site
def test_a_session_that_is_left_out_or_null_is_none(make, kit):
    runs: Runs = []
    app = make(kit, runs)
    token = kit.create_session().generate_token("moderator")
    for query in ("{ title }", "{ title(sessionId: null) }", "query($id: String) { title(sessionId: $id) }"):
        assert ask(app, query, token) == ({"title": None}, {"title": "wrong_session"})
    assert runs == []


@pytest.mark.each_choice
@every_site
def test_each_alias_and_each_nested_field_is_judged_for_itself(make, kit):
    runs: Runs = []
    app = make(kit, runs)
    mine, other = kit.create_session(), kit.create_session()
    token = mine.generate_token("moderator")
    query = """query($mine: String!, $other: String!, $place: Place!, $elsewhere: Place!) {
        a: title(sessionId: $mine)
        b: title(sessionId: $other)
        c: at(place: $place)
        d: at(place: $elsewhere)
        health
    }"""
    places = {"place": {"sessionId": mine.session_id}, "elsewhere": {"sessionId": other.session_id}}
    data, errors = ask(app, query, token, mine=mine.session_id, other=other.session_id, **places)
    assert data == {"a": "moderator", "b": None, "c": "at", "d": None, "health": "moderator"}
    assert errors == {"b": "wrong_session", "d": "wrong_session"}
    assert {session_id for _, session_id in runs} == {mine.session_id}
    nested = "query($id: String!) { room(sessionId: $id) { notes } }"
    assert ask(app, nested, token, id=mine.session_id) == ({"room": {"notes": "notes"}}, {})
    assert ask(app, nested, token, id=other.session_id) == (None, {"room": "wrong_session"})


@pytest.mark.each_choice
@every_site
def test_an_open_field_is_for_everybody_and_a_revoked_token_for_nothing(make, kit):
    app = make(kit, [])
    assert ask(app, "{ health }") == ({"health": "nobody"}, {})


# -- what is no query of a client ----------------------------------------------------------------------


def resolve(kit: Rolecall, resolver: Any, caplog: Any, context: Any = None, query: str = "{ field }") -> str:
    """The code of a field that a resolver answers behind a good token."""
    types = ariadne.QueryType()
    types.set_field("field", resolver)
    schema = ariadne.make_executable_schema("type Query { field(text: String): String }", types)
    app = ariadne.asgi.GraphQL(schema, context_value=context)
    guarded = rolecall_starlette.require_token(kit=kit, session_param=None)(app)
    _, errors = ask(guarded, query, kit.create_session().generate_token("moderator"))
    return errors.get("field", "resolved")


def test_a_mistake_of_the_app_resolves_nothing_and_tells_the_client_nothing(kit, caplog):
    async def blind():
        return "in"

    async def unsettled(_, info, text=None):
        return "in"

    async def told(_, info, text=None):
        return "in"

    def failing(field):
        raise ValueError("a secret detail")

    caplog.set_level(logging.ERROR)
    secret = "configuration_error"
    assert resolve(kit, lambda *_: require_token(blind)(), caplog) == secret
    assert resolve(kit, require_token(unsettled), caplog) == secret
    assert "is not told whether that names the session" in caplog.text
    assert resolve(kit, require_token(session_param=None)(told), caplog) == "resolved"
    assert resolve(kit, require_token(session_param="room")(told), caplog) == secret
    assert resolve(kit, require_token(session=failing)(told), caplog) != "resolved"
    assert resolve(kit, require_token(session_param=None)(told), caplog, context={"user": "ada"}) == secret


def test_the_grant_of_another_kit_resolves_nothing(kit, caplog):
    async def told(_, info, text=None):
        return "in"

    with Rolecall("654321", SECRET[::-1], entry_points=False) as other:
        assert resolve(kit, require_token(kit=other, session_param=None)(told), caplog) == "missing_token"
    assert resolve(kit, require_token(kit=kit, session_param=None)(told), caplog) == "resolved"


def test_the_session_function_may_answer_for_itself(kit, caplog):
    def nowhere(field: Field) -> str:
        raise GraphQLError("no such lesson", extensions={"code": "no_lesson"})

    async def lesson(_, info):
        return "in"

    assert resolve(kit, require_token(session=nowhere)(lesson), caplog) == "no_lesson"


@pytest.mark.parametrize("target", [object(), int, strawberry.type(type("Room", (), {"__annotations__": {"id": str}}))])
def test_a_guard_goes_on_a_function_only(target):
    with pytest.raises(ConfigurationError, match="protects a resolver, a function, not"):
        require_capability("signal")(untyped(target))


# -- subscriptions -------------------------------------------------------------------------------------


SUBSCRIBE = "subscription($id: String!) { messages(sessionId: $id) }"


def subscribed(websocket: Any, session_id: str) -> Any:
    """Begin a subscription, and return a function that receives its next message."""
    websocket.send_json({"type": "connection_init"})
    assert websocket.receive_json()["type"] == "connection_ack"
    payload = {"query": SUBSCRIBE, "variables": {"id": session_id}}
    websocket.send_json({"id": "1", "type": "subscribe", "payload": payload})
    return websocket.receive


@pytest.mark.each_choice
@pytest.mark.parametrize("make", [strawberry_asgi, ariadne_asgi])
def test_a_subscription_is_for_the_tokens_session_and_its_socket_ends_with_the_grant(make, kit):
    runs: Runs = []
    client = TestClient(make(kit, runs))
    mine, other = kit.create_session(), kit.create_session()
    protocols = ["graphql-transport-ws", "rolecall.bearer", mine.generate_token()]
    with client.websocket_connect("/", protocols) as websocket:
        message = json.loads(subscribed(websocket, other.session_id)()["text"])
        errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        assert [code_of(error) for error in errors] == ["wrong_session"]
    assert runs == []
    with client.websocket_connect("/", protocols) as websocket:
        receive = subscribed(websocket, mine.session_id)
        assert json.loads(receive()["text"])["payload"]["data"] == {"messages": "0"}
        kit.end_session(mine.session_id)
        message = receive()
        while message["type"] == "websocket.send":
            message = receive()
        assert message["code"] == 4401
    assert runs == [("messages", mine.session_id)]


async def numbers() -> AsyncIterator[int]:
    for number in range(1_000):
        yield number
        await asyncio.sleep(0.01)


async def fetched_numbers(*_: Any) -> AsyncIterator[int]:
    return numbers()


@pytest.mark.parametrize("source", [lambda *_: numbers(), fetched_numbers, lambda *_: fetched_numbers()])
def test_a_subscription_whose_source_makes_its_values_elsewhere_ends_with_the_grant(source, kit):
    """The schema is asked without an endpoint, whose own guard ends a WebSocket, too."""
    session, subscription = kit.create_session(), ariadne.SubscriptionType()
    subscription.set_source("numbers", require_token(session_param=None)(source))
    subscription.set_field("numbers", lambda number, info: number)
    types = "type Query { nothing: Int } type Subscription { numbers: Int! }"
    schema = ariadne.make_executable_schema(types, subscription)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        context = {"request": starlette.requests.Request(scope)}
        query = graphql.parse("subscription { numbers }")
        results = await untyped(graphql.subscribe(schema, query, context_value=context))
        seen = [await anext(results)]
        kit.end_session(session.session_id)
        seen += [result async for result in results]
        await starlette.responses.JSONResponse(len(seen))(scope, receive, send)

    guarded = rolecall_starlette.require_token(kit=kit, session_param=None)(app)
    answer = TestClient(guarded).get("/", headers={"Authorization": f"Bearer {session.generate_token()}"})
    assert 0 < answer.json() < 1_000
