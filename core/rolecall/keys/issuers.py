"""Who issues tokens: a project with its secret, an application with its private key."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from ..errors import ConfigurationError, InvalidKey
from ..wording import kind, wrapping
from .hmac import HMACKey, problem_with
from .ring import KeyRing

#: How many bytes of a key's file are read at most; a key of 16,384 bits has 12,500.
_MAX_FILE: Final = 65_536
_MAX_PATH: Final = 4096
_API_KEY: Final = r"[0-9A-Za-z-]{1,64}"
_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


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


def credentials_of(
    api_key: object, api_secret: object, application_id: object, private_key: object
) -> tuple[Issuer | None, Issuer | None]:
    """The project and the application in a kit's arguments; at least one of them is not None.

    :raises ConfigurationError: for an argument that is wrong, or that lacks its other half.
    """
    try:
        project = None if api_key is None and api_secret is None else _project(api_key, api_secret)
        application = None
        if application_id is not None or private_key is not None:
            application = _application(application_id, private_key)
    finally:
        del api_secret, private_key
    if project is None and application is None:
        raise ConfigurationError("a kit needs an api_key and an api_secret, or an application_id and a private_key")
    return project, application


def further_projects(projects: object, first: Issuer | None) -> tuple[Issuer, ...]:
    """The projects that a kit has besides its first one.

    :param projects: the API secret of each, by its API key.
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
            further.append(_project(api_key, projects[api_key], f"projects, number {number}: "))
    finally:
        api_key = None
        del projects  # so that no frame of a traceback holds the secrets
    return tuple(further)


def _project(api_key: object, api_secret: object, whose: str = "") -> Issuer:
    problem = "the project's api_secret is missing" if api_secret is None else None
    problem = problem or _path_problem(api_secret) or problem_with(api_secret)
    key = None if problem else HMACKey(api_secret)  # type: ignore[arg-type]
    del api_secret  # so that no frame of a traceback below holds it
    if key is None:
        del api_key  # if the two were swapped, it is the secret
        raise InvalidKey(f"{whose}{problem}")
    if not isinstance(api_key, str) or not re.fullmatch(_API_KEY, api_key):
        raise ConfigurationError(
            f"{whose}api_key is {_described(api_key)}; expected a string of 1 to 64 letters, digits and '-', "
            'even where the key is a number: api_key="123456"'
        )
    key.refuse_published()
    return Issuer(api_key, KeyRing([key]))


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


def _application(application_id: object, private_key: object) -> Issuer:
    from .rsa import RSAKey  # not free to import, and most kits have a secret alone

    pem = read_pem(private_key, "the application's private_key")
    del private_key
    if isinstance(pem, str):
        raise InvalidKey(pem)
    try:
        key = RSAKey(pem)
    finally:
        del pem
    if not isinstance(application_id, str) or not re.fullmatch(_UUID, application_id):
        raise ConfigurationError(
            f"application_id is {'missing' if application_id is None else _described(application_id)}; "
            "expected a UUID in small letters, as the service's dashboard shows it"
        )
    key.refuse_published()
    return Issuer(application_id, KeyRing([key]))


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
