"""The contents of a Tornado app, for the list of its routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tornado import web, websocket
from tornado.routing import HostMatches, PathMatches, Router, Rule, RuleRouter

from rolecall import Rolecall
from rolecall.http import adapter

_CHECKED = "rolecall_checked"
_GROUP = re.compile(r"\(\?P<(\w+)>")


def is_app(value: object) -> bool:
    """Whether this is a Tornado app."""
    return isinstance(value, web.Application)


def routes_of(app: Any) -> list[adapter.Found] | None:
    """The contents of ``app``; None if it is no Tornado app."""
    if not is_app(app):
        return None
    problem = adapter.kit_problem(lambda: _kit_of(app))
    return [_found(rule, problem) for rule in _leaves(app.default_router)]


def check_once(app: web.Application) -> None:
    """Stop an app in which a route with a guard is open by mistake, at its first request to the kit or to a guard."""
    if not app.settings.get(_CHECKED):
        adapter.check_routes(app, routes_of)
        app.settings[_CHECKED] = True


def methods_of(handler: type[web.RequestHandler]) -> list[str]:
    """The methods that a handler answers."""
    unimplemented = web.RequestHandler._unimplemented_method
    return [name for name in handler.SUPPORTED_METHODS if getattr(handler, name.lower(), None) is not unimplemented]


def _kit_of(app: web.Application) -> Any:
    kit = app.settings.get("rolecall")
    return adapter.only_kit([kit] if isinstance(kit, Rolecall) else [], "pass it to Application(…, rolecall=kit)")


def _leaves(router: Router) -> Iterator[Rule]:
    for rule in router.rules if isinstance(router, RuleRouter) else ():
        if isinstance(rule.target, RuleRouter) and not isinstance(rule.target, web.Application):
            yield from _leaves(rule.target)
        else:
            yield rule


def _found(rule: Rule, problem: str | None) -> adapter.Found:
    target, matcher = rule.target, rule.matcher
    route = getattr(matcher, "route", None)
    if isinstance(route, adapter.Route):
        return adapter.Found(matcher.prefix + route.path, name=rule.name or route.name, view=target)  # type: ignore[attr-defined]
    path = _path_of(matcher)
    name = str(rule.name or getattr(target, "__name__", type(target).__name__))
    if not (isinstance(target, type) and issubclass(target, web.RequestHandler)):
        return adapter.Found(path, name=name, app=target)
    if issubclass(target, websocket.WebSocketHandler):
        return adapter.Found(path, (adapter.WEBSOCKET,), name, target, problem=problem)
    are_files = issubclass(target, web.StaticFileHandler)
    return adapter.Found(path, tuple(methods_of(target)), name, target, problem=problem, are_files=are_files)


def _path_of(matcher: Any) -> str:
    """A rule's regular expression as the path of a list."""
    if isinstance(matcher, HostMatches):
        return f"//{matcher.host_pattern.pattern.rstrip('$')}"
    if not isinstance(matcher, PathMatches):
        return f"({type(matcher).__name__})"
    pattern, path, number = matcher.regex.pattern.removesuffix("$"), "", 0
    while pattern:
        if pattern[0] != "(":
            size = 2 if pattern[0] == "\\" else 1
            path, pattern = path + pattern[size - 1 : size], pattern[size:]
            continue
        end, number = _end_of(pattern), number + 1
        named = _GROUP.match(pattern)
        path, pattern = f"{path}{{{named[1] if named else f'group {number}'}}}", pattern[end:]
    return path


def _end_of(pattern: str) -> int:
    """The end of the group at the beginning of a regular expression."""
    depth, is_escaped, in_class = 0, False, False
    for place, character in enumerate(pattern):
        if is_escaped or character == "\\":
            is_escaped = not is_escaped
        elif in_class or character == "[":
            in_class = character != "]"
        else:
            depth += {"(": 1, ")": -1}.get(character, 0)
            if depth == 0:
                return place + 1
    return len(pattern)
