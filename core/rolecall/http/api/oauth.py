"""The kit's routes for OAuth's own clients: revocation of tokens (RFC 7009) and introspection (RFC 7662)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from ...engine import Call
from ...errors import (
    InvalidRequest,
    InvalidServerCredential,
    InvalidToken,
    MethodNotAllowed,
    RolecallError,
    TokenNotYetValid,
    UnknownKey,
)
from ...request import Request
from ...tokens import Grant
from ..answers import NO_STORE, json_answer
from ..bodies import oauth_fields
from ..messages import Response
from ..problems import REALM, quotable
from . import Api
from .oauth_clients import CLIENT_ID, CLIENT_SECRET, enter_as_client
from .routing import BY_CLIENT, Answer, Operation, Refusals, Route, Schema
from .sdk_credentials import Server

#: The seconds after which a request may be repeated that could not be answered.
RETRY_AFTER: Final = 5
_TOKEN: Final = "token"  # noqa: S105 (a field's name)
_HINT: Final = "token_type_hint"
_FIELDS: Final = (_TOKEN, _HINT, CLIENT_ID, CLIENT_SECRET)
_FORM: Final[dict[str, Schema]] = {
    _TOKEN: {"type": "string", "minLength": 1, "pattern": "^[^ ]*$"},
    _HINT: {"type": "string", "description": "counts for nothing: every token is looked at in each way"},
}

_INACTIVE: Final = json_answer(200, {"active": False})
_SECONDS: Final = {"type": "integer", "description": "in Unix seconds"}
_TEXT: Final = {"type": "string"}
_ACTIVE: Final = {
    "type": "object",
    "properties": {
        "active": {"const": True},
        "scope": {"type": "string", "description": "the bearer's capabilities, separated by spaces"},
        "client_id": {"type": "string", "description": "the API key of the session's project"},
        "token_type": {"const": "Bearer"},
        "exp": _SECONDS,
        "iat": _SECONDS,
        "nbf": _SECONDS,
        "sub": {"type": "string", "description": "the id of the actor that the token is for"},
        "aud": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
        "iss": _TEXT,
        "jti": {"type": "string", "description": "the token's id"},
        "sid": {"type": "string", "description": "the session"},
        "role": _TEXT,
    },
    "required": ["active", "scope", "client_id", "token_type", "exp", "jti", "sid", "role"],
}
_NOT_ACTIVE: Final = {
    "type": "object",
    "properties": {"active": {"const": False}},
    "required": ["active"],
    "additionalProperties": False,
}
_STATE: Final = Answer("TokenState", {"oneOf": [_ACTIVE, _NOT_ACTIVE]})
_ERROR: Final = Answer(
    "OAuthError",
    {
        "type": "object",
        "properties": {
            "error": {"type": "string", "description": "what was wrong, for machines"},
            "error_description": {"type": "string", "description": "what was wrong, for people"},
        },
        "required": ["error", "error_description"],
    },
)


async def _revoke_token(api: Api, request: Request) -> Response:
    server, token = await _enter(api, request)
    try:
        await api.engine.revoke_token(token, only_of=server.api_key)
    except TokenNotYetValid as error:
        return _not_revocable(str(error))
    except InvalidToken as error:
        # No token of this project's, so there is nothing to revoke, and nothing to tell of it (RFC 7009, section 2.2).
        await api.engine.tell_of_refusal(error, None, Call())
    except InvalidRequest:
        return _not_revocable("the token is good, and has no id, or no session, by which it could be revoked")
    return Response(200, (NO_STORE,))


async def _introspect_token(api: Api, request: Request) -> Response:
    server, token = await _enter(api, request)
    try:
        grant = await api.engine.verify(token)
        if api.engine.state.project_of(grant.session_id) != server.api_key:
            raise UnknownKey("the token is of another project than the one that asks")
    except InvalidToken as error:
        await api.engine.tell_of_refusal(error, None, Call())
        return _INACTIVE
    return json_answer(200, {"active": True, **_described(grant, server)})


async def _enter(api: Api, request: Request) -> tuple[Server, str]:
    """The server that makes a request, and the token that it is about."""
    form = oauth_fields(request, _FIELDS)
    server = await enter_as_client(api, request, form)
    token = form.get(_TOKEN)
    if token is None:
        raise InvalidRequest("the body has no token: send token=… as a form")
    if " " in token:
        # Told, and not answered as any other that is none: nobody is to believe that it was revoked.
        raise InvalidRequest("the token has a space, so it was not encoded: in a form a '+' is written %2B")
    return server, token


def _described(grant: Grant, server: Server) -> dict[str, Any]:
    """What RFC 7662, section 2.2, has for a token; and the session and the role."""
    claims = grant.claims
    return {
        "scope": " ".join(sorted(grant.capabilities)),
        "client_id": server.api_key,
        "token_type": "Bearer",
        "exp": math.floor(grant.expires_at),
        **({} if grant.issued_at is None else {"iat": math.floor(grant.issued_at)}),
        **({"nbf": math.ceil(claims["nbf"])} if "nbf" in claims else {}),
        **({} if grant.actor_id is None else {"sub": grant.actor_id}),
        **dict(_named(claims.get("aud"), claims.get("iss"))),
        "jti": grant.token_id,
        "sid": grant.session_id,
        "role": str(grant.role),
    }


def _named(audience: object, issuer: object) -> Iterator[tuple[str, Any]]:
    if isinstance(audience, str | tuple):
        yield "aud", audience
    if isinstance(issuer, str | int):  # one SDK writes the API key as a number
        yield "iss", str(issuer)


def _error(status: int, name: str, description: str, *headers: tuple[str, str]) -> Response:
    """An error of OAuth (RFC 6749, section 5.2)."""
    answer = json_answer(status, {"error": name, "error_description": quotable(description)})
    return answer.with_headers(*headers)


def _not_revocable(problem: str) -> Response:
    return _error(400, "unsupported_token_type", problem)


def _refused(api: Api, error: RolecallError) -> Response:
    """The answer to a request that was refused, in OAuth's form."""
    if isinstance(error, InvalidServerCredential):
        # A server that knows no secrets has no other way in than by a bearer's credential.
        scheme = "Basic" if api.servers.takes_secrets else "Bearer"
        return _error(401, "invalid_client", str(error), ("WWW-Authenticate", f'{scheme} realm="{REALM}"'))
    if error.status == 503:
        again = str(error.retry_after or RETRY_AFTER)
        return _error(503, "temporarily_unavailable", error.public_message, ("Retry-After", again))
    allow = (("Allow", ", ".join(error.allowed)),) if isinstance(error, MethodNotAllowed) else ()
    name = "invalid_request" if error.status < 500 else "server_error"
    return _error(error.status, name, error.public_message, *allow)


_REFUSALS: Final = Refusals(_refused, _ERROR, "application/json")


def _operation(handler: Any, summary: str, answer: Answer | None) -> Operation:
    return Operation(
        handler,
        summary,
        BY_CLIENT,
        _FORM,
        answer=answer,
        media_type="application/x-www-form-urlencoded",
        required=(_TOKEN,),
        takes_others=True,
        votes=False,
    )


OAUTH_ROUTES: Final = (
    Route(
        "/tokens/revoke",
        "revoke",
        {"POST": _operation(_revoke_token, "Revoke a token (RFC 7009)", None)},
        _REFUSALS,
    ),
    Route(
        "/tokens/introspect",
        "introspect",
        {"POST": _operation(_introspect_token, "Ask whether a token is good, and for what (RFC 7662)", _STATE)},
        _REFUSALS,
    ),
)
