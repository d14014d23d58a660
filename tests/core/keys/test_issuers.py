"""Who issues: kits with a project, with an application, or with both, and the ways in which a private key comes."""

from __future__ import annotations

import base64
import json
import re
import secrets
import traceback
from contextlib import suppress
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import RSAAlgorithm

from rolecall import Rolecall, hookimpl, inspect_token
from rolecall.encoding import base64url
from rolecall.errors import (
    ConfigurationError,
    InvalidKey,
    InvalidSessionId,
    InvalidToken,
    MalformedToken,
    RolecallError,
)
from rolecall.formats.opentok import OpenTokFormat

from ...tracebacks import held_by

API_KEY = "123456"
SECRET = "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
ANOTHER = "00000000-96f1-4f52-8b0e-0c8a1f7e5d34"
NOW = 1_795_186_800.0


@cache
def private(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(name: str = "the application's", form: PrivateFormat = PrivateFormat.PKCS8, password: bytes = b"") -> str:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return private(name).private_bytes(Encoding.PEM, form, protection).decode()


def public_pem() -> str:
    public = private("the application's").public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def make(clock):
    """Makes kits with exactly these credentials."""
    kits = []

    def make(**options) -> Rolecall:
        kits.append(Rolecall(**{"clock": clock, "entry_points": False, **options}))
        return kits[-1]

    yield make
    for kit in kits:
        kit.close()


def project() -> dict[str, str]:
    return {"api_key": API_KEY, "api_secret": SECRET}


def application() -> dict[str, str]:
    return {"application_id": APPLICATION, "private_key": pem("the application's")}


def both() -> dict[str, str]:
    return project() | application()


def form_of(token: str) -> str:
    return (
        "t1"
        if token.startswith("T1==")
        else {"HS256": "opentok", "RS256": "vonage"}[inspect_token(token).header["alg"]]
    )


# -- an application alone --------------------------------------------------------------------------


def test_a_kit_with_an_application_alone_mints_its_tokens_and_verifies_them(make):
    kit = make(**application())
    session = kit.create_session()
    token = session.generate_token("moderator", data="Ada")
    grant = kit.verify_token(token, session.session_id)
    assert (form_of(token), grant.role, grant.data) == ("vonage", "moderator", "Ada")


def test_the_api_key_of_an_application_alone_is_its_id(make):
    kit = make(**application())
    assert kit.api_key == APPLICATION
    assert APPLICATION in repr(kit)


def test_a_session_of_an_application_alone_is_known_after_a_restart(make):
    """Its tag is made with a key that comes from the private key, however that is written."""
    session_id = make(**application()).create_session().session_id
    for spelling in (pem("the application's"), pem("the application's", PrivateFormat.TraditionalOpenSSL)):
        kit = make(application_id=APPLICATION, private_key=spelling)
        assert kit.verify_token(kit.generate_token(session_id)).session_id == session_id


@pytest.mark.parametrize(
    "another",
    [{"private_key": "another"}, {"application_id": ANOTHER}],
    ids=["another private key", "another application"],
)
def test_a_session_of_another_application_is_refused(make, another):
    session_id = make(**application()).create_session().session_id
    given = {name: pem(value) if name == "private_key" else value for name, value in another.items()}
    with pytest.raises(InvalidSessionId):
        make(**application() | given).generate_token(session_id)


def test_a_session_id_of_an_application_that_was_made_up_is_refused(make):
    text = base64url.decode(make(**application()).create_session().session_id[2:].encode())
    other_moment = re.sub(rb"~[0-9]{13}~", b"~1795186800001~", text)
    assert other_moment != text
    with pytest.raises(InvalidSessionId, match="not made by this kit"):
        make(**application()).generate_token("1_" + base64url.encode(other_moment).decode())


@pytest.mark.parametrize("format", ["opentok", "t1"])
def test_an_application_alone_has_no_format_of_a_project(make, format):
    with pytest.raises(ConfigurationError, match="needs an api_key and an api_secret"):
        make(**application(), format=format)
    with pytest.raises(ConfigurationError, match="needs an api_key and an api_secret"):
        make(**application(), accept=["vonage", format])


@pytest.mark.parametrize("format", ["opentok", "t1"])
def test_an_application_alone_refuses_tokens_of_a_project(make, format):
    token = make(**project(), format=format).create_session().generate_token()
    with pytest.raises(InvalidToken) as refused:
        make(**application()).verify_token(token)
    assert refused.value.code == "malformed_token"


def test_a_project_alone_refuses_tokens_of_an_application(make):
    token = make(**application()).create_session().generate_token()
    with pytest.raises(InvalidToken) as refused:
        make(**project()).verify_token(token)
    assert refused.value.code == "wrong_token_kind"


def test_a_project_alone_has_no_format_of_an_application(make):
    with pytest.raises(ConfigurationError, match="'vonage' needs an application_id and a private_key"):
        make(**project(), format="vonage")


# -- both ------------------------------------------------------------------------------------------


def test_with_both_the_sessions_carry_the_api_key(make):
    kit = make(**both())
    assert kit.api_key == API_KEY
    assert make(**project()).generate_token(kit.create_session().session_id)


@pytest.mark.parametrize("format", ["opentok", "t1", "vonage"])
def test_the_format_says_what_is_minted(make, format):
    kit = make(**both(), format=format)
    assert form_of(kit.create_session().generate_token()) == format


def test_with_both_a_projects_token_is_minted_unless_told_otherwise(make):
    assert form_of(make(**both()).create_session().generate_token()) == "opentok"


@pytest.mark.parametrize("minting", ["opentok", "t1", "vonage"])
@pytest.mark.parametrize("format", ["opentok", "t1", "vonage"])
def test_with_both_all_forms_verify_whichever_is_minted(make, format, minting):
    kit = make(**both(), format=format, accept=["vonage", "opentok", "t1"])
    session_id = kit.create_session().session_id
    token = make(**both(), format=minting).generate_token(
        session_id, "moderator", data="Ada", initial_layout_class_list=["a", "b"]
    )
    grant = kit.verify_token(token, session_id)
    assert (grant.role, grant.data, grant.layout) == ("moderator", "Ada", ("a", "b"))
    assert (grant.issued_at, grant.expires_at) == (NOW, NOW + 86_400)


@pytest.mark.parametrize(("given", "minting"), [(project, "opentok"), (both, "opentok"), (both, "vonage")])
def test_t1_is_accepted_by_nobody_who_does_not_name_it(make, given, minting):
    kit = make(**given(), format=minting)
    with pytest.raises(MalformedToken, match="accept="):
        kit.verify_token(make(**project(), format="t1").generate_token(kit.create_session().session_id))


FORMATS = ("opentok", "t1", "vonage")


@pytest.mark.parametrize("accept", [order for n in (1, 2, 3) for order in permutations(FORMATS, n)], ids="-".join)
def test_exactly_the_forms_in_accept_verify_whatever_their_order(make, accept):
    kit = make(**both(), format=accept[0], accept=accept)
    session_id = kit.create_session().session_id
    verified = []
    for name in FORMATS:
        with suppress(InvalidToken):
            kit.verify_token(make(**both(), format=name).generate_token(session_id))
            verified.append(name)
    assert verified == sorted(accept)


@pytest.mark.parametrize("accept", [["opentok"], ["t1"], ["opentok", "t1"], []], ids=str)
def test_a_kit_accepts_what_it_mints(make, accept):
    with pytest.raises(ConfigurationError, match="could not verify its own tokens"):
        make(**both(), format="vonage", accept=accept)


class Labelled:
    """A plugin with a format of its own."""

    @hookimpl
    def rolecall_register_formats(self):
        return {"labelled": OpenTokFormat}


def test_a_format_of_a_plugin_is_given_the_project(make):
    kit = make(**both(), plugins=[Labelled()], format="labelled")
    assert kit.verify_token(kit.create_session().generate_token()).claims["iss"] == API_KEY


def test_a_format_of_a_plugin_needs_a_project(make):
    with pytest.raises(ConfigurationError, match="'labelled' needs an api_key and an api_secret"):
        make(**application(), plugins=[Labelled()], format="labelled")


def test_a_session_that_ended_refuses_tokens_of_both_kinds(make):
    kit = make(**both())
    session = kit.create_session()
    tokens = [session.generate_token(), make(**both(), format="vonage").generate_token(session.session_id)]
    session.end()
    for token in tokens:
        with pytest.raises(InvalidToken) as refused:
            kit.verify_token(token)
        assert refused.value.code == "revoked_token"


# -- arguments that are wrong ----------------------------------------------------------------------

INCOMPLETE = {
    "nothing": ({}, "an api_key and an api_secret, or an application_id and a private_key"),
    "no private key": ({"application_id": APPLICATION}, "private_key is missing"),
    "an empty private key": ({"application_id": APPLICATION, "private_key": ""}, "private_key is missing"),
    "an empty private key in bytes": ({"application_id": APPLICATION, "private_key": b""}, "private_key is missing"),
    "no application id": ({"private_key": "PEM"}, "application_id is missing"),
    "a project and no private key": ({**project(), "application_id": APPLICATION}, "private_key is missing"),
    "a project and no application id": ({**project(), "private_key": "PEM"}, "application_id is missing"),
    "an application and no secret": ({"api_key": API_KEY, "application_id": APPLICATION, "private_key": "PEM"},
                                     "api_secret is missing"),
    "an application and no API key": ({"api_secret": SECRET, "application_id": APPLICATION, "private_key": "PEM"},
                                      "api_key is of type NoneType"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "message"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_what_lacks_its_other_half_stops_the_kit(make, options, message):
    given = {name: pem("the application's") if value == "PEM" else value for name, value in options.items()}
    with pytest.raises(ConfigurationError, match=message):
        make(**given)


@pytest.mark.parametrize(
    "application_id",
    ["", "123456", APPLICATION.upper(), APPLICATION.replace("-", ""), APPLICATION + "\n", " " + APPLICATION,
     "{" + APPLICATION + "}", APPLICATION[:-1], APPLICATION[:-1] + "g", APPLICATION[:-1] + "４", 5, True,
     APPLICATION.encode(), [APPLICATION]],
    ids=ascii,
)  # fmt: skip
def test_an_application_id_is_a_uuid_in_small_letters(make, application_id):
    with pytest.raises(ConfigurationError, match=r"application_id is .*; expected a UUID"):
        make(application_id=application_id, private_key=pem("the application's"))


NO_KEYS = {
    "a public key": (public_pem, "public key"),
    "an encrypted key": (lambda: pem("the application's", password=b"x"), "encrypted"),
    "an EC key": (
        lambda: ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ).decode(),
        "another kind",
    ),
    "the project's secret": (lambda: SECRET, "neither PEM text nor the path of a file that can be read: No such file"),
    "a path that does not exist": (lambda: "/nowhere/private.key", "No such file"),
    "a path object that does not exist": (lambda: Path("/nowhere/private.key"), "No such file"),
    "a folder": (lambda: "/tmp", "Is a directory"),
    "the body of a PEM without its lines": (
        lambda: "".join(pem("the application's").splitlines()[1:-1]), "without its first and last line"),
    "PEM in base64": (lambda: base64.b64encode(pem("the application's").encode()).decode(), "PEM in base64; decode it"),
    "PEM in lines of base64": (
        lambda: base64.encodebytes(pem("the application's").encode()).decode(), "PEM in base64; decode it"),
    "OpenSSH's form": (lambda: pem("the application's", PrivateFormat.OpenSSH), "in OpenSSH's form.*ssh-keygen"),
    "DER": (
        lambda: private("the application's").private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "DER.*openssl pkey"),
    "a path with a line end": (lambda: "private.key\n", "a line end at its end"),
    "a path in quotes": (lambda: "'private.key'", "quotes around it"),
    "a path with a NUL": (lambda: "private\0.key", "no path"),
    "a path with a lone surrogate": (lambda: "private\ud800.key", "no path"),
    "a file without end": (lambda: "/dev/zero", "cannot be read; expected PEM"),
    "an empty file": (lambda: "/dev/null", "cannot be read; expected PEM"),
    "a bytearray": (lambda: bytearray(pem("the application's").encode()), "private_key is of type bytearray"),
    "a file number": (lambda: 0, "private_key is of type int"),
    "true": (lambda: True, "private_key is of type bool"),
    "an empty list": (list, "private_key is of type list"),
    "a key that is loaded already": (lambda: private("the application's"), "private_key is of type RSAPrivateKey"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "message"), NO_KEYS.values(), ids=NO_KEYS)
def test_what_is_no_private_key_stops_the_kit_and_the_message_says_why(make, given, message):
    with pytest.raises(InvalidKey, match=message):
        make(application_id=APPLICATION, private_key=given())


def test_what_cannot_be_read_as_a_file_stops_the_kit(make, tmp_path):
    with pytest.raises(InvalidKey, match="Is a directory"):
        make(application_id=APPLICATION, private_key=str(tmp_path))


# -- ways in which a private key comes -------------------------------------------------------------


def written(change=lambda text: text):
    """The key in a file, with this change."""

    def write(folder: Path) -> Path:
        path = folder / "private.key"
        path.write_bytes(change(pem("the application's")).encode())
        return path

    return write


WAYS = {
    "PEM text": lambda folder: pem("the application's"),
    "PEM in bytes": lambda folder: pem("the application's").encode(),
    "PKCS1": lambda folder: pem("the application's", PrivateFormat.TraditionalOpenSSL),
    "with CRLF": lambda folder: pem("the application's").replace("\n", "\r\n"),
    "in white space": lambda folder: " \r\n" + pem("the application's") + "\n\n ",
    "line ends as two characters": lambda folder: pem("the application's").replace("\n", "\\n"),
    "line ends as two characters, in bytes": lambda folder: pem("the application's").replace("\n", "\\n").encode(),
    "CRLF as four characters": lambda folder: pem("the application's").replace("\n", "\\r\\n"),
    "in quotes, line ends as two characters": lambda folder: '"' + pem("the application's").replace("\n", "\\n") + '"',
    "a path": lambda folder: str(written()(folder)),
    "a path in bytes": lambda folder: bytes(written()(folder)),
    "a path object": written(),
    "a file with CRLF": written(lambda text: text.replace("\n", "\r\n")),
    "a file with a BOM": written(lambda text: "\ufeff" + text),
    "a file with line ends as two characters": written(lambda text: text.replace("\n", "\\n")),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_private_key_is_the_same_whichever_way_it_comes(make, way, tmp_path):
    kit = make(application_id=APPLICATION, private_key=way(tmp_path))
    session_id = kit.create_session().session_id
    assert make(**application()).verify_token(kit.generate_token(session_id)).session_id == session_id


def test_a_relative_path_is_read_from_the_working_folder(make, tmp_path, monkeypatch):
    written()(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert make(application_id=APPLICATION, private_key="private.key").api_key == APPLICATION


def test_the_file_is_read_once(make, tmp_path):
    path = written()(tmp_path)
    kit = make(application_id=APPLICATION, private_key=path)
    path.unlink()
    assert kit.verify_token(kit.create_session().generate_token())


@pytest.mark.parametrize("way", ["PEM text", "line ends as two characters", "a path"])
@pytest.mark.parametrize("with_project", [False, True], ids=["an application alone", "both"])
def test_the_environment_names_an_application(clock, tmp_path, way, with_project):
    environ = {"ROLECALL_APPLICATION_ID": APPLICATION, "ROLECALL_PRIVATE_KEY": WAYS[way](tmp_path)}
    if with_project:
        environ |= {"ROLECALL_API_KEY": API_KEY, "ROLECALL_API_SECRET": SECRET}
    with Rolecall.from_env(environ, clock=clock, entry_points=False, format="vonage") as kit:
        assert kit.api_key == (API_KEY if with_project else APPLICATION)
        assert form_of(kit.create_session().generate_token()) == "vonage"


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({"ROLECALL_APPLICATION_ID": APPLICATION}, "private_key is missing"),
        ({"ROLECALL_APPLICATION_ID": APPLICATION, "ROLECALL_PRIVATE_KEY": ""}, "private_key is missing"),
        ({"ROLECALL_APPLICATION_ID": APPLICATION, "ROLECALL_API_KEY": API_KEY, "ROLECALL_PRIVATE_KEY": "PEM"},
         "api_secret is missing"),
        ({"ROLECALL_PRIVATE_KEY": "PEM"}, "ROLECALL_API_KEY is not set|application_id is missing"),
    ],
)  # fmt: skip
def test_half_of_an_application_in_the_environment_stops_the_kit(environ, missing):
    given = {name: pem("the application's") if value == "PEM" else value for name, value in environ.items()}
    with pytest.raises(ConfigurationError, match=missing):
        Rolecall.from_env(given, entry_points=False)


# -- a path in the place of a secret ---------------------------------------------------------------

PATHS = {
    "a key's": "path/to/private.key",
    "a long one": "keys/of/the/production/environment/private.key",
    "an absolute one": "/run/secrets/production/opentok_api_secret",
    "a home's": "~/projects/classroom/config/opentok-secret",
    "a relative one": "./config/secrets/production/opentok-secret",
    "a parent's": "../config/secrets/production/opentok-secret",
    "of Windows": "C:\\Users\\Ada\\Documents\\classroom\\opentok",
    "a URL": "file:///run/secrets/production/opentok_secret",
    "PEM": "opentok-production-private-key-2026.pem",
}


@pytest.mark.parametrize("write", [str, str.encode], ids=["text", "bytes"])
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_secret_that_looks_like_a_path_stops_the_kit(make, path, write):
    for given in ({"api_secret": write(path)}, {"api_secret": SECRET, "projects": {"7": write(path)}}):
        with pytest.raises(
            InvalidKey, match="is the path of a file, or looks like one; pass what the file holds"
        ) as told:
            make(api_key=API_KEY, **given)
        assert path not in str(told.value)


def test_a_secret_that_is_the_name_of_a_file_stops_the_kit(make, tmp_path, monkeypatch):
    name = secrets.token_hex(20)
    assert make(api_key=API_KEY, api_secret=name)
    (tmp_path / name).write_text(SECRET)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidKey, match="path of a file"):
        make(api_key=API_KEY, api_secret=name)
    with pytest.raises(InvalidKey, match="path of a file"):
        make(api_key=API_KEY, api_secret=tmp_path / name)


@pytest.mark.parametrize(
    "secret",
    [
        "/" + base64.b64encode(bytes(range(100, 131))).decode(),
        "a/b+" + base64.b64encode(bytes(range(100, 131))).decode(),
        "./9" + "x%&Q7Zk(p" * 5,
        b"/" + bytes(range(160, 200)),
        "correct horse battery staple / and another",
        "x" * 5000 + "0123456789",
        "a\0b" + "0123456789" * 4,
    ],
    ids=lambda secret: ascii(secret)[:12],
)
def test_what_is_no_path_is_a_secret(make, secret):
    assert make(api_key=API_KEY, api_secret=secret)


# -- private keys that everybody knows -------------------------------------------------------------


def test_a_published_private_key_stops_the_kit(make, vectors):
    jwk = json.loads((vectors / "ietf-cookbook/jwk/3_4.rsa_private_key.json").read_text("utf-8"))
    key: Any = RSAAlgorithm.from_jwk(jwk)
    published = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvalidKey, match="publicly known"):
        make(application_id=APPLICATION, private_key=published)


# -- a private key never shows ---------------------------------------------------------------------


def canaries() -> list[str]:
    numbers = private("the application's").private_numbers()
    body = "".join(pem("the application's").splitlines()[1:-1])
    return [str(numbers.d)[20:60], f"{numbers.p:x}"[20:50], *(body[i : i + 40] for i in (400, 800, 1200))]


def shown_in(text: str) -> list[str]:
    flat = text.replace("\\n", "").replace("\n", "").replace("\\", "")
    return [canary for canary in canaries() if canary in flat]


def test_the_canaries_would_be_seen():
    assert len(shown_in(repr({"private_key": pem("the application's")}))) == 3


MISPLACED = {
    "a wrong application id": lambda key: {"application_id": "x", "private_key": key},
    "no application id": lambda key: {"private_key": key},
    "the key as the application id": lambda key: {"application_id": key, "private_key": key},
    "the key as the API key": lambda key: {"api_key": key, "api_secret": SECRET},
    "the key as the API secret": lambda key: {"api_key": API_KEY, "api_secret": key},
    "a wrong project beside it": lambda key: {"api_key": 5, "api_secret": SECRET, **application()},
    "a short secret beside it": lambda key: {"api_key": API_KEY, "api_secret": "short", **application()},
    "cut off": lambda key: {"application_id": APPLICATION, "private_key": key[:-300]},
    "its body alone": lambda key: {"application_id": APPLICATION, "private_key": "".join(key.splitlines()[1:-1])},
    "its body alone, in lines": lambda key: {"application_id": APPLICATION, "private_key": key[28:-27]},
    "as a bytearray": lambda key: {"application_id": APPLICATION, "private_key": bytearray(key.encode())},
    "in a list": lambda key: {"application_id": APPLICATION, "private_key": [key]},
    "with a lone surrogate": lambda key: {"application_id": APPLICATION, "private_key": key[:-300] + "\ud800"},
    "as the store": lambda key: {**application(), "store": key},
    "as the format": lambda key: {**application(), "format": key},
    "as a format that is accepted": lambda key: {**application(), "accept": [key]},
    "as the leeway": lambda key: {**application(), "leeway": key},
}
# What these are given is not known to be a secret, and stands in the frame of whoever takes it.
AS_ANOTHER_ARGUMENT = {name for name in MISPLACED if name.startswith("as ") and name != "as a bytearray"}
AS_ANOTHER_ARGUMENT |= {"the key as the API key", "the key as the application id"}


def refusal(options: dict[str, Any]) -> RolecallError:
    with pytest.raises(RolecallError) as caught:
        Rolecall(**options, entry_points=False)
    return caught.value


@pytest.mark.parametrize("misplaced", MISPLACED.values(), ids=MISPLACED)
def test_no_message_of_a_kit_that_is_not_made_holds_the_key(misplaced):
    error = refusal(misplaced(pem("the application's")))
    assert shown_in("".join(traceback.format_exception(error)) + repr(vars(error))) == []


@pytest.mark.parametrize("name", sorted(set(MISPLACED) - AS_ANOTHER_ARGUMENT))
def test_no_frame_of_a_kit_that_is_not_made_holds_the_key(name):
    assert shown_in(held_by(refusal(MISPLACED[name](pem("the application's"))))) == []


def test_nothing_that_a_kit_shows_holds_the_key(make, caplog):
    caplog.set_level(0)
    kit = make(**both(), format="vonage", trace=True)
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token(data="Ada"))
    parts = [
        kit,
        kit.aio,
        kit.engine,
        session,
        grant,
        grant.claims,
        *vars(kit._state).values(),
        *kit._state.formats.values(),
    ]
    assert shown_in("\n".join(map(repr, parts)) + repr(vars(kit)) + caplog.text) == []
    assert len(caplog.text) > 100


def test_no_frame_of_a_refused_token_holds_the_key(make):
    kit = make(**application())
    for token in ("a.b.c", kit.create_session().generate_token()[:-4] + "AAAA"):
        with pytest.raises(InvalidToken) as caught:
            kit.verify_token(token)
        assert shown_in(held_by(caught.value)) == []


@pytest.mark.parametrize("wrong", [{"ROLECALL_APPLICATION_ID": "x"}, {"ROLECALL_STORE": "nowhere://"}], ids=str)
def test_no_frame_of_a_kit_that_is_not_made_from_the_environment_holds_the_key(wrong):
    environ = {"ROLECALL_APPLICATION_ID": APPLICATION, "ROLECALL_PRIVATE_KEY": pem("the application's"), **wrong}
    with pytest.raises(ConfigurationError) as caught:
        Rolecall.from_env(environ, entry_points=False)
    assert shown_in(held_by(caught.value)) == []
