"""The description of a kit's routes (OpenAPI 3.1), made from the routes themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ...roles import ANY_TOKEN
from ...session_ids import MAX_SESSION_ID_LENGTH
from ..credentials import CSRF_HEADER, SAFE_METHODS
from ..guards.admission import GUARDED_CACHE_CONTROL
from ..problems import phrase
from ..web import Web
from . import Api
from .moderation import ID
from .routing import BY_CLIENT, BY_MEDIA, BY_POLICY, BY_SERVER, PROBLEMS, PUBLIC, Operation, Refusals, Route, Schema
from .sdk_credentials import HEADER

_ABOUT: Final = (
    "Sessions, and the tokens with which participants join them. A method that a path does not have is refused with "
    "405 and its `Allow`. Whatever is refused is a problem (RFC 9457); of a token, with a challenge (RFC 6750). "
    "Operations of OAuth have OAuth's errors instead (RFC 6749, section 5.2)."
)
_BY_SERVER: Final = "For servers that have the API secret, such as an SDK's: each request has a credential of its own."
_BY_SERVER_TOO: Final = "Also for servers that have the API secret, for their own sessions; they need no token."
_BY_CLIENT: Final = (
    "For servers that have the API secret: API key and API secret as a client's id and secret, in HTTP Basic or as "
    "`client_id` and `client_secret` in the form (RFC 6749, section 2.3.1); or with a credential as for other routes."
)
_BY_MEDIA: Final = "For a media service of this one, which signs what it sends, in a way of its own."
_BY_POLICY: Final = "The policies of this service decide who may, and may grant less than was asked for."
_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "session_id": {"type": "string", "maxLength": MAX_SESSION_ID_LENGTH, "pattern": "^[12]_[0-9A-Za-z_-]+$"},
    "actor_id": ID,
    "connection_id": ID,
    "stream_id": ID,
    "media": {"type": "string", "maxLength": 64, "pattern": "^[0-9A-Za-z_-]+$"},
    "api_key": {"type": "string", "maxLength": 64, "pattern": "^[0-9A-Za-z-]+$"},
}
_UNCACHED: Final = {"required": True, "schema": {"const": GUARDED_CACHE_CONTROL}}
_RETRY_AFTER: Final = {
    "required": False,
    "schema": {"type": "integer", "minimum": 0},
    "description": "seconds after which the request may be repeated, where that is known",
}
# The statuses of refusals of a token.
_OF_TOKENS: Final = frozenset({400, 401, 403, 429, 431, 503})
#: The statuses of refusals with a challenge, and whether all of them have one.
_CHALLENGES: Final = {400: False, 401: True, 403: False}


def description(routes: Iterable[Route], prefix: str, api: Api) -> dict[str, Any]:
    """The OpenAPI document for ``routes`` under ``prefix``."""
    # Routes that always refuse are left out: they are for clients that expect another service.
    routes = [route for route in routes if _described(route)]
    answers = [operation.answer for route in routes for operation in route.operations.values() if operation.answer]
    answers += [route.refusals.answer for route in routes]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rolecall", "version": "1", "description": _ABOUT},
        "servers": [{"url": prefix or "/"}],
        "paths": {route.path: _path_item(route, api) for route in routes},
        "components": {
            "schemas": {answer.name: _schema(answer.schema, api) for answer in answers},
            "securitySchemes": _security_schemes(api),
        },
    }


def guard_refusals() -> dict[int, dict[str, Any]]:
    """The answers to requests that a guard of an app's own route refuses, by status; their schema is ``Problem``."""
    return {
        status: _refused(status, PROBLEMS, {"Cache-Control": _UNCACHED}, reads_token=True)
        for status in sorted(_OF_TOKENS)
    }


def _described(route: Route) -> dict[str, Operation]:
    """The operations of a route that can succeed, by method."""
    return {method: operation for method, operation in route.operations.items() if operation.status < 400}


def _path_item(route: Route, api: Api) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _PARAMETERS[name]}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    operations = {
        method.lower(): _operation(method, operation, route, api) for method, operation in _described(route).items()
    }
    return {"parameters": parameters, **operations} if parameters else operations


def _operation(method: str, operation: Operation, route: Route, api: Api) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
    }
    if operation.query:
        described["parameters"] = [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in operation.query.items()
        ]
    if operation.requires == BY_POLICY:
        described["description"] = _BY_POLICY
    if operation.requires == BY_SERVER:
        described["description"] = _BY_SERVER
        described["security"] = [{name: []} for name in _server_schemes(api)]
    if operation.requires == BY_CLIENT:
        described["description"] = _BY_CLIENT
        described["security"] = [{name: []} for name in _client_schemes(api)]
    if operation.requires == BY_MEDIA:
        described["description"] = _BY_MEDIA
    if _reads_token(operation):
        described["security"] = [*([{}] if operation.renews else []), *_security(method, operation, api.web)]
    if operation.servers:
        described["description"] = _BY_SERVER_TOO
        described["security"] += [{name: []} for name in _server_schemes(api)]
    if operation.body is not None:
        described["requestBody"] = {
            "required": bool(operation.required),
            "content": {operation.media_type: {"schema": _body(operation, api)}},
        }
    described["responses"] = {str(operation.status): _granted(operation)} | {
        str(status): _refused(
            status,
            route.refusals,
            _headers(operation),
            reads_token=_reads_token(operation),
            is_oauth=operation.requires == BY_CLIENT,
            is_webhook=operation.requires == BY_MEDIA,
        )
        for status in sorted(_refusals(operation))
    }
    return described


def _reads_token(operation: Operation) -> bool:
    return operation.renews or operation.requires not in (BY_POLICY, BY_SERVER, BY_CLIENT, BY_MEDIA, PUBLIC)


def _body(operation: Operation, api: Api) -> dict[str, Any]:
    members = {name: _schema(schema, api) for name, schema in (operation.body or {}).items()}
    body: dict[str, Any] = {"type": "object", "properties": members}
    if not operation.takes_others:
        body["additionalProperties"] = False
    if operation.required:
        body["required"] = [*operation.required]
    return {**body, "allOf": [*operation.rules]} if operation.rules else body


def _schema(schema: Schema, api: Api) -> Mapping[str, Any]:
    return schema(api) if callable(schema) else schema


def _refusals(operation: Operation) -> set[int]:
    """The statuses of all refusals; the service's own faults are not described."""
    statuses = set(operation.refusals)
    if operation.requires == BY_MEDIA:  # whatever its type: its signature is good for the bytes
        return statuses | {400, 401, 413, 503}
    if operation.body is not None:
        statuses |= {400, 413, 415}
    if operation.requires in (BY_POLICY, BY_SERVER):
        statuses |= {403, 429, 503} if operation.votes else {403, 503}
    if operation.requires == BY_CLIENT:
        statuses |= {401, 503}
    if _reads_token(operation):
        statuses |= _OF_TOKENS
    return statuses


def _granted(operation: Operation) -> dict[str, Any]:
    response = _response(operation.status, _headers(operation))
    if operation.answer is not None:
        response["content"] = _content("application/json", operation.answer.name)
        if operation.answer.otherwise is not None:
            response["content"][operation.answer.otherwise] = {"schema": {"type": "string"}}
    return response


def _refused(
    status: int,
    refusals: Refusals,
    headers: dict[str, Any],
    *,
    reads_token: bool,
    is_oauth: bool = False,
    is_webhook: bool = False,
) -> dict[str, Any]:
    if status == 429 or (is_oauth and status == 503):
        headers["Retry-After"] = _RETRY_AFTER
    if (reads_token and status in _CHALLENGES) or ((is_oauth or is_webhook) and status == 401):
        headers["WWW-Authenticate"] = {"required": _CHALLENGES[status], "schema": {"type": "string"}}
    return {**_response(status, headers), "content": _content(refusals.media_type, refusals.answer.name)}


def _headers(operation: Operation) -> dict[str, Any]:
    return {} if operation.requires == PUBLIC else {"Cache-Control": _UNCACHED}


def _response(status: int, headers: dict[str, Any]) -> dict[str, Any]:
    return {"description": phrase(status), **({"headers": headers} if headers else {})}


def _content(media_type: str, name: str) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _server_schemes(api: Api) -> dict[str, Any]:
    """The credentials of servers that the kit accepts."""
    schemes: dict[str, Any] = {}
    if api.servers.takes_header:
        schemes["server"] = {"type": "apiKey", "in": "header", "name": HEADER}
    if api.servers.takes_bearers:
        schemes["application"] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return schemes


def _client_schemes(api: Api) -> dict[str, Any]:
    """The credentials of servers that OAuth's operations accept."""
    basic = {"basic": {"type": "http", "scheme": "basic"}} if api.servers.takes_secrets else {}
    return basic | _server_schemes(api)


def _security_schemes(api: Api) -> dict[str, Any]:
    """The places of tokens that the kit allows."""
    web = api.web
    schemes: dict[str, Any] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    if web.cookie is not None:
        schemes["cookie"] = {"type": "apiKey", "in": "cookie", "name": web.cookie}
        schemes["csrf"] = {"type": "apiKey", "in": "header", "name": CSRF_HEADER}
    if web.query is not None:
        schemes["query"] = {"type": "apiKey", "in": "query", "name": web.query}
    return schemes | _client_schemes(api)


def _security(method: str, operation: Operation, web: Web) -> list[dict[str, list[str]]]:
    """The alternative credentials, with the required scopes of the token."""
    scopes = [] if operation.requires in (ANY_TOKEN.scope, BY_POLICY) else [operation.requires]
    ways = [{"bearer": scopes}]
    if web.cookie is not None:
        ways.append({"cookie": scopes} if method in SAFE_METHODS else {"cookie": scopes, "csrf": []})
    if web.query is not None:
        ways.append({"query": scopes})
    return ways
