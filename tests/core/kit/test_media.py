"""The media services in a kit's arguments and in its environment."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall import Rolecall, hookimpl
from rolecall.errors import ConfigurationError, PluginError
from rolecall.media import LiveKit, MediaBackend, Turn

from ...sdk_tokens import API_KEY, API_SECRET
from ...tracebacks import held_by
from ...untyped import untyped

URL, KEY, SECRET = "wss://media.example", "APIrolecall", "throwaway-livekit-secret-0123456789abcdefABCDEF"
SETTINGS = {"url": URL, "api_key": KEY, "api_secret": SECRET}
TURN = f'{{"urls": "turn:turn.example", "secret": "{SECRET}"}}'
VARIABLES = {
    "ROLECALL_API_KEY": API_KEY,
    "ROLECALL_API_SECRET": API_SECRET,
    "ROLECALL_MEDIA": "livekit",
    "ROLECALL_LIVEKIT_URL": URL,
    "ROLECALL_LIVEKIT_API_KEY": KEY,
    "ROLECALL_LIVEKIT_API_SECRET": SECRET,
}

pytestmark = pytest.mark.each_choice


class Studio(MediaBackend):
    """A service of a plugin, which takes LiveKit's tokens."""

    name = "studio"

    def __init__(self, url: str, api_secret: str, **settings: Any) -> None:
        super().__init__(url, **settings)
        self._secret = api_secret

    def token_format(self, rules: Any) -> Any:
        return LiveKit(URL, KEY, self._secret).token_format(rules)


class Unfinished(MediaBackend):
    """A class that cannot make an object."""

    name = "unfinished"


class Registers:
    def __init__(self, answer: Any = None) -> None:
        self._answer = {"studio": Studio} if answer is None else answer

    @hookimpl
    def rolecall_register_media(self) -> Any:
        return self._answer


def tickets_of(kit: Rolecall, **options: Any) -> Any:
    session = kit.create_session(**options)
    return kit.ticket(kit.verify_token(kit.generate_token(session, actor="ada")))


class Arena(Studio):
    """A service whose clients know where it is."""

    name = "arena"

    def __init__(self, api_secret: str, **settings: Any) -> None:
        super().__init__(URL, api_secret, **settings)


WAYS: dict[str, dict[str, Any]] = {
    "an object": {"media": LiveKit(URL, KEY, SECRET)},
    "a list": {"media": [LiveKit(URL, KEY, SECRET)]},
    "a name": {"media": "livekit", "media_config": {"livekit": SETTINGS}},
    "names": {"media": ["livekit"], "media_config": {"livekit": SETTINGS}},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_service_is_an_object_or_a_name_with_settings(make_kit, way):
    assert tickets_of(make_kit(**WAYS[way])).url == URL


def test_a_plugin_registers_a_service(make_kit):
    config = {"studio": {"url": "wss://studio.example", "api_secret": SECRET}, "livekit": SETTINGS}
    kit = make_kit(plugins=[Registers()], media=["studio", "livekit"], media_config=config)
    assert tickets_of(kit).url == "wss://studio.example"
    assert tickets_of(kit, media="livekit").url == URL


def test_the_environment_has_services_and_their_settings():
    turn = {"ROLECALL_LIVEKIT_TURN_URLS": "turn:a.example,turn:b.example", "ROLECALL_LIVEKIT_TURN_SECRET": SECRET}
    emulated = {"ROLECALL_LIVEKIT_ACCEPT_EMULATED": "mute_all"}
    with Rolecall.from_env({**VARIABLES, **turn, **emulated, "ROLECALL_LIVEKIT_TICKET_LIFE": "90"}) as kit:
        ticket = tickets_of(kit)
        assert (ticket.url, ticket.credentials["turn"]["urls"]) == (URL, ["turn:a.example", "turn:b.example"])
        assert 80 < ticket.expires_at - kit.engine.state.clock() <= 90


def test_a_setting_may_be_in_a_file(tmp_path):
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    variables = {**VARIABLES, "ROLECALL_LIVEKIT_API_SECRET_FILE": str(tmp_path / "secret")}
    with pytest.raises(ConfigurationError, match="are both set"):
        Rolecall.from_env(variables)
    del variables["ROLECALL_LIVEKIT_API_SECRET"]
    with Rolecall.from_env(variables) as kit:
        assert tickets_of(kit).url == URL


def test_the_environment_has_settings_of_a_plugins_service():
    variables = {name: value for name, value in VARIABLES.items() if "LIVEKIT" not in name}
    variables |= {
        "ROLECALL_MEDIA": "studio",
        "ROLECALL_STUDIO_URL": "wss://studio.example",
        "ROLECALL_STUDIO_API_SECRET": SECRET,
    }
    with Rolecall.from_env(variables, plugins=[Registers()]) as kit:
        assert tickets_of(kit).url == "wss://studio.example"


def test_an_argument_wins_over_the_environment():
    with Rolecall.from_env(VARIABLES, media=[], media_config={}) as kit:
        assert kit.create_session().media is None


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown name": ({"media": "radio"}, "no such media service; there are .*livekit"),
    "a number": ({"media": 7}, "media is of type int"),
    "a class": ({"media": LiveKit}, "media is"),
    "twice": ({"media": [LiveKit(URL, KEY, SECRET)] * 2}, "'livekit' twice"),
    "settings without a name": ({"media_config": {"livekit": SETTINGS}}, "not in media: .*ROLECALL_MEDIA=livekit"),
    "settings of one more": (
        {"media": LiveKit(URL, KEY, SECRET), "media_config": {"jitsi": {"url": "https://meet.example"}}},
        "ROLECALL_MEDIA=livekit,jitsi; or leave out its settings",
    ),
    "a misspelt name": ({"media": "LiveKit"}, "no such media service; did you mean livekit"),
    "a misspelt role": (
        {"media": LiveKit(URL, KEY, SECRET, accept_wider={"subscribr"})},
        "livekit: accept_wider has 'subscribr', which is no role of this kit; the roles are subscriber, ",
    ),
    "settings are no mapping": ({"media": "livekit", "media_config": {"livekit": 1}}, "media_config is not"),
    "no url": (
        {"media": "livekit", "media_config": {"livekit": {"api_key": KEY}}},
        "setting url: .*ROLECALL_LIVEKIT_URL",
    ),
    "misspelt": (
        {"media": "livekit", "media_config": {"livekit": {**SETTINGS, "api_secrets": SECRET}}},
        "no setting 'api_secrets'; did you mean api_secret",
    ),
    "a wrong turn": (
        {"media": "livekit", "media_config": {"livekit": {**SETTINGS, "turn": {"url": "turn:x"}}}},
        "turn takes urls, secret",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_stop_start_up_with_what_to_do(make_kit, name):
    options, message = WRONG[name]
    with pytest.raises(ConfigurationError, match=message):
        make_kit(**options)


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "no scheme": ({"url": "media.example"}, "url is not the URL of a service"),
    "a foreign scheme": ({"url": "ftp://media.example"}, "url is not the URL of a service"),
    "a password in the URL": ({"url": f"wss://u:{SECRET}@media.example"}, "holds a user, a query or a fragment"),
    "a query": ({"url": "wss://media.example/?x=1"}, "holds a user, a query or a fragment"),
    "quoted": ({"url": f'"{URL}"'}, "url has"),
    "a path in spaces": ({"url": "wss://media.example/a b"}, "url is"),
    "no text": ({"url": None}, "url is"),
    "a short secret": ({"api_secret": "devkey-secret"}, "livekit: api_secret: the secret has 13 bytes"),
    "no secret": ({"api_secret": None}, "livekit: api_secret: a secret is text"),
    "a known secret": ({"api_secret": "a" * 32}, "livekit: api_secret: the secret is publicly known"),
    "an old secret that is short": ({"verify_secrets": ["x"]}, "livekit: .*has 1 bytes"),
    "old secrets as text": ({"verify_secrets": SECRET}, "expected a list"),
    "no key": ({"api_key": ""}, "livekit: api_key"),
    "a key with a space": ({"api_key": "a b"}, "livekit: api_key"),
    "roles as text": ({"accept_wider": "subscriber"}, "accept_wider is 'subscriber'; expected a set"),
    "a turn that is none": ({"turn": untyped(7)}, "turn is"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_wrong_settings_are_named_and_no_secret_is_quoted(make_kit, name):
    settings, message = BAD_SETTINGS[name]
    config = {"livekit": {**SETTINGS, **settings}}
    with pytest.raises(ConfigurationError, match=message) as refused:
        make_kit(media="livekit", media_config=config)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"URL": "nowhere"},
        {"URL": "nowhere", "TURN": TURN},
        {"TICKET_LIFE": "0", "TURN": TURN},
        {"ACCEPT_EMULATED": "signal", "TURN": TURN},
    ],
)
def test_no_frame_of_the_traceback_holds_a_secret(settings):
    changes = {f"ROLECALL_LIVEKIT_{name}": value for name, value in settings.items()}
    with pytest.raises(ConfigurationError, match="livekit: ") as refused:
        Rolecall.from_env({**VARIABLES, **changes})
    assert SECRET not in held_by(refused.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([Studio], "expected a mapping by name"),
        ({"studio": lambda **_: None}, "expected a class derived from"),
        ({"another": Studio}, "another `name`"),
        ({"livekit": Studio}, "there already"),
        ({"unfinished": Unfinished}, r"'unfinished' has no token_format\(…\)"),
    ],
)
def test_a_wrong_answer_of_the_hook_stops_start_up(make_kit, answer, message):
    with pytest.raises(PluginError, match=message):
        make_kit(plugins=[Registers(answer)])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ROLECALL_LIVEKIT", "ROLECALL_LIVEKIT' is unknown"),
        ("ROLECALL_LIVEKIT_", "ROLECALL_LIVEKIT_' is unknown"),
        ("ROLECALL_RADIO_URL", "ROLECALL_RADIO_URL' is unknown"),
        ("ROLECALL_LIVEKIT_URI", "no setting 'uri'; did you mean url"),
    ],
)
def test_a_misspelt_variable_stops_start_up(name, message):
    with pytest.raises(ConfigurationError, match=message):
        Rolecall.from_env({**VARIABLES, name: "x"})


def test_what_kubernetes_sets_for_a_service_of_a_like_name_is_let_be():
    links = {
        "ROLECALL_LIVEKIT_SERVICE_HOST": "10.0.0.1",
        "ROLECALL_LIVEKIT_SERVICE_PORT": "7880",
        "ROLECALL_LIVEKIT_PORT": "tcp://10.0.0.1:7880",
        "ROLECALL_LIVEKIT_PORT_7880_TCP_ADDR": "10.0.0.1",
    }
    with Rolecall.from_env({**VARIABLES, **links}) as kit:
        assert tickets_of(kit).url == URL


def test_reprs_hold_no_secret():
    backend = LiveKit(URL, KEY, SECRET, turn=Turn("turn:turn.example", SECRET))
    assert repr(backend) == "<LiveKit wss://media.example>"
    assert backend.api_key == KEY


def test_a_service_whose_clients_know_where_it_is_needs_no_url(make_kit):
    kit = make_kit(media="arena", media_config={"arena": {"api_secret": SECRET}}, plugins=[Registers({"arena": Arena})])
    assert tickets_of(kit).url == URL
    with pytest.raises(ConfigurationError, match="'arena' has no setting 'url'"):
        make_kit(
            media="arena",
            media_config={"arena": {"api_secret": SECRET, "url": URL}},
            plugins=[Registers({"arena": Arena})],
        )
