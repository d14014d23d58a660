"""Signature Version 4 for calls of AWS, by botocore, with the credentials that every AWS SDK finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any, Final

from ...errors import ConfigurationError, InvalidKey, Unavailable
from ...keys.making import secret_key

_ACCESS_KEY: Final = re.compile(r"[A-Z0-9]{16,128}")


class AWSSigner:
    """Signs calls of one service of AWS in one region.

    :param media: the name of the media service, for messages.
    :param service: AWS's name for the service, as signatures have it.
    :param region: the region of the API.
    :param access_key_id: the id of an access key; None: botocore looks for credentials.
    :param secret_access_key: its secret.
    :param session_token: the session token of temporary credentials.
    :raises ConfigurationError: for a wrong argument, and if botocore is not installed.
    """

    def __init__(
        self,
        media: str,
        service: str,
        region: str,
        access_key_id: str | None,
        secret_access_key: str | None,
        session_token: str | None,
    ) -> None:
        try:
            from botocore.auth import SigV4Auth  # not free to import
            from botocore.awsrequest import AWSRequest
        except ImportError:
            raise ConfigurationError(
                f'{media}: it needs the package botocore, which is not installed: pip install "rolecall[{media}]"'
            ) from None
        self._media, self._scope = media, (service, region)
        self._auth, self._request = SigV4Auth, AWSRequest
        try:
            self._given = _credentials(media, access_key_id, secret_access_key, session_token)
        finally:
            del access_key_id, secret_access_key, session_token  # so that no frame of a traceback holds them
        self._found: Any = None

    async def __call__(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """The headers with the signature of a call.

        :raises Unavailable: if there are no credentials.
        """
        # To find and to renew credentials may wait for a service of AWS.
        credentials = await _on_a_thread(self._find) if self._given is None else self._given
        if credentials is None:
            raise Unavailable(
                f"{self._media}: botocore finds no AWS credentials: give this server a role, or set access_key_id and "
                "secret_access_key"
            )
        request = self._request(method, url, data=body)
        self._auth(credentials, *self._scope).add_auth(request)
        return dict(request.headers.items())

    def _find(self) -> Any:
        if self._found is None:
            from botocore.session import Session  # not free to import

            self._found = Session().get_credentials()
        return None if self._found is None else self._found.get_frozen_credentials()


def _credentials(media: str, access_key_id: object, secret_access_key: object, session_token: object) -> Any:
    """The credentials that are given; None if there are none. No message quotes a value: they may have been swapped."""
    try:
        if access_key_id is secret_access_key is session_token is None:
            return None
        if not isinstance(access_key_id, str) or not _ACCESS_KEY.fullmatch(access_key_id):
            raise ConfigurationError(
                f"{media}: access_key_id is missing or malformed; expected the id of an access key, or no credentials "
                "at all: then botocore looks for them"
            )
        try:
            secret_key(secret_access_key)  # type: ignore[arg-type]  # it looks at the type
        except InvalidKey as error:
            problem = str(error)
            raise InvalidKey(f"{media}: secret_access_key: {problem}") from None
        if session_token is not None and not (isinstance(session_token, str) and session_token):
            raise ConfigurationError(f"{media}: session_token is no text")
        from botocore.credentials import Credentials

        return Credentials(access_key_id, secret_access_key, session_token)
    finally:
        del access_key_id, secret_access_key, session_token


async def _on_a_thread(function: Callable[[], Any]) -> Any:
    """Call a function that may block, on a thread of its own."""
    from ...driver import event_loops  # not free to import, and many kits never call

    done = event_loops.running().signal()
    answers: list[Any] = []
    failures: list[Exception] = []

    def call() -> None:
        try:
            answers.append(function())
        except Exception as error:
            failures.append(error)
        finally:
            done.give()

    Thread(target=call, name="rolecall-aws-credentials", daemon=True).start()
    await done.wait()
    if failures:
        raise failures[0]
    return answers[0]
