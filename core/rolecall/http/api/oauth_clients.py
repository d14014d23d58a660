"""Who calls an operation of OAuth: a project's server, by the credentials that OAuth's clients send, or by its own."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from ...engine import Call
from ...errors import InvalidRequest, InvalidServerCredential
from ...request import Request
from ..guards.admission import enter_as_server
from . import Api
from .sdk_credentials import HEADER, Server

#: The fields of a form in which a client says who it is (RFC 6749, section 2.3.1).
CLIENT_ID: Final = "client_id"
CLIENT_SECRET: Final = "client_secret"  # noqa: S105 (a field's name)


async def enter_as_client(api: Api, request: Request, form: Mapping[str, str]) -> Server:
    """Find out which project's server makes a request, and return it. No token of a login is a credential here.

    :param form: the fields of the body.
    :raises InvalidServerCredential: if the credential is missing or invalid; the plugins have been told.
    :raises InvalidRequest: if there are several, or if ``client_id`` names somebody else.
    """
    authorization = request.headers.get("authorization", "").strip(" \t")
    basic = authorization if authorization[:6].lower() in ("basic", "basic ") else ""
    is_own = request.headers.get(HEADER) is not None
    if bool(authorization) + is_own + (CLIENT_SECRET in form) > 1:
        raise InvalidRequest("the request has more than one credential; send one (RFC 6749, section 2.3)")
    if is_own or authorization != basic or not api.servers.takes_secrets:
        server = await enter_as_server(api, request)
    else:
        try:
            server = api.servers.of_secret(*(_in_header(basic) if basic else _in_form(form)))
        except InvalidServerCredential as error:
            await api.engine.tell_of_refusal(error, None, Call(request))
            raise
    if form.get(CLIENT_ID, server.id) != server.id:
        raise InvalidRequest("client_id in the body names another client than the request's credential")
    return server


def _in_form(form: Mapping[str, str]) -> tuple[str, list[bytes]]:
    """The API key in a form, and the API secret in each of the ways in which it can be read."""
    if CLIENT_SECRET not in form:
        raise InvalidServerCredential(
            "this route is for servers: send API key and API secret by HTTP Basic, or as client_id and client_secret"
        )
    return form.get(CLIENT_ID, ""), [form[CLIENT_SECRET].encode()]


def _in_header(header: str) -> tuple[str, list[bytes]]:
    """The same in a header of HTTP Basic (RFC 7617).

    Both should be encoded as in a form (RFC 6749, section 2.3.1), and many clients send them as they are.
    """
    try:
        user, colon, secret = base64.b64decode(header[6:].strip(" "), validate=True).partition(b":")
    except ValueError:
        user = colon = secret = b""
    if not colon:
        raise InvalidServerCredential("the Authorization header is no Basic credential: base64 of 'API key:API secret'")
    return _decoded(user).decode("utf-8", "replace"), [secret, _decoded(secret)]


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
