"""TomlPolicy: a file says who may what, and is told where it is wrong."""

from __future__ import annotations

import pytest

from rolecall import Role
from rolecall.errors import ConfigurationError, PolicyDenied, PolicyFault
from rolecall.media import LiveKit
from rolecall.policies import TomlPolicy

from ...untyped import untyped

pytestmark = pytest.mark.each_choice

SCHOOL = """
[[session]]
who = { groups = ["teachers"], actors = ["root"] }

[[token]]
who = { actors = ["banned"] }
role = "subscriber"
lifetime = 60

[[token]]
who = { groups = ["teachers"] }
role = "moderator"

[[token]]
who = "*"
role = "publisher"
lifetime = "2h"
where = { media_mode = "routed" }

[[token]]
who = "anonymous"
role = "subscriber"
lifetime = "90m"
where = { location = "192.0.2.*" }
"""


@pytest.fixture
def policy(tmp_path):
    def make(text=SCHOOL, **options):
        file = tmp_path / "policy.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return TomlPolicy(file, **options)

    return make


@pytest.mark.parametrize(
    ("who", "properties", "role", "lifetime"),
    [
        (("ada", "teachers"), {}, "moderator", 86_400),
        (("banned", "teachers"), {}, "subscriber", 60),
        (("bob",), {"media_mode": "routed"}, "publisher", 7200),
        ((), {"location": "192.0.2.7"}, "subscriber", 5400),
        (("bob",), {}, None, None),
        ((), {"media_mode": "routed"}, None, None),
        ((), {"location": "198.51.100.7"}, None, None),
        ((), {}, None, None),
    ],
)
def test_the_first_table_that_fits_decides(asker, outside, clock, policy, who, properties, role, lifetime):
    ask = asker(policy())
    session_id = ask.session(**properties)
    if role is None:
        with pytest.raises(PolicyDenied, match="no policy"):
            ask.token(session_id, "subscriber", outside(*who))
        return

    grant = ask.token(session_id, "moderator", outside(*who))

    assert (grant.role, grant.expires_at - clock.now) == (role, lifetime)


@pytest.mark.parametrize(
    ("who", "may"), [(("ada", "teachers"), True), (("root",), True), (("bob",), False), ((), False)]
)
def test_the_file_says_who_creates_sessions(asker, outside, policy, who, may):
    ask = asker(policy())
    if may:
        assert ask.session(outside(*who))
    else:
        with pytest.raises(PolicyDenied):
            ask.session(outside(*who))


def test_a_table_may_name_its_sessions(asker, outside, make_kit, policy):
    session_id = make_kit().create_session().session_id
    file = policy(f'[[token]]\nwho = "*"\nrole = "publisher"\nsessions = ["{session_id}"]')
    request = {"role": Role.PUBLISHER, "session": None, "actor": None}
    ask = asker(file)

    with pytest.raises(PolicyDenied):
        ask.token(ask.session(), http=outside("ada"))
    assert [rule.concerns(session_id, request["session"]) for rule in file._rules] == [True]


@pytest.mark.parametrize(("e2ee", "may"), [(True, True), (False, False)])
def test_a_table_may_be_about_encrypted_sessions(asker, outside, policy, e2ee, may):
    ask = asker(policy('[[token]]\nwho = "*"\nrole = "publisher"\nwhere = { e2ee = true, archive_mode = "manual" }'))
    session_id = ask.session(media_mode="routed", e2ee=e2ee)
    if may:
        assert ask.token(session_id, http=outside("ada"))
    else:
        with pytest.raises(PolicyDenied):
            ask.token(session_id, http=outside("ada"))


def test_a_table_may_be_about_the_sessions_of_a_media_service(asker, outside, policy):
    class Other(LiveKit):
        name = "other"

    secret = "a0c1e2f30415263748596a7b8c9dae0f1f2e3d4c"
    services = [kind("wss://media.example", "APIkey", secret) for kind in (LiveKit, Other)]
    ask = asker(policy('[[token]]\nwho = "*"\nrole = "publisher"\nwhere = { media = "oth*" }'), media=services)
    assert ask.token(ask.session(media="other"), http=outside("ada"))
    with pytest.raises(PolicyDenied):
        ask.token(ask.session(), http=outside("ada"))


def test_the_servers_own_code_is_not_its_business(asker, policy):
    ask = asker(policy('[[token]]\nwho = "anonymous"\nrole = "subscriber"'))
    assert ask.token(ask.session(), "moderator").role == "moderator"


def test_a_file_may_name_roles_of_the_app(asker, outside, policy):
    assistant = Role("assistant", ["connect", "publish", "signal"], wire_name="publisheronly")
    text = '[[token]]\nwho = "*"\nrole = "assistant"'
    assert policy(text, roles=[assistant])
    with pytest.raises(ConfigurationError, match="assistant"):
        policy(text)


def test_groups_that_cannot_be_read_refuse_the_request(asker, outside, policy):
    ask = asker(policy(groups=lambda _: "teachers"))
    with pytest.raises(PolicyFault):
        ask.token(ask.session(), http=outside("ada"))


TOKEN = '[[token]]\nwho = "*"\nrole = "publisher"\n'


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[[token]\n", 1, "no TOML"),
        ("\n\nwho = \n", 3, "no TOML"),
        ('[[token]]\nwho = """\n\n', 2, "no TOML"),
        (b"\n# \xff\n", 2, "not UTF-8"),
        (b"\xef\xbb\xbf[[token]]", 1, "no TOML"),
        ("a = 1\na = 2\n", 2, "no TOML"),
        ("# comment\ntokens = 1\n", 2, "'tokens'"),
        (TOKEN + "\n[[tokens]]\n", 5, "'tokens'"),
        ("[token]\nwho = '*'\n", 1, "[[token]]"),
        ("\ntoken = [1]", 2, "[[token]]"),
        (TOKEN + "\n# note\nlife = 3\n", 6, "'life'"),
        (TOKEN + "\n[[token]]\nrole = 'publisher'\n", 5, "does not say who"),
        (TOKEN + "\n[[token]]\nwho = '*'\n", 5, "no role"),
        (TOKEN + TOKEN.replace("publisher", "modrator"), 6, "'modrator'"),
        (TOKEN.replace('"publisher"', "3"), 3, "role is 3"),
        (TOKEN.replace('"*"', '"everybody"'), 2, "who is 'everybody'"),
        (TOKEN.replace('"*"', "{}"), 2, "who is"),
        (TOKEN.replace('"*"', "{ group = ['a'] }"), 2, "'group'"),
        (TOKEN.replace('"*"', "{ groups = 'a' }"), 2, "groups is 'a'"),
        (TOKEN.replace('"*"', "{ groups = [] }"), 2, "groups is"),
        (TOKEN.replace('"*"', "{ actors = [\n  'a',\n  3,\n] }"), 2, "actors is"),
        ("[[token]]\nwho.groups = ['a']\nwho.actors = [1]\nrole = 'publisher'", 3, "actors is"),
        (TOKEN + "sessions = '1_abc'", 4, "sessions is '1_abc'"),
        (TOKEN + "lifetime = true", 4, "lifetime is True"),
        (TOKEN + "lifetime = 0", 4, "lifetime is 0"),
        (TOKEN + "lifetime = 1.5", 4, "lifetime is 1.5"),
        (TOKEN + "lifetime = nan", 4, "lifetime is nan"),
        (TOKEN + "lifetime = '31d'", 4, "lifetime is"),
        (TOKEN + "lifetime = '2 hours'", 4, "lifetime is '2 hours'"),
        (TOKEN + "lifetime = 2026-11-20", 4, "lifetime is"),
        (TOKEN + "where = {}", 4, "where is"),
        (TOKEN + "where = { medium = 'routed' }", 4, "'medium'"),
        (TOKEN + "where = { media = 1 }", 4, "media is 1; expected the name of a media service"),
        (TOKEN + "where = { media_mode = 'route' }", 4, "media_mode is 'route'"),
        (TOKEN + "where = { e2ee = 'yes' }", 4, "e2ee is 'yes'"),
        (TOKEN + "[token.where]\nlocation = '*'\ne2ee = 1", 6, "e2ee is 1"),
        (TOKEN + "\r\n[[session]]\r\nwho = 1\r\n", 6, "who is 1"),
        ("[[session]]\nwho = '*'\nrole = 'publisher'", 3, "'role'"),
        (
            '[[session]]\nwho = "*"\n[[token]]\nwho = { actors = ["""\n[[token]]\nrole = 7\n"""] }\nrole = 7',
            8,
            "role is 7",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(policy, text, line, message):
    with pytest.raises(ConfigurationError) as refusal:
        policy(text)
    assert f"policy.toml', line {line}: " in str(refusal.value)
    assert message in str(refusal.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "x = " + "[" * 100_000])
def test_a_file_that_says_nothing_is_refused(policy, text):
    with pytest.raises(ConfigurationError, match=r"policy\.toml"):
        policy(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: TomlPolicy(folder / "missing.toml"),
        lambda folder: TomlPolicy(folder),
        lambda folder: TomlPolicy("nul\0"),
        lambda folder: TomlPolicy(untyped(None)),
        lambda folder: TomlPolicy(folder / "missing.toml", groups=untyped(None)),
    ],
)
def test_wrong_arguments_stop_start_up(make, tmp_path):
    with pytest.raises(ConfigurationError):
        make(tmp_path)


def test_the_file_is_read_once(asker, outside, policy, tmp_path):
    ask = asker(policy(TOKEN))
    (tmp_path / "policy.toml").write_text("broken")
    assert ask.token(ask.session(), http=outside("ada"))
