"""Who issues tokens: a project with its secret, an application with its private key."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeGuard

from ..errors import ConfigurationError, InvalidKey
from ..wording import kind, shown_key, wrapping
from .hmac import HMACKey, problem_with
from .key import Key
from .making import application_key, is_application, secret_key
from .ring import KeyRing
from .states import RingKey

#: The message for a project whose secret is missing.
MISSING: Final = "the project's api_secret is missing"
#: How many bytes of a key's file are read at most; a key of 16,384 bits has 12,500.
_MAX_FILE: Final = 65_536
_MAX_PATH: Final = 4096
_API_KEY: Final = r"[0-9A-Za-z-]{1,64}"


class Issuer:
    """A project or an application, for which tokens and session ids are issued.

    To change its keys, assign another ring. Code that signs or verifies reads ``ring`` each time, and keeps nothing
    of an earlier ring.

    :param id: the API key, or the application's id.
    :param ring: its keys.
    """

    __slots__ = ("_id", "ring")

    def __init__(self, id: str, ring: KeyRing) -> None:
        self._id = id
        self.ring = ring

    @property
    def id(self) -> str:
        """The API key, or the application's id."""
        return self._id

    def __repr__(self) -> str:
        return f"<Issuer {self._id!r} {self.ring!r}>"


class Elsewhere(Protocol):
    """Knows the rings of issuers whose keys are no arguments."""

    def __call__(self, issuer: str, /, *, needed: bool = False) -> KeyRing | None:
        """The ring of an issuer; None if there is none.

        :param needed: whether the issuer has no keys in arguments.
        :raises InvalidKey: if its ring should be there, and is not.
        """


def nowhere(_: str, /, *, needed: bool = False) -> None:  # noqa: ARG001 (as Elsewhere has it)
    return None


def credentials_of(
    api_key: object,
    api_secret: object,
    application_id: object,
    private_key: object,
    verify_secrets: object = (),
    verify_keys: object = (),
    elsewhere: Elsewhere = nowhere,
) -> tuple[Issuer | None, Issuer | None]:
    """The project and the application in a kit's arguments; at least one of them is not None.

    :param verify_secrets: further secrets of the project, which only verify.
    :param verify_keys: further private keys of the application, which only verify.
    :param elsewhere: the keys of a project or application without a secret or a private key.
    :raises ConfigurationError: for an argument that is wrong, or that lacks its other half.
    """
    try:
        project = application = None
        if api_key is not None or api_secret is not None:
            project = _project(api_key, api_secret, verify_secrets, elsewhere)
        elif _given(verify_secrets):
            raise ConfigurationError(
                "verify_secrets are further secrets of a project; pass api_key and api_secret, too"
            )
        if application_id is not None or private_key is not None:
            application = _application(application_id, private_key, verify_keys, elsewhere)
        elif _given(verify_keys):
            raise ConfigurationError(
                "verify_keys are further keys of an application; pass application_id and private_key, too"
            )
    finally:
        del api_secret, private_key, verify_secrets, verify_keys
    if project is None and application is None:
        raise ConfigurationError("a kit needs an api_key and an api_secret, or an application_id and a private_key")
    return project, application


def further_projects(projects: object, first: Issuer | None, elsewhere: Elsewhere = nowhere) -> tuple[Issuer, ...]:
    """The projects that a kit has besides its first one.

    :param projects: by API key the API secret of each; or its ``api_secret`` and ``verify_secrets``; or None, if its
        keys are elsewhere.
    :raises ConfigurationError: for a project that is wrong or given twice.
    """
    try:
        if not isinstance(projects, Mapping):
            raise ConfigurationError(f"projects is {kind(projects)}; expected a mapping from API keys to API secrets")
        if projects and first is None:
            raise ConfigurationError("projects are further ones: pass the first project as api_key and api_secret")
        further = []
        for number, api_key in enumerate(projects, 1):
            if first is not None and api_key == first.id:
                raise ConfigurationError("projects names the kit's own api_key, too; leave it out there")
            whose = f"projects, number {number}: "
            further.append(_project(api_key, *_secrets_of(projects[api_key], whose), elsewhere, whose))
    finally:
        api_key = None
        del projects  # so that no frame of a traceback holds the secrets
    return tuple(further)


def _secrets_of(given: object, whose: str) -> tuple[object, object]:
    """The API secret of a further project, and its secrets that only verify."""
    if not isinstance(given, Mapping):
        return given, ()
    try:
        if not _OF_PROJECT.issuperset(given) or "api_secret" not in given:
            raise ConfigurationError(f"{whose}expected its api_secret, or an object of api_secret and verify_secrets")
        return given["api_secret"], given.get("verify_secrets", ())
    finally:
        del given


_OF_PROJECT: Final = frozenset({"api_secret", "verify_secrets"})


def _project(
    api_key: object, api_secret: object, verify_secrets: object, elsewhere: Elsewhere, whose: str = ""
) -> Issuer:
    if api_secret is None and _is_api_key(api_key) and (ring := elsewhere(api_key, needed=True)) is not None:
        try:
            refuse_further(verify_secrets, f"{whose}verify_secrets")
        finally:
            del verify_secrets
        return Issuer(api_key, ring)
    problem = MISSING if api_secret is None else None
    problem = problem or _path_problem(api_secret) or problem_with(api_secret)
    key = None if problem else HMACKey(api_secret)  # type: ignore[arg-type]
    del api_secret  # so that no frame of a traceback below holds it
    if key is None:
        del api_key  # if the two were swapped, it is the secret
        del verify_secrets
        raise InvalidKey(f"{whose}{problem}")
    try:
        if not _is_api_key(api_key):
            raise ConfigurationError(
                f"{whose}api_key is {_described(api_key)}; expected a string of 1 to 64 letters, digits and '-', "
                'even where the key is a number: api_key="123456"'
            )
        key.refuse_published()
        refuse_twice(api_key, elsewhere, whose)
        return Issuer(api_key, ring_of(f"{whose}verify_secrets", key, listed(verify_secrets, whose), _verify_secret))
    finally:
        del verify_secrets


def project_of(api_key: object, api_secret: object) -> Issuer:
    """The project of an API key with its secret, neither of which may be missing.

    :raises ConfigurationError: says which of them is wrong.
    """
    try:
        project = None if api_secret is None else credentials_of(api_key, api_secret, None, None)[0]
        if project is None:
            raise InvalidKey(MISSING)
        return project
    finally:
        del api_key, api_secret  # the two may have been swapped


def _is_api_key(api_key: object) -> TypeGuard[str]:
    return isinstance(api_key, str) and re.fullmatch(_API_KEY, api_key) is not None


def _given(further: object) -> bool:
    return not isinstance(further, tuple | list) or bool(further)


def listed(further: object, whose: str, name: str = "verify_secrets") -> tuple[object, ...]:
    """Secrets or private keys in a list."""
    is_list = isinstance(further, tuple | list)
    described = kind(further)
    listed = tuple(further) if isinstance(further, tuple | list) else ()
    del further
    if not is_list:
        raise ConfigurationError(f"{whose}{name} is {described}; expected a list, even of one")
    return listed


def ring_of(name: str, signing: Key, further: tuple[object, ...], make: Callable[[object], Key | str]) -> KeyRing:
    """The ring of one key that signs, and of those that only verify.

    :param name: the argument with those, for messages.
    :param make: makes a key, or returns the problem with it.
    """
    keys, problem = [RingKey.of(signing, "signing")], None
    for number, one in enumerate(further, 1):
        made = make(one)
        if isinstance(made, str):
            problem = f"{name}, number {number}: {made}"
            break
        keys.append(RingKey.of(made, "verifying"))
    one = None
    del further  # so that no frame of a traceback holds them
    if problem is not None:
        raise InvalidKey(problem)
    try:
        return KeyRing.of(keys)
    except InvalidKey as error:
        raise InvalidKey(f"{name}: {error}") from None


def _verify_secret(secret: object) -> Key | str:
    """The key for a secret that only verifies; or the problem with it."""
    problem = _path_problem(secret) or problem_with(secret)
    if problem is not None:
        return problem
    try:
        return secret_key(secret)  # type: ignore[arg-type]  # problem_with has looked at it
    except InvalidKey as error:
        return str(error)


def refuse_further(further: object, name: str) -> None:
    """Refuse keys in an argument for an issuer whose keys come from elsewhere."""
    is_given = _given(further)
    del further
    if is_given:
        raise ConfigurationError(
            f"{name} go with keys in an argument; here they come from a ring file, the store or a plugin"
        )


def refuse_twice(issuer: str, elsewhere: Elsewhere, whose: str = "") -> None:
    """Refuse keys from two places: nobody could tell which of them signs."""
    if elsewhere(issuer) is not None:
        raise ConfigurationError(
            f"{whose}the keys of {shown_key(issuer)} are an argument and come from a ring file, the store or a plugin, "
            "too; leave one of the two out"
        )


def _described(value: object) -> str:
    """The kind of ``value``, and quotes or white space around it. Never the value: it may be a misplaced secret."""
    around = wrapping(value) if isinstance(value, str) else None
    return kind(value) if around is None else f"{kind(value)} with {around}"


# A base64 secret may begin with "/", but has no ".", ":" or "~", and has capitals among its 43 characters.
_PATH: Final = (
    r"(file:/|~/|\.{1,2}[/\\]|[A-Za-z]:[/\\]|\\\\)[\w./\\ ~@:-]*|/[a-z0-9._/ @-]*"
    r"|[\w./\\ ~@:-]*\.(key|pem|p8|p12|pfx|der|crt|cer|txt|env|json|secret)"
)


def _path_problem(api_secret: object) -> str | None:
    """The problem with a secret that is the path of a file; None if it is no path."""
    text = api_secret.decode("utf-8", "replace") if isinstance(api_secret, bytes) else api_secret
    if isinstance(text, os.PathLike) or (
        isinstance(text, str) and (re.fullmatch(_PATH, text, re.ASCII) is not None or _is_file(text))
    ):
        return (
            "the project's api_secret is the path of a file, or looks like one; pass what the file holds. "
            "A private key goes with the id of its application, not with an API key"
        )
    return None


def _is_file(text: str) -> bool:
    try:
        return len(text) <= _MAX_PATH and os.path.isfile(text)
    except (OSError, ValueError):  # a NUL, a lone surrogate
        return False


def _application(application_id: object, private_key: object, verify_keys: object, elsewhere: Elsewhere) -> Issuer:
    if (
        private_key is None
        and _is_application(application_id)
        and (ring := elsewhere(application_id, needed=True)) is not None
    ):
        try:
            refuse_further(verify_keys, "verify_keys")
        finally:
            del verify_keys
        return Issuer(application_id, ring)
    key = _private(private_key)
    del private_key
    try:
        if isinstance(key, str):
            raise InvalidKey(key)
        if not _is_application(application_id):
            raise ConfigurationError(
                f"application_id is {'missing' if application_id is None else _described(application_id)}; "
                "expected a UUID in small letters, as the service's dashboard shows it"
            )
        refuse_twice(application_id, elsewhere)
        return Issuer(application_id, ring_of("verify_keys", key, listed(verify_keys, "", "verify_keys"), _private))
    finally:
        del verify_keys


def _is_application(application_id: object) -> TypeGuard[str]:
    return isinstance(application_id, str) and is_application(application_id)


def _private(private_key: object) -> Key | str:
    return private_key_of(private_key, "the application's private_key", application_key)


def private_key_of(private_key: object, whose: str, make: Callable[[bytes], Key]) -> Key | str:
    """The key for a private key; or the problem with it.

    :param whose: as for :func:`read_pem`.
    :param make: makes the key of PEM, and raises :class:`InvalidKey` for one that is wrong.
    """
    pem = read_pem(private_key, whose)
    del private_key
    if isinstance(pem, str):
        return pem
    try:
        return make(pem)
    except InvalidKey as error:
        return str(error)


def read_pem(private_key: object, whose: str) -> bytes | str:
    """PEM as bytes, read from a file if ``private_key`` is a path; or the problem, as text.

    The problem is returned, so that no frame of a traceback holds the argument, and does not quote it: it may be a key.

    :param whose: the key, for the message that it is missing.
    """
    from .pem import other_key_form

    is_path = isinstance(private_key, os.PathLike)
    if isinstance(private_key, os.PathLike):
        private_key = os.fspath(private_key)
    if not private_key and (private_key is None or isinstance(private_key, str | bytes)):
        return f"{whose} is missing: PEM text, or the path of a file with it"
    if not isinstance(private_key, str | bytes):
        return f"private_key is {kind(private_key)}; expected PEM text, or the path of a file with it"
    material = private_key if isinstance(private_key, bytes) else private_key.encode("utf-8", "replace")
    if is_path or not (b"-----BEGIN" in material or b"\n" in material.strip()):
        problem = None if is_path else other_key_form(material) or _around_path(material)
        if problem is not None:
            return problem
        try:
            with open(private_key, "rb") as file:
                material = file.read(_MAX_FILE)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no path"
            return f"private_key is neither PEM text nor the path of a file that can be read: {reason}"
    # An environment variable may spell each line end as two characters.
    return material.replace(b"\\r", b"").replace(b"\\n", b"\n")


def _around_path(material: bytes) -> str | None:
    around = wrapping(material)
    return around and f"private_key is neither PEM text nor a path: it has {around}; take it off"
