"""TURN credentials, issued beside a token: username and password of the TURN REST draft, as coturn takes them."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from ..errors import ConfigurationError, InvalidExpireTime, InvalidKey
from ..keys import HMACKey, problem_with
from ..keys.issuers import listed
from ..keys.making import secret_key
from ..wording import kind, shown

#: The first second that a server's 32 bits cannot hold: a later expiry is refused there.
_END_OF_TIME: Final = 2**32
#: The most secrets: more would be tried for each credential that is wrong.
_MAX_SECRETS: Final = 3
#: The longest name of a user in a username, in characters; coturn 4.6 refuses usernames of 520 bytes.
_MAX_NAME: Final = 400
_URL: Final = re.compile(r"turns?:[!-~]+")


class Turn:
    """Issues TURN credentials: ``Turn(["turn:turn.example.org:3478"], secret)``.

    A credential is the end of its life with the user, ``1700003600:alice``, and HMAC-SHA1 over it, in base64
    (draft-uberti-behave-turn-rest-00). Its expiry bounds the first use alone: a server keeps what it has allocated.

    To replace the secret, the server gets both, then the kit signs with the new one; after the longest ticket the
    server forgets the old one.

    :param urls: the URLs of the server, as in an ``RTCIceServer``.
    :param secret: the ``static-auth-secret`` of the server; at least 32 bytes.
    :param verify_secrets: further secrets that :meth:`verify` accepts, such as the one before.
    :raises ConfigurationError: says which argument is wrong.
    """

    __slots__ = ("_keys", "urls")

    def __init__(self, urls: Iterable[str], secret: str | bytes, verify_secrets: Sequence[str | bytes] = ()) -> None:
        try:
            keys, problem = _keys((secret, *listed(verify_secrets, "turn: ")))
        finally:
            del secret, verify_secrets  # so that no frame of a traceback holds them
        if problem is not None:
            raise InvalidKey(problem)
        given = (urls,) if isinstance(urls, str) or not isinstance(urls, Iterable) else tuple(urls)
        if not given or not all(isinstance(url, str) and _URL.fullmatch(url) for url in given):
            found = kind(urls)
            del urls, given  # the secret may have been given for them
            raise ConfigurationError(f"turn: urls is {found}; expected ones like 'turn:turn.example.org?transport=udp'")
        #: The URLs of the server.
        self.urls = given
        self._keys = keys

    @property
    def keys(self) -> tuple[HMACKey, ...]:
        """The secrets: that which signs, and those that only verify."""
        return self._keys

    def credential(self, user: str, expires_at: int) -> tuple[str, str]:
        """The username and the password of a user, good until ``expires_at`` (Unix seconds).

        :param user: any text. What is not a letter, a digit or ``-._~@`` is percent-encoded, because coturn does not
            answer for a name with a space in it; of one that is too long for it there is the SHA-256.
        :raises InvalidExpireTime: for a time that a server's 32 bits cannot hold.
        """
        if not 0 < expires_at < _END_OF_TIME:
            raise InvalidExpireTime(f"expires_at is {shown(expires_at)}; a TURN server counts seconds in 32 bits")
        name = quote(user, safe="@")
        if len(name) > _MAX_NAME:
            name = sha256(user.encode()).hexdigest()
        username = f"{expires_at}:{name}"
        return username, _password(self._keys[0], username)

    def ice_server(self, user: str, expires_at: int) -> Mapping[str, Any]:
        """The server with a credential, as an ``RTCIceServer`` for a browser's ``RTCPeerConnection``."""
        username, password = self.credential(user, expires_at)
        return MappingProxyType({"urls": list(self.urls), "username": username, "credential": password})

    def verify(self, username: object, password: object, now: float) -> bool:
        """Whether a server with these secrets takes a credential at ``now`` (Unix seconds)."""
        if not isinstance(username, str) or not isinstance(password, str):
            return False
        expiry = username.partition(":")[0]
        if not re.fullmatch("[0-9]{1,10}", expiry) or not now <= int(expiry) < _END_OF_TIME:
            return False
        try:
            given = password.encode()
            # Each secret is tried, so that the time tells nothing.
            good = [hmac.compare_digest(_password(key, username).encode(), given) for key in self._keys]
        except UnicodeEncodeError:  # half a character, as JSON can have it
            return False
        return any(good)

    def __repr__(self) -> str:
        return f"<Turn {' '.join(getattr(self, 'urls', ('not made yet',)))}>"


def _password(key: HMACKey, username: str) -> str:
    return base64.b64encode(key.digest(username.encode(), "sha1")).decode("ascii")


def _keys(secrets: tuple[object, ...]) -> tuple[tuple[HMACKey, ...], str | None]:
    """The keys for secrets; and the problem with one of them, which is not quoted."""
    if len(secrets) > _MAX_SECRETS:
        return (), f"turn: verify_secrets has {len(secrets) - 1} secrets; at most {_MAX_SECRETS - 1} are taken"
    keys = []
    for number, secret in enumerate(secrets):
        which = f"verify_secrets, number {number}" if number else "secret"
        problem = problem_with(secret) if isinstance(secret, str | bytes) else f"expected text, not {kind(secret)}"
        try:
            if problem is None:
                keys.append(secret_key(secret))  # type: ignore[arg-type]  # its type was looked at
        except InvalidKey as error:
            problem = str(error)
        if problem is not None:
            return (), f"turn: {which}: {problem}"
    return tuple(keys), None
