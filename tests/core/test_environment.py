"""The environment variables that a kit reads."""

from __future__ import annotations

import pytest

from rolecall import Rolecall, Web
from rolecall.environment import read_environment
from rolecall.errors import ConfigurationError

KEY, SECRET = "123456", "1234567890abcdef1234567890abcdef1234567890"
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
        ("ROLECALL_ENTRY_POINTS", "all", {"entry_points": True}),
        ("ROLECALL_ENTRY_POINTS", " ALL ", {"entry_points": True}),
        ("ROLECALL_ENTRY_POINTS", "None", {"entry_points": False}),
        ("ROLECALL_ENTRY_POINTS", "a,b", {"entry_points": ["a", "b"]}),
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
        ("ROLECALL_UNRELATED", "1", {}),
        ("ROLECALL", "1", {}),
        ("rolecall_store", "memory://", {}),
    ],
)
def test_a_variable_gives_an_argument(variable, text, options):
    assert read_environment({variable: text}) == options


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
        ("ROLECALL_ORIGINS", "canary"),
        ("ROLECALL_ORIGINS", "https://a.example, https://canary.example/"),
        ("ROLECALL_ORIGINS", "https://canary.example https://a.example"),
        ("ROLECALL_ORIGINS", "canary: canary"),
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


@pytest.mark.parametrize("name", ["classroom", "CLASSROOM", "Classroom"])
def test_a_plugin_finds_its_configuration(name):
    with Rolecall.from_env({**ENVIRON, "ROLECALL_PLUGIN_CLASSROOM": '{"size": 30, "rooms": ["a"]}'}) as kit:
        assert dict(kit.plugin_config(name)) == {"size": 30, "rooms": ("a",)}


@pytest.mark.parametrize("name", ["acme-policy", "acme.policy", "acme_policy", "Acme Policy"])
def test_a_variable_spells_a_plugins_name_with_underscores(name):
    with Rolecall.from_env({**ENVIRON, "ROLECALL_PLUGIN_ACME_POLICY": '{"a": 1}'}) as kit:
        assert kit.plugin_config(name)["a"] == 1


def test_configuration_is_read_only():
    with Rolecall.from_env({**ENVIRON, "ROLECALL_PLUGIN_A": '{"b": {"c": 1}}'}) as kit:
        with pytest.raises(TypeError):
            kit.plugin_config("a")["b"] = 1
        with pytest.raises(TypeError):
            kit.plugin_config("a")["b"]["c"] = 2


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
        assert kit.engine.state.web == Web(query="token")


def test_the_process_environment_is_the_default(monkeypatch):
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    with Rolecall.from_env() as kit:
        assert kit.api_key == KEY
