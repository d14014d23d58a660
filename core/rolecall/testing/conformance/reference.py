"""The answers of the core itself, without a framework, with which every adapter's answers are compared."""

from __future__ import annotations

from typing import Any, Final, cast
from urllib.parse import unquote

from ...driver import drive
from ...errors import RolecallError
from ...http.adapter import (
    ANY_TOKEN,
    ROUTES,
    SDK_ROUTES,
    UNSAID,
    Guard,
    Requirement,
    Response,
    admit,
    announced_length,
    find_route,
    guard_answer,
    headers_to_add,
    respond,
)
from ...http.guards.paths import PathPattern
from ...kit import Rolecall
from ...request import PlainHeaders, Request, joint
from ...tokens import Grant
from .driving import Answer, answer_of, asked
from .kits import KITS, make_kit, make_store
from .sites import NOTHING_HERE, OWN_ROUTES, OwnRoute, described
from .table import Case

_KIT_PREFIX: Final = "/video"


class Reference:
    """Answers each case as the core does."""

    def __init__(self) -> None:
        self._stores = {name: make_store(name) for name in KITS}
        self._kits = {name: make_kit(name, store) for name, store in self._stores.items()}

    def ask(self, case: Case) -> Answer:
        """Answer a case; a session that it ends is open again afterwards."""
        try:
            response = _answer(self._kits[case.kit], _request_of(case))
        finally:
            if case.changes:
                for store in self._stores.values():
                    store.reset()
        return answer_of(response.status, response.framed_headers, b"" if case.method == "HEAD" else response.body)


def _request_of(case: Case) -> Request:
    path, query, sent, body = asked(case)
    headers: dict[str, str] = {}
    for name, value in sent:
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}{joint(name)}{value}" if name in headers else value
    path = unquote(path, errors="replace")
    return Request(case.method, path, {}, PlainHeaders(headers), body, framework="reference", query=query)


def _answer(kit: Rolecall, request: Request) -> Response:
    path = request.route
    routed = find_route(SDK_ROUTES, path)
    if path.startswith(f"{_KIT_PREFIX}/"):
        routed = find_route(ROUTES, path.removeprefix(_KIT_PREFIX))
    if routed is not None:
        route, params = routed

        async def read(longest: int) -> bytes:
            announced_length(request.headers, longest)
            return request.body[: longest + 1]

        return drive(respond(kit.api, route, request._replace(path_params=params, body=b""), read))
    for own, pattern in _PATTERNS:
        if pattern.matches(path):
            return _own_answer(kit, own, pattern, request)
    return Response(404, (("Content-Type", "text/plain"),), NOTHING_HERE)


_PATTERNS: Final = [(route, PathPattern(route.path)) for route in OWN_ROUTES]


def _own_answer(kit: Rolecall, own: OwnRoute, pattern: PathPattern, request: Request) -> Response:
    answer = Response(200, (("Content-Type", "application/json"), *own.headers), described(None))
    if not own.requires:
        return answer
    guard, params = _guard(own), pattern.begins(request.route) or {}
    session_id = guard.bound_session(params, request.route)
    request = request._replace(path_params=params)
    authorization = request.headers.get("authorization")
    entered = admit(kit.api, authorization, guard, session_id, _itself, (request,))
    if not isinstance(entered, Grant):
        decided = drive(entered)
        if isinstance(decided, RolecallError):
            return guard_answer(decided, kit.api.web, request.query)
        assert decided is not None  # none of the site's own routes admits without a token
        entered = decided
    answer = answer._replace(body=described(entered))
    return answer.with_headers(*headers_to_add(answer.headers, kit.api.web, request.query))


def _itself(request: Request) -> Request:
    return request


def _guard(own: OwnRoute) -> Guard:
    requirement, name = ANY_TOKEN, cast("Any", own.argument)
    if own.requires == "require_role":
        requirement = Requirement.of_role(name)
    elif own.requires == "require_capability":
        requirement = Requirement.of_capability(name)
    return Guard(requirement, session_param=dict(own.options).get("session_param", UNSAID))
