"""The description of the routes: a sound OpenAPI document, and true to what the routes take and answer."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from itertools import combinations, product
from typing import Any, NamedTuple
from urllib.parse import urlencode

import jsonschema_rs
import jwt
import pytest
import schemathesis
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rolecall import Deny, Role, Web, hookimpl
from rolecall.driver import drive
from rolecall.encoding.jws import MAX_TOKEN_LENGTH
from rolecall.errors import NotFoundAtService, StoreUnavailable
from rolecall.http.api.moderation import MUTE_LIMIT
from rolecall.http.api.openapi import description
from rolecall.http.api.rest import ROUTES
from rolecall.http.messages import Response
from rolecall.http.respond import respond
from rolecall.media import LiveKit, Turn
from rolecall.media.webhooks import LONGEST_WEBHOOK
from rolecall.policies import AllowAnyone
from rolecall.request import Request
from rolecall.sessions import SessionRecord
from rolecall.stores.listing import Page
from rolecall.stores.memory import MemoryStore

from ...own_tokens import ISSUER, pem

API_KEY, API_SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
NOW = 1_795_186_800.0
COOKIE, QUERY = "__Host-rolecall", "access_token"
#: A body that no operation takes.
TOO_LONG = b" " * (MUTE_LIMIT.length + 1)

#: What a kit may have switched on, and what its description says of that.
WEBS = {
    "header": Web(),
    "cookie": Web(cookie=COOKIE),
    "query": Web(query=QUERY),
    "both": Web(cookie=COOKIE, query=QUERY),
    "pages": Web(origins=["https://app.example"]),
}


class Host:
    """Has a role of its own."""

    @hookimpl
    def rolecall_register_roles(self):
        return [Role("host", ["connect", "subscribe", "publish", "signal", "force_unpublish"], "publisher")]


class Undecided:
    """Votes with what is no vote."""

    @hookimpl
    def rolecall_vote_session(self, request):
        return True if request.http else None

    @hookimpl
    def rolecall_vote_token(self, request):
        return True if request.http else None

    @hookimpl
    def rolecall_vote_access(self, request):
        return True


class Wavering:
    """Votes with what is no vote, whoever asks, on acts and on sessions somewhere."""

    @hookimpl
    def rolecall_vote_session(self, request):
        return True if request.properties.location else None

    @hookimpl
    def rolecall_vote_moderation(self, request):
        return True


class Studio:
    """Carries the media of sessions in which there are two streams."""

    @hookimpl
    def rolecall_media_service(self, request):
        return self

    def signal(self, *asked):
        return None

    force_disconnect = mute_stream = mute_all = signal

    def list_streams(self, session_id):
        return [{"id": "stream-1", "name": ""}, {"id": "stream-2"}]

    def list_connections(self, session_id):
        return [{"connectionId": "connection-1", "connectionState": "Connected"}]


class Empty(Studio):
    """Carries the media of no session."""

    def signal(self, *asked):
        raise NotFoundAtService("nobody is there")

    force_disconnect = mute_stream = mute_all = list_streams = list_connections = signal


class Busy:
    """Asks everybody to come again later; of servers, who want a session somewhere, or to act in one."""

    denial = Deny("there is too much to do", status=429, retry_after=60)

    @hookimpl
    def rolecall_vote_session(self, request):
        return self.denial if request.http or request.properties.location else None

    @hookimpl
    def rolecall_vote_token(self, request):
        return self.denial if request.http else None

    @hookimpl
    def rolecall_vote_access(self, request):
        return self.denial

    @hookimpl
    def rolecall_vote_moderation(self, request):
        return self.denial


class Closed:
    """Lets nobody in."""

    @hookimpl
    def rolecall_vote_access(self, request):
        return Deny("the house is closed")


class Lost(MemoryStore):
    """A store that cannot be read."""

    shared = True

    def get_session(self, session_id):
        raise StoreUnavailable("gone")


class Listener:
    """A plugin that is told of events."""

    @hookimpl
    def rolecall_on_event(self, event):
        pass


@pytest.fixture
def described(make_kit):
    """The description of a kit with these options."""

    def described(prefix: str = "/video", **options) -> dict[str, Any]:
        return description(ROUTES, prefix, make_kit(entry_points=False, **options).api)

    return described


@pytest.fixture
def document(described) -> dict[str, Any]:
    return described()


def operations_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The operations, by their ids."""
    every = (item for path in document["paths"].values() for name, item in path.items() if name != "parameters")
    return {operation["operationId"]: operation for operation in every}


JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def body_schema(document: dict[str, Any], operation: str, media_type: str = JSON) -> dict[str, Any]:
    return operations_of(document)[operation]["requestBody"]["content"][media_type]["schema"]


def validator(document: dict[str, Any], schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """For a schema of the document, and what it refers to."""
    return jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]}, validate_formats=True)


def schemas_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every schema that stands in the document."""
    found: list[dict[str, Any]] = [*document["components"]["schemas"].values()]

    def look(value: Any) -> None:
        if isinstance(value, dict):
            found.extend([value["schema"]] if "schema" in value else [])
            for item in value.values():
                look(item)
        elif isinstance(value, list):
            for item in value:
                look(item)

    look(document["paths"])
    return found


# -- the document ----------------------------------------------------------------------------------


@pytest.mark.parametrize("web", WEBS.values(), ids=WEBS)
def test_it_is_a_sound_openapi_document(described, web):
    document = described(web=web)
    schemathesis.openapi.from_dict(document).validate()
    for schema in schemas_of(document):
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
    references = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(document)))
    assert references == set(document["components"]["schemas"])


def test_what_is_no_openapi_document_does_not_pass_for_one(document):
    document["paths"]["/sessions"]["post"]["responses"]["201"].pop("description")
    with pytest.raises(ValueError, match="description"):
        schemathesis.openapi.from_dict(document).validate()


def test_every_operation_that_is_granted_to_some_is_in_it_and_nothing_else(document):
    listed = {
        (path, method.upper()) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    every = {(route.path, method): operation for route in ROUTES for method, operation in route.operations.items()}
    assert listed == {place for place, operation in every.items() if operation.status < 400}


OF_SESSIONS = {"create_session", "read_session", "end_session", "create_token", "describe"}
OF_LEDGER = {"list_tokens"}
OF_MEDIA = {"create_ticket", "receive_webhook"}
OF_HEALTH = {"check_life", "check_readiness"}
OF_KEYS = {"list_keys"}
OF_TAKING_BACK = {"exclude_named", "exclude_actor", "readmit_named", "readmit_actor", "reset_session"}
OF_OAUTH = {"revoke_token", "introspect_token"}
OF_ACTS = {"signal_session", "disconnect_connection", "list_connections", "list_streams", "mute_stream", "mute_all"}
OF_SDKS = {
    "create_sdk_session",
    "signal_all",
    "signal_connection",
    "disconnect",
    "mute_one",
    "mute_session",
    "list_sdk_connections",
    "list_sdk_streams",
    "list_sdk_streams_again",
    "find_stream",
}
OF_SERVERS = OF_SDKS | {"list_sessions"}


def test_operations_have_ids_that_stay(document):
    every = OF_SESSIONS | OF_LEDGER | OF_MEDIA | OF_HEALTH | OF_KEYS | OF_ACTS | OF_TAKING_BACK | OF_OAUTH | OF_SERVERS
    assert set(operations_of(document)) == every


def test_every_variable_part_of_a_path_is_a_parameter(document):
    for path, item in document["paths"].items():
        named = [
            (parameter["name"], parameter["in"], parameter["required"]) for parameter in item.get("parameters", ())
        ]
        assert named == [(name, "path", True) for name in re.findall(r"{(\w+)}", path)]


def test_a_session_id_is_what_its_parameter_says(kit, document):
    (parameter,) = document["paths"]["/sessions/{session_id}"]["parameters"]
    valid = validator(document, parameter["schema"]).is_valid
    ids = [kit.create_session(location="2001:db8::1", media_mode=mode).session_id for mode in ("relayed", "routed")]
    assert all(map(valid, ids))
    assert not any(map(valid, ["", "1_", "3_MX4", "1_MX4=", "x" * 256, "1_" + "x" * 254, "1_M X4"]))


#: What may stand in a path for a connection or a stream, and what not.
IDS = {
    "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34": True,
    "Az09-_.~=+": True,
    "..a": True,
    "x" * 255: True,
    "x" * 256: False,
    "": False,
    ".": False,
    "..": False,
    "a/b": False,
    "a b": False,
    "a:b": True,
    "bob@example.org": True,
    "auth0|123": True,
    "Zoë": True,
    "阿": True,
    "a,b": True,
    "a;b": False,
    'a"b': False,
    "a<b": False,
    "a?b": False,
    "a#b": False,
    "a%2Fb": False,
    "a\\b": False,
    "a\x00": False,
    "a\x7f": False,
    "a\x85": False,
    " a": False,
    "a\u00a0": False,
    "a\u200b": False,
    "\u202ea": False,
    "a\u2028": False,
    "\ufeffa": False,
    "a\u3164": False,
    "a\U000e0041": False,
}


@pytest.mark.parametrize("text", IDS, ids=lambda text: ascii(text)[:20])
def test_the_parameters_are_exactly_the_ids_that_the_service_takes(make_kit, text):
    kit = make_kit(entry_points=False, plugins=[Studio()])
    document = description(ROUTES, "", kit.api)
    session_id = kit.create_session().session_id
    for operation, name in (
        ("disconnect_connection", "connection_id"),
        ("mute_stream", "stream_id"),
        ("readmit_named", "actor_id"),
    ):
        parameters = parameters_of(document, operation)
        assert validator(document, parameters[name]).is_valid(text) == IDS[text]
        assert (acted(kit, operation, {}, session_id, **{name: text}).status == 204) == IDS[text]


def parameters_of(document: dict[str, Any], operation: str) -> dict[str, Any]:
    """The schemas of the path's variable parts."""
    (item,) = [
        item
        for item in document["paths"].values()
        if any(one.get("operationId") == operation for name, one in item.items() if name != "parameters")
    ]
    return {parameter["name"]: parameter["schema"] for parameter in item["parameters"]}


@pytest.mark.parametrize("api_key", [API_KEY, "a-Z-0", APPLICATION])
def test_an_api_key_is_what_its_parameter_says(document, api_key):
    valid = validator(document, parameters_of(document, "signal_all")["api_key"]).is_valid
    assert valid(api_key)
    assert not any(map(valid, ["", "a/b", "a b", "x" * 65]))


@pytest.mark.parametrize(
    ("root", "route", "url"),
    [
        ("", "/openapi.json", "/"),
        ("", "/video/openapi.json", "/video"),
        ("/outer", "/video/openapi.json", "/outer/video"),
        ("/outer", "/openapi.json", "/outer"),
    ],
)
def test_it_is_served_with_the_prefix_that_it_was_asked_under(make_kit, root, route, url):
    kit = make_kit(entry_points=False)
    response = drive(respond(kit.api, ROUTES[-1], Request("GET", route, root=root)))
    assert json.loads(response.body)["servers"] == [{"url": url}]
    assert json.loads(response.body) == description(ROUTES, url.rstrip("/"), kit.api)


def test_two_kits_describe_themselves_in_the_same_bytes(described):
    assert json.dumps(described()) == json.dumps(described())


def test_no_status_hides_behind_a_default(document):
    for operation in operations_of(document).values():
        assert all(re.fullmatch("[1-5][0-9][0-9]", status) for status in operation["responses"])


# -- who may -----------------------------------------------------------------------------------------

BEARER = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
BASIC = {"basic": {"type": "http", "scheme": "basic"}}
SERVER = {"server": {"type": "apiKey", "in": "header", "name": "X-OPENTOK-AUTH"}}
BY_APPLICATION = {"application": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
BY_COOKIE = {
    "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    "csrf": {"type": "apiKey", "in": "header", "name": "x-csrf-token"},
}
BY_QUERY = {"query": {"type": "apiKey", "in": "query", "name": QUERY}}


@pytest.mark.parametrize(
    ("web", "schemes"),
    [
        ("header", BEARER),
        ("cookie", BEARER | BY_COOKIE),
        ("query", BEARER | BY_QUERY),
        ("both", BEARER | BY_COOKIE | BY_QUERY),
        ("pages", BEARER),
    ],
)
def test_tokens_come_only_in_the_places_that_are_switched_on(described, web, schemes):
    assert described(web=WEBS[web])["components"]["securitySchemes"] == schemes | BASIC | SERVER


@pytest.fixture(scope="module")
def application() -> dict[str, Any]:
    """An application's credentials."""
    key = rsa.generate_private_key(65537, 2048)
    return {
        "application_id": APPLICATION,
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }


def test_servers_come_with_what_the_kit_has_keys_for(described, application):
    alone = {"api_key": None, "api_secret": None, **application}
    for options, by_secret, schemes in (
        ({}, BASIC, SERVER),
        (application, BASIC, SERVER | BY_APPLICATION),
        (alone, {}, BY_APPLICATION),
    ):
        document = described(**options)
        assert document["components"]["securitySchemes"] == BEARER | by_secret | schemes
        operations = operations_of(document)
        ways: list[dict[str, Any]] = [{scheme: []} for scheme in schemes]
        assert all(operations[name]["security"] == ways for name in OF_SERVERS)
        assert all(operations[name]["security"] == [*({name: []} for name in by_secret), *ways] for name in OF_OAUTH)
        assert all(operations[name]["security"][1:] == ways for name in OF_TAKING_BACK)


def test_no_client_s_token_is_a_way_in_for_servers(described):
    operations = operations_of(described(web=WEBS["both"]))
    named = {name for name in operations if {"server": []} in operations[name].get("security", [])}
    assert named == OF_SERVERS | OF_OAUTH | OF_TAKING_BACK | OF_LEDGER
    assert operations["list_tokens"]["security"][-1] == {"server": []}
    assert all(operations[name]["security"] == [{"basic": []}, {"server": []}] for name in OF_OAUTH)
    assert all(operations[name]["security"] == [{"server": []}] for name in OF_SERVERS)


MODERATOR = ["role:moderator"]


@pytest.mark.parametrize(
    ("web", "reading", "ending"),
    [
        ("header", [{"bearer": []}], [{"bearer": MODERATOR}]),
        (
            "cookie",
            [{"bearer": []}, {"cookie": []}],
            [{"bearer": MODERATOR}, {"cookie": MODERATOR, "csrf": []}],
        ),
        ("query", [{"bearer": []}, {"query": []}], [{"bearer": MODERATOR}, {"query": MODERATOR}]),
    ],
)
def test_what_a_token_must_be_good_for_is_said(described, web, reading, ending):
    operations = operations_of(described(web=WEBS[web]))
    said = {name: operations[name]["security"] for name in OF_SESSIONS if "security" in operations[name]}
    # A token is the credential of a renewal, and of no first token.
    renewing: list[dict[str, Any]] = [{}, *({name: [] for name in way} for way in ending)]
    assert said == {"read_session": reading, "end_session": ending, "create_token": renewing}


def test_what_an_act_needs_is_said(document):
    operations = operations_of(document)
    assert {name: operations[name]["security"] for name in OF_ACTS} == {
        "signal_session": [{"bearer": ["capability:signal"]}],
        "disconnect_connection": [{"bearer": ["capability:force_disconnect"]}],
        "list_connections": [{"bearer": ["capability:force_disconnect"]}],
        "list_streams": [{"bearer": ["capability:force_unpublish"]}],
        "mute_stream": [{"bearer": ["capability:force_unpublish"]}],
        "mute_all": [{"bearer": ["capability:force_unpublish"]}],
    }
    taken_back = [{"bearer": ["capability:force_disconnect"]}, {"server": []}]
    assert all(operations[name]["security"] == taken_back for name in OF_TAKING_BACK)


# -- what is taken ---------------------------------------------------------------------------------


def test_roles_are_those_of_the_kit(described):
    document = described(plugins=[Host()])
    roles = ["subscriber", "publisheronly", "publisher", "moderator", "host"]
    assert body_schema(document, "create_token")["properties"]["role"]["enum"] == roles
    assert document["components"]["schemas"]["Token"]["properties"]["role"]["enum"] == roles


def test_a_cookie_can_be_asked_for_where_it_is_switched_on(described):
    taken = {
        name: validator(document, body_schema(document, "create_token")).is_valid({"cookie": True})
        for name, document in {name: described(web=web) for name, web in WEBS.items()}.items()
    }
    assert taken == {"header": False, "cookie": True, "query": False, "both": True, "pages": False}


WITHOUT_BODY = (
    OF_HEALTH
    | OF_KEYS
    | {"read_session", "end_session", "list_tokens", "describe", "disconnect_connection", "list_streams"}
    | {
        "list_connections",
        "list_sdk_connections",
        "disconnect",
        "list_sdk_streams",
        "list_sdk_streams_again",
        "find_stream",
        "list_sessions",
        "readmit_named",
    }
)
IN_FORMS = {"create_sdk_session"} | OF_OAUTH
#: Whose body its sender signs, of whatever type it is.
SIGNED = {"receive_webhook"}


def test_a_body_is_required_where_there_is_no_sense_without_it(document):
    operations = operations_of(document)
    assert {name for name in operations if "requestBody" not in operations[name]} == WITHOUT_BODY
    required = {name for name in set(operations) - WITHOUT_BODY if operations[name]["requestBody"]["required"]}
    assert required == OF_OAUTH | {"exclude_actor", "readmit_actor"}


def test_every_body_is_json_but_the_forms_of_the_sdks_and_of_oauth(document):
    operations = operations_of(document)
    assert list(operations["receive_webhook"]["requestBody"]["content"]) == ["application/webhook+json"]
    for name in set(operations) - WITHOUT_BODY - SIGNED:
        media_type = FORM if name in IN_FORMS else JSON
        assert list(operations[name]["requestBody"]["content"]) == [media_type]


def test_sdks_are_answered_in_json_or_xml(document):
    content = operations_of(document)["create_sdk_session"]["responses"]["200"]["content"]
    assert content == {
        "application/json": {"schema": {"$ref": "#/components/schemas/SDKSessions"}},
        "application/xml": {"schema": {"type": "string"}},
    }


def combined(options: dict[str, list[Any]], most: int) -> list[dict[str, Any]]:
    """Every choice of values of at most so many options."""
    return [
        dict(zip(names, values, strict=True))
        for size in range(most + 1)
        for names in combinations(options, size)
        for values in product(*(options[name] for name in names))
    ]


#: Values of each option, and in their midst what is none.
OPTIONS: dict[str, list[Any]] = {
    "location": [None, "203.0.113.7", "2001:db8::1", "localhost", "203.0.113.07", "fe80::1%eth0", "", 1, []],
    "media_mode": ["relayed", "routed", "ROUTED", None, 1],
    "archive_mode": ["manual", "always", "never", None],
    "e2ee": [True, False, None, "true", 0],
    "media": [None, "livekit", "another", 1],
    "x": [None],
}
SESSIONS = combined(OPTIONS, most=3)


@pytest.mark.each_choice
@pytest.mark.parametrize("media", ["none", "livekit"])
def test_the_schema_takes_exactly_the_sessions_that_the_service_does(make_kit, media):
    carried = KITS["media"]["media"] if media == "livekit" else ()
    kit = make_kit(entry_points=False, plugins=[AllowAnyone()], media=carried)
    document = description(ROUTES, "", kit.api)
    valid = validator(document, body_schema(document, "create_session")).is_valid
    wrong = [body for body in SESSIONS if (posted(kit, "sessions", body).status == 201) != valid(body)]
    assert wrong == []
    assert 20 < sum(map(valid, SESSIONS)) < len(SESSIONS) - 20


TOKENS = [
    {},
    {"role": "moderator"},
    {"role": "host"},
    {"role": "Moderator"},
    {"role": "admin"},
    {"role": None},
    {"role": ["moderator"]},
    {"expire_time": None},
    {"expire_time": NOW + 60},
    {"expire_time": NOW + 60.5},
    {"expire_time": "tomorrow"},
    {"expire_time": True},
    {"expires_in": None},
    {"expires_in": 1},
    {"expires_in": 0},
    {"expires_in": -1},
    {"expires_in": 3600.5},
    {"expires_in": 2_592_000},
    {"expires_in": 2_592_001},
    {"expires_in": "60"},
    {"expires_in": False},
    {"expires_in": 60, "expire_time": NOW + 60},
    {"expires_in": 60, "expire_time": None},
    {"expires_in": None, "expire_time": NOW + 60},
    {"expires_in": None, "expire_time": None},
    {"data": None},
    {"data": ""},
    {"data": "d" * 1000},
    {"data": "\U0001f600" * 1000},
    {"data": "d" * 1001},
    {"data": {}},
    {"data": 1},
    {"initial_layout_class_list": []},
    {"initial_layout_class_list": ["focus", "full"]},
    {"initial_layout_class_list": ["f"] * 64},
    {"initial_layout_class_list": ["f"] * 65},
    {"initial_layout_class_list": [""]},
    {"initial_layout_class_list": ["two classes"]},
    {"initial_layout_class_list": ["two+classes"]},
    {"initial_layout_class_list": ["a\tb"]},
    {"initial_layout_class_list": ["a\x1cb"]},
    {"initial_layout_class_list": ["a\x1fb"]},
    {"initial_layout_class_list": ["a\x85b"]},
    {"initial_layout_class_list": ["a\xa0b"]},
    {"initial_layout_class_list": ["a\u2028b"]},
    {"initial_layout_class_list": ["a\u3000b"]},
    {"initial_layout_class_list": ["a\n"]},
    {"initial_layout_class_list": ["a\x00b", "\x1b", "\u200b", "\U0001f600"]},
    {"initial_layout_class_list": [1]},
    {"initial_layout_class_list": [None]},
    {"initial_layout_class_list": "focus"},
    {"initial_layout_class_list": None},
    {"cookie": False},
    {"cookie": True},
    {"cookie": None},
    {"cookie": 0},
    {"unknown": 1},
]


@pytest.mark.parametrize("web", ["header", "cookie"])
@pytest.mark.parametrize("body", TOKENS, ids=lambda body: ascii(body)[:70])
def test_the_schema_takes_exactly_the_tokens_that_the_service_does(make_kit, web, body):
    kit = make_kit(entry_points=False, plugins=[AllowAnyone("moderator"), Host()], web=WEBS[web])
    document = description(ROUTES, "", kit.api)
    session_id = kit.create_session().session_id
    response = posted(kit, "tokens", body, session_id)
    assert response.status in (201, 400)
    assert validator(document, body_schema(document, "create_token")).is_valid(body) == (response.status == 201)


def posted(kit, name: str, body: dict[str, Any], session_id: str = "") -> Response:
    route = next(route for route in ROUTES if route.name == name)
    headers = {"content-type": "application/json"}
    request = Request("POST", "/", {"session_id": session_id}, headers, json.dumps(body).encode())
    return drive(respond(kit.api, route, request))


FORMS = combined(
    {
        "p2p.preference": ["enabled", "disabled", "Enabled", ""],
        "media_mode": ["relayed", "routed", "disabled"],
        "archiveMode": ["manual", "always", ""],
        "location": ["203.0.113.7", "2001:db8::1", "", "null", "Berlin"],
        "e2ee": ["true", "True", "false", "False", "", "1"],
        "archiveName": ["", "Class 5/A é", "x" * 80, "x" * 81],
        "archiveResolution": ["", "1280x720", "4x3"],
        "api_key": [API_KEY],
        "x": [""],
    },
    most=4,
)


@pytest.mark.exhaustive
def test_the_schema_takes_exactly_the_forms_that_the_service_does(make_kit):
    kit = make_kit(entry_points=False)
    document = description(ROUTES, "", kit.api)
    valid = validator(document, body_schema(document, "create_sdk_session", FORM)).is_valid
    wrong = [form for form in FORMS if (acted(kit, "create_sdk_session", form).status == 200) != valid(form)]
    assert wrong == []
    assert 500 < sum(map(valid, FORMS)) < len(FORMS) - 500


_STREAMS = [
    [],
    ["a"],
    ["a"] * 1000,
    ["a"] * 1001,
    ["."],
    ["a/b"],
    [""],
    ["x" * 256],
    [1],
    [None],
    "a",
    {},
    {"a": 1},
    0,
]
_STREAMS += [None]
_ACTIVE: list[Any] = [True, False, None, 0, 1, "true", "false", "True", "", []]
_ENDS: dict[str, list[Any]] = {
    "until": [None, NOW + 60, NOW - 60, 0.5, 0, -1, 1e300, "tomorrow", True, []],
    "expires_in": [None, 1, 60.5, 1e9, 0, 0.5, 2e9, "60", False, {}],
}
_ACTORS: list[Any] = ["bob", "a/b", "Zoë Müller", "x" * 255, "x" * 256, "", None, 1, ["bob"]]
_TOKEN_FORM: dict[str, list[Any]] = {
    "token": ["garbage", "a+b", "a b", ""],
    "token_type_hint": ["access_token", "refresh_token", "x", ""],
    "resource": ["https://a.example"],
}
#: Bodies for each operation that takes any.
BODIES = {
    "mute_all": combined({"active": _ACTIVE, "excluded_stream_ids": _STREAMS, "excludedStreams": [[]]}, most=2),
    "mute_session": combined(
        {"active": _ACTIVE, "excludedStreams": _STREAMS, "excludedStreamIds": _STREAMS, "stream": ["a"]}, most=3
    ),
    "signal_session": combined(
        {
            "type": ["", "chat", "x" * 128, "x" * 129, None, 1],
            "data": ["", "hello", "x" * 8192, "x" * 8193, None, {}],
            "connection_id": [None, "a", "..", "..a", "a/b", "", "x" * 256, 1, ["a"]],
            "x": [1],
        },
        most=2,
    ),
    "mute_stream": [{}, {"active": True}],
    "mute_one": [{}, {"active": True}],
    "exclude_named": combined(_ENDS | {"actor": ["bob"]}, most=2),
    "exclude_actor": combined(_ENDS | {"actor": _ACTORS}, most=3),
    "readmit_actor": combined({"actor": _ACTORS, "until": [None]}, most=2),
    "reset_session": combined({"epoch": [None, 0, 1, 1_795_186_800_000, -1, 1.5, "0", True, []], "x": [1]}, most=2),
    "revoke_token": combined(_TOKEN_FORM, most=2),
    "introspect_token": combined(_TOKEN_FORM, most=2),
}
BODIES["signal_all"] = BODIES["signal_connection"] = [
    body for body in BODIES["signal_session"] if "connection_id" not in body
] + [{"connection_id": "a"}]


@pytest.mark.parametrize("operation", BODIES)
def test_the_schema_takes_exactly_the_acts_that_the_service_does(make_kit, operation):
    kit = make_kit(entry_points=False, plugins=[Studio()])
    document = description(ROUTES, "", kit.api)
    session_id = kit.create_session().session_id
    valid = validator(document, body_schema(document, operation, FORM if operation in IN_FORMS else JSON)).is_valid
    done = {
        body: acted(kit, operation, json.loads(body), session_id).status < 300
        for body in map(json.dumps, BODIES[operation])
    }
    assert [body for body, accepted in done.items() if accepted != valid(json.loads(body))] == []
    assert set(done.values()) == {True, False}


def acted(kit, operation: str, body: dict[str, Any], session_id: str = "", **params: str) -> Response:
    """The answer to who may do it."""
    route, method = route_of(operation)
    media_type = FORM if operation in IN_FORMS else JSON
    headers = {"content-type": media_type, "x-opentok-auth": server_credential(kit.engine.state.clock())}
    if operation in OF_ACTS | OF_TAKING_BACK:
        headers = {"content-type": media_type, "authorization": f"Bearer {kit.generate_token(session_id, 'moderator')}"}
    text = urlencode(body) if media_type == FORM else json.dumps(body)
    request = Request(method, "/", PARAMS | {"session_id": session_id} | params, headers, text.encode())
    return drive(respond(kit.api, route, request))


#: The variable parts of paths, beside the session.
PARAMS = {"api_key": API_KEY, "actor_id": "ann", "connection_id": "connection-1", "stream_id": "stream-1"} | {
    "media": "livekit"
}


def route_of(operation: str) -> tuple[Any, str]:
    """The route and the method of an operation."""
    return next(
        (route, method)
        for route in ROUTES
        for method, one in route.operations.items()
        if one.handler.__name__ == f"_{operation}"
    )


#: What a client of OAuth sends.
BY_SECRET = {"authorization": f"Basic {b64encode(f'{API_KEY}:{API_SECRET}'.encode()).decode()}"}


def server_credential(now: float, **further: str) -> str:
    """What a project's server sends, good for any number of requests unless it has a ``jti``."""
    claims = {"iss": API_KEY, "ist": "project", "iat": int(now), "exp": int(now) + 180, **further}
    return jwt.encode(claims, API_SECRET, "HS256")


class Unlisted(MemoryStore):
    """A store that lists nothing today."""

    def list_sessions(self, page: Page) -> list[SessionRecord]:
        raise StoreUnavailable("out of reach")


class Forgetful(MemoryStore):
    """A store that cannot note what came once."""

    def use_once(self, name: str, until: float, now: float) -> bool:
        raise StoreUnavailable("out of reach")


# -- what is answered ------------------------------------------------------------------------------

KITS: dict[str, dict[str, Any]] = {
    "open": {"plugins": [AllowAnyone("moderator"), Studio()], "ledger": True},
    "empty": {"plugins": [Empty()]},
    "without": {},
    "wavering": {"plugins": [Wavering(), Studio()]},
    "cookie": {"plugins": [AllowAnyone("moderator"), Studio()], "web": WEBS["both"], "ledger": True},
    "strict": {"plugins": [Closed()]},
    "busy": {"plugins": [Busy(), Studio()]},
    "undecided": {"plugins": [Undecided()]},
    "down": {"store": Unlisted()},
    "lost": {"store": Lost()},
    "forgetful": {"store": Forgetful()},
    "nameless": {"actor_claim": False},
    "media": {
        "media": LiveKit("wss://media.example", "APIkey", API_SECRET, turn=Turn("turn:turn.example", API_SECRET))
    },
    "media forgetful": {
        "media": LiveKit("wss://media.example", "APIkey", API_SECRET),
        "store": Forgetful(),
        "plugins": [Listener()],
    },
    "issuer": {"issuer": ISSUER, "private_key": pem("EdDSA")},
}


class Asked(NamedTuple):
    """A request for an operation, and the status of its answer."""

    operation: str
    status: int
    token: str = ""
    session: str = "open"
    body: bytes | None = None
    media_type: str = "application/json"
    kit: str = "open"


_GUARDED = [
    row
    for operation, status in (
        ("read_session", 200),
        ("list_tokens", 200),
        ("end_session", 204),
        ("signal_session", 204),
        ("disconnect_connection", 204),
        ("list_connections", 200),
        ("list_streams", 200),
        ("mute_stream", 204),
        ("mute_all", 204),
    )
    for row in (
        Asked(operation, status, "moderator"),
        Asked(operation, status, "cookie", kit="cookie"),
        Asked(operation, status, "query", kit="cookie"),
        Asked(operation, 400, "two"),
        Asked(operation, 400, "header and query", kit="cookie"),
        Asked(operation, 401),
        Asked(operation, 401, "garbage"),
        Asked(operation, 401, "expired"),
        Asked(operation, 401, "ended", "ended"),
        Asked(operation, 403, "moderator", "other"),
        Asked(operation, 403, "moderator", kit="strict"),
        Asked(operation, 429, "moderator", kit="busy"),
        Asked(operation, 431, "long"),
        Asked(operation, 503, "moderator", kit="undecided"),
    )
]
_WITH_BODY = [
    row
    for operation in ("create_session", "create_token")
    for row in (
        Asked(operation, 201),
        Asked(operation, 201, body=b"{}"),
        Asked(operation, 201, "garbage"),
        Asked(operation, 400, body=b"[]"),
        Asked(operation, 400, body=b'{"unknown":1}'),
        Asked(operation, 403, kit="strict"),
        Asked(operation, 413, body=TOO_LONG),
        Asked(operation, 415, body=b"{}", media_type="text/plain"),
        Asked(operation, 429, kit="busy"),
        Asked(operation, 503, kit="undecided"),
    )
]
_ACTS = [
    row
    for operation, granted in (
        *((operation, 204) for operation in sorted(OF_ACTS - {"list_connections", "list_streams"})),
        ("list_connections", 200),
        ("list_streams", 200),
        ("list_sdk_connections", 200),
        ("signal_all", 204),
        ("signal_connection", 204),
        ("disconnect", 204),
        ("mute_one", 200),
        ("mute_session", 200),
        ("list_sdk_streams", 200),
        ("list_sdk_streams_again", 200),
        ("find_stream", 200),
    )
    for by in ("moderator" if operation in OF_ACTS else "server",)
    for row in (
        Asked(operation, granted, by),
        Asked(operation, 404, by, kit="empty"),
        Asked(operation, 429, by, kit="busy"),
        Asked(operation, 501, by, kit="without"),
        Asked(operation, 503, by, kit="wavering"),
    )
]
_ACTS_WITH_BODY = [
    row
    for operation, granted, by in (
        ("signal_session", 204, "moderator"),
        ("mute_stream", 204, "moderator"),
        ("mute_all", 204, "moderator"),
        ("signal_all", 204, "server"),
        ("signal_connection", 204, "server"),
        ("mute_one", 200, "server"),
        ("mute_session", 200, "server"),
    )
    for row in (
        Asked(operation, granted, by, body=b"{}"),
        Asked(operation, 400, by, body=b"[]"),
        Asked(operation, 400, by, body=b'{"unknown":1}'),
        Asked(operation, 413, by, body=TOO_LONG),
        Asked(operation, 415, by, body=b"{}", media_type="text/plain"),
    )
]
_TAKING_BACK = [
    row
    for operation, status, body in (
        ("exclude_named", 200, None),
        ("exclude_actor", 200, b'{"actor":"a/b","until":null}'),
        ("readmit_named", 204, None),
        ("readmit_actor", 204, b'{"actor":"a/b"}'),
        ("reset_session", 200, b'{"epoch":0}'),
    )
    for row in (
        Asked(operation, status, "moderator", body=body),
        Asked(operation, status, "server", body=body),
        Asked(operation, status, "cookie", body=body, kit="cookie"),
        Asked(operation, 400, "two"),
        Asked(operation, 401),
        Asked(operation, 401, "expired"),
        Asked(operation, 403, "subscriber"),
        Asked(operation, 403, "server of nobody"),
        Asked(operation, 403, "server and bearer"),
        Asked(operation, 403, "moderator", kit="strict"),
        Asked(operation, 429, "moderator", kit="busy"),
        Asked(operation, 429, "server", body=body, kit="busy"),
        Asked(operation, 431, "long"),
        Asked(operation, 503, "moderator", kit="undecided"),
        Asked(operation, 503, "server", body=body, kit="wavering"),
    )
]
_TAKING_BACK += [
    row
    for operation in sorted(OF_TAKING_BACK - {"readmit_named"})
    for row in (
        Asked(operation, 400, "moderator", body=b'{"unknown":1}'),
        Asked(operation, 413, "moderator", body=TOO_LONG),
        Asked(operation, 415, "moderator", body=b"{}", media_type="text/plain"),
    )
]
_TAKING_BACK += [
    Asked("exclude_named", 409, "server", kit="nameless"),
    Asked("exclude_actor", 409, "server", body=b'{"actor":"bob"}', kit="nameless"),
    Asked("exclude_actor", 400, "server"),
    Asked("readmit_actor", 400, "server"),
    Asked("readmit_named", 400, "server", session="made up"),
]
_OAUTH = [
    row
    for operation in sorted(OF_OAUTH)
    for row in (
        Asked(operation, 200, "server", body=b"token=TOKEN", media_type=FORM),
        Asked(operation, 200, "basic", body=b"token=TOKEN&token_type_hint=x", media_type=FORM),
        Asked(operation, 200, "basic", body=b"token=garbage", media_type=FORM),
        Asked(operation, 400, "server"),
        Asked(operation, 400, "server", body=b"token=x&token=x", media_type=FORM),
        Asked(operation, 400, "basic and server", body=b"token=x", media_type=FORM),
        Asked(operation, 401, body=b"token=TOKEN", media_type=FORM),
        Asked(operation, 401, "moderator", body=b"token=TOKEN", media_type=FORM),
        Asked(operation, 413, "server", body=TOO_LONG, media_type=FORM),
        Asked(operation, 415, "server", body=b'{"token":"x"}'),
        Asked(operation, 503, "server once", body=b"token=x", media_type=FORM, kit="forgetful"),
    )
]
_BY_SERVERS = [
    row
    for operation in sorted(OF_SERVERS)
    for row in (
        Asked(operation, 403),
        Asked(operation, 403, "moderator"),
        Asked(operation, 403, "two"),
        Asked(operation, 403, "server and bearer"),
        Asked(operation, 403, "server of nobody"),
        *(
            Asked(operation, 400, "server", session="made up")
            for _ in range(operation in OF_SDKS - {"create_sdk_session"})
        ),
    )
]
_LISTING = [
    Asked("list_sessions", 200, "server"),
    Asked("list_sessions", 200, "server of two"),
    Asked("list_sessions", 400, "server of nothing"),
    Asked("list_sessions", 503, "server", kit="down"),
]
_FORMS = [
    Asked("create_sdk_session", 200, "server"),
    Asked("create_sdk_session", 200, "server for json"),
    Asked("create_sdk_session", 200, "server for json", body=b"p2p.preference=disabled&location=", media_type=FORM),
    Asked("create_sdk_session", 200, "server", body=b"p2p.preference=disabled", media_type=FORM),
    Asked("create_sdk_session", 400, "server", body=b"p2p.preference=both", media_type=FORM),
    Asked("create_sdk_session", 400, "server", body=b"{}"),
    Asked("create_sdk_session", 403, "server", body=b"api_key=654321", media_type=FORM),
    Asked("create_sdk_session", 413, "server", body=TOO_LONG, media_type=FORM),
    Asked("create_sdk_session", 415, "server", body=b"e2ee=false", media_type="text/plain"),
    Asked("create_sdk_session", 429, "server", body=b"location=203.0.113.7", media_type=FORM, kit="busy"),
    Asked("create_sdk_session", 503, "server", body=b"location=203.0.113.7", media_type=FORM, kit="wavering"),
]
_TICKETS = [
    Asked("create_ticket", 201, "named", kit="media"),
    Asked("create_ticket", 201, "named", body=b"{}", kit="media"),
    Asked("create_ticket", 400, "two", kit="media"),
    Asked("create_ticket", 400, "named", body=b'{"unknown":1}', kit="media"),
    Asked("create_ticket", 401),
    Asked("create_ticket", 401, "expired", kit="media"),
    Asked("create_ticket", 403, "moderator", kit="media"),
    Asked("create_ticket", 413, "named", body=TOO_LONG, kit="media"),
    Asked("create_ticket", 415, "named", body=b"{}", media_type="text/plain", kit="media"),
    Asked("create_ticket", 429, "moderator", kit="busy"),
    Asked("create_ticket", 431, "long"),
    Asked("create_ticket", 501, "named"),
    Asked("create_ticket", 503, "moderator", kit="undecided"),
]
_STARTED = b'{"event":"room_started","id":"EV_1","room":{"name":"SESSION"}}'
_WEBHOOKS = [
    Asked("receive_webhook", 200, "signed", body=_STARTED, kit="media"),
    Asked("receive_webhook", 400, "signed", body=b"{", kit="media"),
    Asked("receive_webhook", 401, body=_STARTED, kit="media"),
    Asked("receive_webhook", 401, "garbage", body=_STARTED, kit="media"),
    Asked("receive_webhook", 404, "signed", body=_STARTED),
    Asked("receive_webhook", 413, body=b" " * (LONGEST_WEBHOOK + 1), kit="media"),
    Asked("receive_webhook", 503, "signed", body=_STARTED, kit="media forgetful"),
]
ASKED = [
    *_GUARDED,
    *_TICKETS,
    *_WEBHOOKS,
    *_WITH_BODY,
    *_ACTS,
    *_ACTS_WITH_BODY,
    *_BY_SERVERS,
    *_FORMS,
    *_TAKING_BACK,
    *_OAUTH,
    *_LISTING,
    Asked("create_session", 201, body=b'{"location":"203.0.113.7","media_mode":"routed","e2ee":true}'),
    Asked("read_session", 200, "subscriber"),
    Asked("read_session", 404, "unknown", "unknown"),
    Asked("end_session", 403, "subscriber"),
    Asked("end_session", 403, "cookie without proof", kit="cookie"),
    Asked("create_token", 201, body=b'{"role":"moderator","data":"name=Ann","expires_in":60}'),
    Asked("create_token", 201, body=b'{"cookie":true}', kit="cookie"),
    Asked("create_token", 201, body=b'{"cookie":false}', kit="cookie"),
    Asked("create_token", 401, body=b'{"renew":true}'),
    Asked("create_token", 401, "expired", body=b'{"renew":true}'),
    Asked("create_token", 403, "moderator", body=b'{"renew":true}'),
    Asked("create_token", 431, "long", body=b'{"renew":true}'),
    Asked("create_token", 400, session="made up"),
    Asked("create_token", 404, session="unknown"),
    Asked("create_token", 410, session="ended"),
    Asked("describe", 200),
    Asked("check_life", 200, kit="lost"),
    Asked("check_readiness", 200),
    Asked("check_readiness", 503, kit="lost"),
    Asked("list_keys", 200, kit="issuer"),
    Asked("list_keys", 404),
    Asked("describe", 200, "garbage", kit="strict"),
]


@pytest.fixture
def answer(make_kit):
    """The answer to a request of the table, and the description of the kit that gave it."""

    def answer(asked: Asked) -> tuple[Response, dict[str, Any]]:
        kit = make_kit(entry_points=False, **KITS[asked.kit])
        # Another process has the same secret, and a store of its own.
        sessions = {"open": kit, "other": kit, "ended": kit, "unknown": make_kit(entry_points=False)}
        ids = {name: maker.create_session().session_id for name, maker in sessions.items()} | {"made up": "1_MX4"}
        credentials = credentials_of(kit, ids)
        kit.end_session(ids["ended"])
        route, method = route_of(asked.operation)
        body = asked.body
        if body is not None:
            body = body.replace(b"TOKEN", credentials["moderator"][0]["authorization"].partition(" ")[2].encode())
            body = body.replace(b"SESSION", ids["open"].encode())
            credentials["signed"] = {"authorization": signature_of(body)}, ""
        headers, query = credentials[asked.token]
        if body is not None:
            headers = {**headers, "content-type": asked.media_type}
        params = PARAMS | {"session_id": ids[asked.session]}
        request = Request(method, "/", params, headers, body or b"", query=query)
        return drive(respond(kit.api, route, request)), description(ROUTES, "", kit.api)

    return answer


def signature_of(body: bytes) -> str:
    """The token of a webhook with this body."""
    digest = b64encode(hashlib.sha256(body).digest()).decode()
    return jwt.encode({"iss": "APIkey", "nbf": NOW, "exp": NOW + 300, "sha256": digest}, API_SECRET)


def credentials_of(kit, ids: dict[str, str]) -> dict[str, tuple[dict[str, str], str]]:
    """Headers and query that carry a token, or what is none."""
    good = kit.generate_token(ids["open"], "moderator")
    proof = kit.api.credentials.csrf_token(good)
    expired = kit.generate_token(ids["open"], expire_time=NOW + 1)
    kit.engine.state.clock.now += 90
    in_header = {
        "moderator": good,
        "named": kit.generate_token(ids["open"], actor="ada"),
        "subscriber": kit.generate_token(ids["open"], "subscriber"),
        "unknown": kit.generate_token(ids["unknown"], "moderator"),
        "ended": kit.generate_token(ids["ended"], "moderator"),
        "expired": expired,
        "garbage": "garbage",
        "two": f"{good}, {good}",
        "long": "x" * (MAX_TOKEN_LENGTH + 1),
    }
    return {name: ({"authorization": f"Bearer {token}"}, "") for name, token in in_header.items()} | {
        "": ({}, ""),
        "cookie": ({"cookie": f"{COOKIE}={good}", "x-csrf-token": proof}, ""),
        "cookie without proof": ({"cookie": f"{COOKIE}={good}"}, ""),
        "query": ({}, f"{QUERY}={good}"),
        "server": ({"x-opentok-auth": server_credential(NOW + 90)}, ""),
        "server for json": (
            {"x-opentok-auth": server_credential(NOW + 90), "accept": "application/json"},
            "",
        ),
        "server of two": ({"x-opentok-auth": server_credential(NOW + 90)}, "limit=2&state=open"),
        "server of nothing": ({"x-opentok-auth": server_credential(NOW + 90)}, "limit=0"),
        "server of nobody": ({"x-opentok-auth": good}, ""),
        "server once": ({"x-opentok-auth": server_credential(NOW + 90, jti="once")}, ""),
        "basic": (BY_SECRET, ""),
        "basic and server": (BY_SECRET | {"x-opentok-auth": server_credential(NOW + 90)}, ""),
        "server and bearer": (
            {"x-opentok-auth": server_credential(NOW + 90), "authorization": f"Bearer {good}"},
            "",
        ),
        "header and query": ({"authorization": f"Bearer {good}"}, f"{QUERY}={good}"),
    }


#: The answers whose members OpenAPI, or the service that carries the media, or the token decides.
OPEN_ENDED = {"describe", "find_stream", "introspect_token"}


def _rows() -> list[Any]:
    """The table, of which the newcomer's tier has the first row for each answer of each operation."""
    first = {(asked.operation, asked.status): asked for asked in reversed(ASKED)}
    rows = []
    for asked in ASKED:
        marks = () if first[asked.operation, asked.status] is asked else pytest.mark.exhaustive
        rows.append(pytest.param(asked, marks=marks, id="-".join(map(str, asked[:4])) + f"-{asked.kit}"))
    return rows


@pytest.mark.parametrize("asked", _rows())
def test_an_answer_is_what_the_description_says(answer, asked):
    response, document = answer(asked)
    assert response.status == asked.status, response.body
    said = operations_of(document)[asked.operation]["responses"][str(response.status)]
    check_headers(dict(response.headers), said)
    if "content" not in said:
        assert (response.status, response.body) == (200 if asked.operation == "revoke_token" else 204, b"")
        return
    media_type = dict(response.headers)["Content-Type"]
    schema = said["content"][media_type]["schema"]
    value = response.body.decode() if media_type == "application/xml" else json.loads(response.body)
    validator(document, schema).validate(value)
    if isinstance(value, dict) and response.status < 400 and asked.operation in OPEN_ENDED:
        return
    for item in value if isinstance(value, list) else [value]:
        assert isinstance(item, str) or set(item) in member_names(document, schema)


@pytest.mark.parametrize(("who", "media_type"), [("server", "application/xml"), ("server for json", JSON)])
def test_each_way_in_which_sdks_are_answered_does_come(answer, who, media_type):
    response, _ = answer(Asked("create_sdk_session", 200, who))
    assert dict(response.headers)["Content-Type"] == media_type


def check_headers(headers: dict[str, str], said: dict[str, Any]) -> None:
    listed = said.get("headers", {})
    assert {name for name, header in listed.items() if header["required"]} <= set(headers)
    assert not {"WWW-Authenticate", "Allow", "Retry-After"} & set(headers) - set(listed)
    for name in set(listed) & set(headers):
        schema = listed[name]["schema"]
        jsonschema_rs.validate(schema, int(headers[name]) if schema.get("type") == "integer" else headers[name])


def member_names(document: dict[str, Any], reference: dict[str, str]) -> list[set[str]]:
    """The members of an answer: all of them, and no others, are in its schema."""
    schema = document["components"]["schemas"][reference["$ref"].rpartition("/")[2]]
    schema = schema.get("items", schema)
    return [set(one["properties"]) for one in schema.get("oneOf", [schema])]


def test_every_status_that_is_described_does_come(document):
    listed = {
        (name, int(status)) for name, operation in operations_of(document).items() for status in operation["responses"]
    }
    assert listed == {(asked.operation, asked.status) for asked in ASKED}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_method_that_is_not_listed_is_refused_with_those_that_are(kit, document, route):
    listed = set(route.operations)  # with what is never granted, which is not described
    assert {method.upper() for method in document["paths"].get(route.path, ())} - {"PARAMETERS"} <= listed
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - listed:
        response = drive(respond(kit.api, route, Request(method, "/", {"session_id": "x"})))
        assert response.status == 405
        assert set(dict(response.headers)["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == listed
        schema = document["components"]["schemas"][route.refusals.answer.name]
        validator(document, schema).validate(json.loads(response.body))
