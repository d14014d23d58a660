"""How an app's servers show a service who they are: a project by its API secret, an application by its private key."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from ...encoding import jws
from ...keys.issuers import Issuer
from ...keys.making import is_application

#: The life of the credential of one request, in seconds; the SDKs' is 180 to 300, and 900 for an application.
CREDENTIAL_LIFE: Final = 180


class _Kind(NamedTuple):
    """What a credential looks like.

    :param header: the header that carries it.
    :param scheme: what stands before it.
    :param issuer: the claim with the id of its issuer.
    :param claims: further claims.
    :param made_of: what it is made of, for messages.
    :param advice: what to do if the service refuses it.
    """

    header: str
    scheme: str
    issuer: str
    claims: Mapping[str, str]
    made_of: str
    advice: str


_OF_PROJECT: Final = _Kind(
    "X-OPENTOK-AUTH",
    "",
    "iss",
    MappingProxyType({"ist": "project"}),
    "the API key and secret",
    "check that both are of the same project, and not the account's",
)
_OF_APPLICATION: Final = _Kind(
    "Authorization",
    "Bearer ",
    "application_id",
    MappingProxyType({}),
    "the application's id and private key",
    "check that the key is the application's, and that the application has Video",
)


class ServerCredential:
    """Makes a credential for each request of one project or application.

    :param issuer: the project or the application.
    :param clock: returns now, in Unix seconds.
    """

    __slots__ = ("_clock", "_codec", "_id", "_kind")

    def __init__(self, issuer: Issuer, clock: Callable[[], float]) -> None:
        self._id = issuer.id
        self._codec = jws.Codec(issuer)
        self._clock = clock
        self._kind = _OF_APPLICATION if is_application(issuer.id) else _OF_PROJECT

    @property
    def made_of(self) -> str:
        """What it is made of, in words."""
        return self._kind.made_of

    @property
    def advice(self) -> str:
        """What to do if a service refuses it, in words."""
        return self._kind.advice

    def header(self) -> dict[str, str]:
        """The header with a new credential."""
        now = int(self._clock())
        claims = {
            self._kind.issuer: self._id,
            **self._kind.claims,
            "iat": now,
            "exp": now + CREDENTIAL_LIFE,
            "jti": os.urandom(16).hex(),
        }
        credential = self._codec.sign(json.dumps(claims, separators=(",", ":")).encode())
        return {self._kind.header: self._kind.scheme + credential}
