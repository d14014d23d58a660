"""The contents of a Flask app, for the list of its routes."""

from __future__ import annotations

import inspect
import re
from typing import Any

import flask
from werkzeug.routing import Rule

from rolecall.http.adapter import Around, Found, dispatches_by_method, guards_of, kit_problem

from .kits import kit_of

_VARIABLE = re.compile(r"<(?:[^<>:]*(?:\([^<>]*\))?:)?([A-Za-z_]\w*)>")


dispatches_by_method("flask.views", "flask_restful", "flask_restx.resource")


def is_app(value: object) -> bool:
    """Whether this is a Flask app."""
    return isinstance(value, flask.Flask)


def routes_of(app: Any) -> list[Found] | None:
    """The contents of ``app``; None if it is no Flask app."""
    if isinstance(app, flask.Flask):
        replaced = vars(app).get("wsgi_app")
        return routes_in(app) if replaced is None else [Found("", app=replaced)]
    owner = app.__self__ if inspect.ismethod(app) else None
    if isinstance(owner, flask.Flask) and app.__name__ in ("wsgi_app", "__call__"):
        return routes_in(owner)
    return None


def routes_in(app: flask.Flask) -> list[Found]:
    """The routes of ``app`` itself, without wrappers around it."""
    problem = kit_problem(lambda: kit_of(app))
    return [_route(app, rule, problem) for rule in app.url_map.iter_rules() if not rule.build_only]


def _route(app: flask.Flask, rule: Rule, problem: str | None) -> Found:
    view = app.view_functions.get(rule.endpoint)
    params = frozenset(rule.arguments)
    around = tuple(
        Around(
            guard,
            view,
            params,
            spares_own=holder is app,
            problem=None if guard.kit else problem,
        )
        for holder in _holders(app, rule.endpoint)
        for guard in reversed(guards_of(holder))
    )
    return Found(
        _host(rule) + _VARIABLE.sub(lambda match: _variable(rule, match[1]), rule.rule),
        _methods(rule),
        rule.endpoint,
        view,
        around,
        made_by="Flask" if is_static(rule.endpoint, view) else None,
        params=params,
        problem=problem,
    )


def _holders(app: flask.Flask, endpoint: str) -> list[Any]:
    """The app and the blueprints of an endpoint, in the order in which Flask runs functions before a request."""
    parts = endpoint.split(".")[:-1]
    names = [".".join(parts[: number + 1]) for number in range(len(parts))]
    return [app, *(app.blueprints[name] for name in names if name in app.blueprints)]


def _methods(rule: Rule) -> tuple[str, ...]:
    methods = set(rule.methods or ())
    if getattr(rule, "provide_automatic_options", False):
        methods.discard("OPTIONS")  # Flask answers it itself
    return tuple(sorted(methods))


def _variable(rule: Rule, name: str) -> str:
    converter = getattr(rule, "_converters", {}).get(name)
    return f"{{{name}}}" if getattr(converter, "part_isolating", True) else f"{{{name}:path}}"


def _host(rule: Rule) -> str:
    host = rule.host or rule.subdomain
    return f"//{host}" if host else ""


def is_static(endpoint: str, view: Any) -> bool:
    """Whether Flask made the route by itself, for an app's folder of static files or a blueprint's."""
    return endpoint.rpartition(".")[2] == "static" and str(getattr(view, "__module__", "")).startswith("flask.")
