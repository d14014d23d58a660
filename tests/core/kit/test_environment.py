"""The environment variables that a kit reads."""

from __future__ import annotations

import re
import secrets
import traceback

import flask
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rolecall import Allow, Rolecall, Web, hookimpl
from rolecall.errors import ConfigurationError
from rolecall.kit.environment import read_environment
from rolecall.stores.memory import MemoryStore

from ...untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
ENVIRON = {"ROLECALL_API_KEY": KEY, "ROLECALL_API_SECRET": SECRET}


@pytest.mark.parametrize(
    ("variable", "text", "options"),
    [
        ("ROLECALL_API_KEY", "123456", {"api_key": "123456"}),
        ("ROLECALL_API_SECRET", "s" * 32, {"api_secret": "s" * 32}),
        ("ROLECALL_STORE", "sqlite:///a.db", {"store": "sqlite:///a.db"}),
        ("ROLECALL_PLUGINS", "a:B", {"plugins": ["a:B"]}),
        ("ROLECALL_PLUGINS", "a:B, c ,,d:e.f", {"plugins": ["a:B", "c", "d:e.f"]}),
        ("ROLECALL_BLOCKED_PLUGINS", "a, b", {"blocked_plugins": ["a", "b"]}),
        ("ROLECALL_ENTRY_POINTS", "None", {"entry_points": False}),
        ("ROLECALL_ENTRY_POINTS", "a,b", {"entry_points": ["a", "b"]}),
        ("ROLECALL_REVOCATION", "immediate", {"revocation": "immediate"}),
        *[("ROLECALL_TRACE", text, {"trace": True}) for text in ("1", "true", "YES", " on ")],
        *[("ROLECALL_TRACE", text, {"trace": False}) for text in ("0", "False", "no", "off")],
        ("ROLECALL_PLUGIN_CLASSROOM", '{"size": 30}', {"plugin_config": {"CLASSROOM": {"size": 30}}}),
        ("ROLECALL_PLUGIN_A_B", ' {"a": null}\n', {"plugin_config": {"A_B": {"a": None}}}),
        ("ROLECALL_ORIGINS", "https://a.example", {"web": Web(origins=["https://a.example"])}),
        (
            "ROLECALL_ORIGINS",
            " https://a.example, ,http://localhost:3000,",
            {"web": Web(origins=["http://localhost:3000", "https://a.example"])},
        ),
        ("ROLECALL_ORIGINS", " , ", {"web": Web()}),
        ("ROLECALL_OPENAPI", "0", {"web": Web(openapi=False)}),
        ("ROLECALL_OPENAPI", "1", {"web": Web()}),
        ("ROLECALL_FORMAT", "t1", {"format": "t1"}),
        ("ROLECALL_ACCEPT", "opentok, t1", {"accept": ["opentok", "t1"]}),
        ("ROLECALL", "1", {}),
        ("UNRELATED", "1", {}),
        ("rolecall_unrelated", "1", {}),
    ],
)
def test_a_variable_gives_an_argument(variable, text, options):
    assert read_environment({variable: text}) == options


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("ROLECALL_PLUGIN", "ROLECALL_PLUGINS"),
        ("ROLECALL_PLUGIN_", "ROLECALL_PLUGINS"),
        ("ROLECALL_ORIGIN", "ROLECALL_ORIGINS"),
        ("ROLECALL_BLOCKED_PLUGIN", "ROLECALL_BLOCKED_PLUGINS"),
        ("ROLECALL_STORE_URL", "ROLECALL_STORE"),
        ("ROLECALL_ENTRYPOINTS", "ROLECALL_ENTRY_POINTS"),
        ("ROLECALL_API_SECRETS", "ROLECALL_API_SECRET"),
        ("ROLECALL_SECRET", "ROLECALL_API_SECRET"),
        ("ROLECALL_SECRET_FILE", "ROLECALL_API_SECRET_FILE"),
        ("ROLECALL_TRACES", "ROLECALL_TRACE"),
        ("ROLECALL_Store", "ROLECALL_STORE"),
        ("rolecall_store", "ROLECALL_STORE"),
        ("Rolecall_Api_Secret_File", "ROLECALL_API_SECRET_FILE"),
        ("ROLECALL_LIVKIT_URL", "ROLECALL_LIVEKIT_URL"),
        ("ROLECALL_LIVEKT_API_KEY", "ROLECALL_LIVEKIT_API_KEY"),
        ("ROLECALL_JITSY_APP_SECRET_FILE", "ROLECALL_JITSI_APP_SECRET_FILE"),
    ],
)
def test_a_misspelt_variable_stops_start_up_and_the_nearest_name_is_said(variable, meant):
    with pytest.raises(ConfigurationError, match=f"'{variable}' is unknown to Rolecall; did you mean {meant}\\?"):
        Rolecall.from_env({**ENVIRON, variable: "canary"})


def test_a_variable_that_is_near_nothing_stops_start_up_and_all_are_listed():
    with pytest.raises(ConfigurationError, match=r"ROLECALL_API_KEY, .*TRACE, ROLECALL_PLUGIN_<NAME> and, .*<SETTING>"):
        Rolecall.from_env({**ENVIRON, "ROLECALL_XYZZY": "1"})
    assert read_environment({"ROLECALL_XYZZY": ""}) == {}


@pytest.mark.parametrize(
    "variable",
    [
        f"ROLECALL_{service}{suffix}"
        for service in ("", "WEB_", "STORE_2_")
        for suffix in (
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
            "PORT",
            "PORT_8000_TCP",
            "PORT_8000_TCP_ADDR",
            "PORT_8000_TCP_PORT",
            "PORT_8000_TCP_PROTO",
        )
    ],
)
def test_what_kubernetes_sets_for_a_service_of_this_name_is_let_be(variable):
    assert read_environment({variable: "tcp://10.0.0.7:8000"}) == {}


@pytest.mark.parametrize(
    "variable",
    [
        "ROLECALL_STORE",
        "ROLECALL_PLUGINS",
        "ROLECALL_BLOCKED_PLUGINS",
        "ROLECALL_ENTRY_POINTS",
        "ROLECALL_TRACE",
        "ROLECALL_ORIGINS",
        "ROLECALL_PLUGIN_CLASSROOM",
    ],
)
def test_a_variable_that_is_empty_counts_as_not_set(variable):
    with Rolecall.from_env({**ENVIRON, variable: ""}) as kit:
        assert kit.api_key == KEY
        assert kit.plugin_config("classroom") == {}


@pytest.mark.parametrize("environ", [{}, {"value": ""}], ids=["not set", "empty"])
@pytest.mark.parametrize("variable", ENVIRON)
def test_a_required_variable_is_named(variable, environ):
    given = {name: value for name, value in ENVIRON.items() if name != variable}
    if environ:
        given[variable] = ""
    with pytest.raises(ConfigurationError, match=variable):
        Rolecall.from_env(given)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ROLECALL_TRACE", "maybe-canary"),
        ("ROLECALL_TRACE", "2-canary"),
        ("ROLECALL_TRACE", "'canary'"),
        ("ROLECALL_OPENAPI", "2-canary"),
        ("ROLECALL_ORIGINS", "canary"),
        ("ROLECALL_ORIGINS", "https://ada:canary@a.example"),
        ("ROLECALL_ORIGINS", "canary: canary"),
        ("ROLECALL_ORIGINS", '"https://canary.example"'),
        ("ROLECALL_API_KEY", "canary\n"),
        ("ROLECALL_API_SECRET", "'a canary that is long enough to sign with it'"),
        ("ROLECALL_APPLICATION_ID", " canary"),
        ("ROLECALL_STORE", "sqlite:///canary.db\n"),
        ("ROLECALL_PLUGINS", '"canary:Policy"'),
        ("ROLECALL_PROJECTS", '\'{"654321": "canary"}\''),
        ("ROLECALL_PLUGIN_CLASSROOM", "canary"),
        ("ROLECALL_PLUGIN_CLASSROOM", '["canary"]'),
        ("ROLECALL_PLUGIN_CLASSROOM", '"canary"'),
        ("ROLECALL_PLUGIN_CLASSROOM", '{"canary": 1, "canary": 2}'),
        ("ROLECALL_PLUGIN_CLASSROOM", '{"canary": NaN}'),
        ("ROLECALL_PLUGIN_CLASSROOM", '{"canary": 1} {}'),
        ("ROLECALL_PLUGIN_CLASSROOM", '{"canary": "\udcff"}'),
    ],
)
def test_a_variable_that_says_nothing_is_named_and_its_value_is_not_quoted(variable, text):
    with pytest.raises(ConfigurationError, match=variable) as stopped:
        Rolecall.from_env({**ENVIRON, variable: text})
    assert "canary" not in str(stopped.value)


@pytest.mark.parametrize(
    ("origins", "said"),
    [
        ("https://b.example,https://a.example/", r"number 2 \('https://a.example/'\) .*: leave out what follows host"),
        ("https://b.example, *", "number 2 is no origin .*: there is no wildcard"),
        ("a.example", "number 1 is no origin .*: begin it with 'https://'"),
        ("https://b.example https://c.example", "number 1 .*between commas"),
    ],
)
def test_an_origin_that_is_none_is_counted_and_said_why(origins, said):
    with pytest.raises(ConfigurationError, match=f"ROLECALL_ORIGINS: origin {said}"):
        Rolecall.from_env({**ENVIRON, "ROLECALL_ORIGINS": origins})


# -- what stands around a value --------------------------------------------------------------------

AROUND = {
    "a line end at its end": "{}\n",
    "a line end at its beginning": "\n{}",
    "CR LF": "{}\r\n",
    "white space at its end": "{} ",
    "white space at its beginning": "\t{}",
    "a no-break space": "{}\u00a0",
    "an invisible character at its beginning": "\ufeff{}",
    "an invisible character at its end": "{}\u200b",
    "a line end at its end, written out": "{}\\n",
    "quotes around it": '"{}"',
    "quotes": "'{}'",
    "quotes of a word processor": "\u201c{}\u201d",
}
SAID = "(a line end|white space|an invisible character|quotes) (at its|around it)"


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("api_key", KEY),
        ("api_secret", SECRET),
        ("store", "memory://"),
        ("application_id", "3a8b6d4c-1f2e-4d5c-8b7a-9e0f1a2b3c4d"),
        ("private_key", "/run/secrets/private.key"),
    ],
)
def test_what_stands_around_a_value_is_named_in_code_and_in_the_environment(argument, value, around):
    given = {"api_key": KEY, "api_secret": SECRET, argument: around.format(value)}
    if argument == "application_id":
        given["private_key"] = rsa_pem()
    if argument == "private_key":
        given["application_id"] = "3a8b6d4c-1f2e-4d5c-8b7a-9e0f1a2b3c4d"
    for make in (
        Rolecall,
        lambda **options: Rolecall.from_env({f"ROLECALL_{n.upper()}": v for n, v in options.items()}),
    ):
        with pytest.raises(ConfigurationError, match=SAID) as stopped:
            make(**given)
        assert SECRET not in str(stopped.value)


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_what_stands_around_a_further_projects_key_or_secret_is_named(around):
    other = secrets.token_hex(32)
    for projects in ({around.format("654321"): other}, {"654321": around.format(other)}):
        with pytest.raises(ConfigurationError, match=SAID) as stopped:
            Rolecall(KEY, SECRET, projects=projects)
        assert other not in str(stopped.value)


@pytest.mark.parametrize("end", [b"\n", b"\r", b" ", b"\t", b'"', b"\x00"])
def test_a_secret_of_random_bytes_may_end_in_any_byte(end):
    material = bytes(range(200, 231)) + end
    Rolecall(KEY, material).close()
    Rolecall(KEY, end + material[:-1]).close()


def test_a_secret_of_bytes_that_are_text_is_looked_at_as_text():
    with pytest.raises(ConfigurationError, match="a line end at its end"):
        Rolecall(KEY, SECRET.encode() + b"\n")


# -- files -----------------------------------------------------------------------------------------


def rsa_pem():
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def file(tmp_path):
    """Writes a file, and returns its path."""

    def write(content):
        path = tmp_path / "a secret"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize(
    ("variable", "text", "options"),
    [
        ("ROLECALL_API_KEY", KEY, {"api_key": KEY}),
        ("ROLECALL_API_SECRET", SECRET, {"api_secret": SECRET}),
        ("ROLECALL_APPLICATION_ID", "an id", {"application_id": "an id"}),
        ("ROLECALL_PRIVATE_KEY", "-----BEGIN…", {"private_key": "-----BEGIN…"}),
        ("ROLECALL_PROJECTS", '{"654321": "…"}', {"projects": {"654321": "…"}}),
        ("ROLECALL_STORE", "sqlite:///a.db", {"store": "sqlite:///a.db"}),
        ("ROLECALL_PLUGIN_LIMITS", '{"hours": 2}', {"plugin_config": {"LIMITS": {"hours": 2}}}),
    ],
)
def test_a_secret_may_stand_in_a_file(file, variable, text, options, end):
    assert read_environment({f"{variable}_FILE": file(text + end)}) == options


def test_a_kit_is_made_of_mounted_secrets(tmp_path):
    environ = {}
    values = {
        "API_KEY": KEY,
        "API_SECRET": SECRET,
        "APPLICATION_ID": "3a8b6d4c-1f2e-4d5c-8b7a-9e0f1a2b3c4d",
        "PRIVATE_KEY": rsa_pem(),
    }
    for name, value in values.items():
        (tmp_path / name).write_text(value + "\n")
        environ[f"ROLECALL_{name}_FILE"] = str(tmp_path / name)
    with Rolecall.from_env(environ) as kit, Rolecall(KEY, SECRET) as other:
        assert other.verify_token(kit.create_session().generate_token())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SECRET + "\n\n", "a line end at its end"),
        (SECRET + " \n", "white space at its end"),
        ("\ufeff" + SECRET, "an invisible character at its beginning"),
        (f'"{SECRET}"\n', "quotes around it"),
        ("", "is empty"),
        ("\n", "is empty"),
        (b"\xff\xfe" + SECRET.encode("utf-16-le"), "no text in UTF-8"),
        (SECRET * 2000, "more than 65536 bytes"),
    ],
    ids=["two line ends", "a space", "a BOM", "quotes", "nothing", "a line end alone", "UTF-16", "too much"],
)
def test_a_file_that_does_not_hold_the_secret_alone_is_named_and_not_quoted(file, content, message):
    with pytest.raises(ConfigurationError, match=f"file that .* ROLECALL_API_SECRET_FILE names.* {message}") as stopped:
        Rolecall.from_env({"ROLECALL_API_KEY": KEY, "ROLECALL_API_SECRET_FILE": file(content)})
    assert SECRET not in str(stopped.value)
    assert stopped.value.__traceback__ is not None
    kits_own = stopped.value.__traceback__.tb_next
    assert not [frame for frame, _ in traceback.walk_tb(kits_own) if SECRET in repr(frame.f_locals)]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/no/such/file", "No such file"),
        ("/tmp", "Is a directory"),
        ("a\0b", "no path"),
        ("/run/secrets/a\n", "a line end at its end"),
        (7, "expected the path of a file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_by_its_variable(path, message):
    with pytest.raises(ConfigurationError, match=f"ROLECALL_STORE_FILE.* {message}"):
        Rolecall.from_env({**ENVIRON, "ROLECALL_STORE_FILE": path})


def test_a_file_without_end_is_not_read_to_its_end():
    with pytest.raises(ConfigurationError, match="more than 65536 bytes"):
        Rolecall.from_env({**ENVIRON, "ROLECALL_STORE_FILE": "/dev/zero"})


@pytest.mark.parametrize("variable", ["ROLECALL_API_SECRET", "ROLECALL_PLUGIN_LIMITS"])
def test_a_variable_and_its_file_exclude_each_other(file, variable):
    environ = {variable: "{}", f"{variable}_FILE": file("{}")}
    with pytest.raises(ConfigurationError, match=f"{variable} and {variable}_FILE are both set"):
        read_environment(environ)
    assert read_environment({**environ, variable: ""})
    assert read_environment({**environ, f"{variable}_FILE": ""})


def test_what_is_no_secret_comes_from_no_file(file):
    with pytest.raises(ConfigurationError, match="'ROLECALL_TRACE_FILE' is unknown to Rolecall"):
        read_environment({"ROLECALL_TRACE_FILE": file("1")})


# -- app.config ------------------------------------------------------------------------------------


class Policy:
    name = "classroom"

    @hookimpl
    def rolecall_vote_session(self, request):
        return Allow()


def test_a_kit_is_made_of_a_flask_apps_config(tmp_path):
    app = flask.Flask(__name__)
    app.config.from_mapping(
        ROLECALL_API_KEY=123456,
        ROLECALL_API_SECRET=SECRET.encode(),
        ROLECALL_PROJECTS={"654321": SECRET[::-1]},
        ROLECALL_STORE=MemoryStore(),
        ROLECALL_PLUGINS=[Policy()],
        ROLECALL_PLUGIN_CLASSROOM={"size": 30},
        ROLECALL_ENTRY_POINTS=False,
        ROLECALL_BLOCKED_PLUGINS=None,
        ROLECALL_ORIGINS=["https://a.example"],
        ROLECALL_TRACE=True,
    )
    with Rolecall.from_env(app.config) as kit:
        assert kit.api_keys == ("123456", "654321")
        assert kit.plugin_config("classroom")["size"] == 30
        assert kit.api.web == Web(origins=["https://a.example"])
        assert kit.engine.state.trace_log is True


def test_a_flask_app_reads_its_own_prefix_as_json(monkeypatch):
    for name, text in {"API_KEY": "123456", "API_SECRET": SECRET, "TRACE": "true", "STORE": "null"}.items():
        monkeypatch.setenv(f"FLASK_ROLECALL_{name}", text)
    app = flask.Flask(__name__)
    app.config.from_prefixed_env()
    with Rolecall.from_env(app.config) as kit:
        assert kit.api_key == "123456"


@pytest.mark.parametrize(("value", "switch"), [(True, True), (1, True), (False, False), (0, False)])
def test_a_switch_may_be_a_bool_or_its_number(value, switch):
    assert read_environment({"ROLECALL_TRACE": value})["trace"] is switch


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ROLECALL_TRACE", 2, "trace is 2; expected True or False"),
        ("ROLECALL_TRACE", 1.0, "trace is 1.0; expected True or False"),
        ("ROLECALL_API_KEY", True, "api_key is of type bool"),
        ("ROLECALL_API_KEY", 1.5, "api_key is of type float"),
        ("ROLECALL_API_SECRET", 7, "a secret is text or bytes, not int"),
        ("ROLECALL_STORE", True, "store is True"),
        ("ROLECALL_PROJECTS", [], "projects is of type list"),
        ("ROLECALL_PLUGINS", 1, "plugins is 1"),
        ("ROLECALL_ENTRY_POINTS", True, "load when they are named"),
        ("ROLECALL_BLOCKED_PLUGINS", 1, "blocked_plugins is 1"),
        ("ROLECALL_ORIGINS", 1, "origins is 1"),
        ("ROLECALL_ORIGINS", [1], "1 is no origin"),
        ("ROLECALL_PLUGIN_CLASSROOM", 1, "ROLECALL_PLUGIN_CLASSROOM is 1; expected a JSON object"),
        ("ROLECALL_UNKNOWN", 1, "'ROLECALL_UNKNOWN' is unknown to Rolecall"),
    ],
)
def test_a_value_of_a_type_that_its_argument_does_not_take_stops_start_up(variable, value, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Rolecall.from_env({**ENVIRON, variable: value})


@pytest.mark.parametrize("environ", ["ROLECALL_API_KEY=1", [], flask.Flask(__name__)], ids=["text", "list", "app"])
def test_what_is_no_mapping_is_no_environment(environ):
    with pytest.raises(ConfigurationError, match=r"expected a mapping: os\.environ, or app\.config"):
        Rolecall.from_env(environ)


@pytest.mark.parametrize(
    ("argument", "hint"),
    [("stor", "did you mean store?"), ("plugin", "did you mean plugins?"), ("xyzzy", "there are api_key, api_secret")],
)
def test_an_unknown_argument_stops_start_up_and_the_nearest_name_is_said(argument, hint):
    with pytest.raises(ConfigurationError, match=f"no argument '{argument}'; {re.escape(hint)}"):
        Rolecall.from_env(ENVIRON, **{argument: SECRET})


# -- configuration of plugins ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["classroom", "CLASSROOM", "Classroom"])
def test_a_plugin_finds_its_configuration(name):
    environ = {**ENVIRON, "ROLECALL_PLUGIN_CLASSROOM": '{"size": 30, "rooms": ["a"]}'}
    with Rolecall.from_env(environ, plugins=[Policy()]) as kit:
        assert dict(kit.plugin_config(name)) == {"size": 30, "rooms": ("a",)}


@pytest.mark.parametrize("name", ["acme-policy", "acme.policy", "acme_policy", "Acme Policy"])
def test_a_variable_spells_a_plugins_name_with_underscores(name):
    plugin = Policy()
    plugin.name = name
    with Rolecall.from_env({**ENVIRON, "ROLECALL_PLUGIN_ACME_POLICY": '{"a": 1}'}, plugins=[plugin]) as kit:
        assert kit.plugin_config(name)["a"] == 1


def test_configuration_is_read_only():
    with Rolecall.from_env({**ENVIRON, "ROLECALL_PLUGIN_CLASSROOM": '{"b": {"c": 1}}'}, plugins=[Policy()]) as kit:
        with pytest.raises(TypeError):
            untyped(kit.plugin_config("classroom"))["b"] = 1
        with pytest.raises(TypeError):
            kit.plugin_config("classroom")["b"]["c"] = 2


def test_two_variables_of_one_plugin_are_no_configuration():
    with pytest.raises(ConfigurationError):
        Rolecall.from_env({**ENVIRON, "ROLECALL_PLUGIN_A": '{"b": 1}', "ROLECALL_PLUGIN_a": '{"b": 2}'})


@pytest.mark.parametrize("config", [None, [], {"a": 1}, {"a": "{}"}, {5: {}}])
def test_configuration_is_a_mapping_of_mappings(config):
    with pytest.raises(ConfigurationError):
        Rolecall(KEY, SECRET, plugin_config=config)


def test_arguments_win_over_the_environment():
    environ = {**ENVIRON, "ROLECALL_STORE": "sqlite:///no/such/folder/a.db", "ROLECALL_PLUGINS": "no_such_module"}
    with Rolecall.from_env(environ, store="memory://", plugins=[], api_key="9") as kit:
        assert kit.api_key == "9"


def test_an_argument_takes_the_place_of_the_origins():
    with Rolecall.from_env({**ENVIRON, "ROLECALL_ORIGINS": "https://a.example"}, web=Web(query="token")) as kit:
        assert kit.api.web == Web(query="token")


def test_the_process_environment_is_the_default(monkeypatch):
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    with Rolecall.from_env() as kit:
        assert kit.api_key == KEY
