"""The kit's routes as a Flask blueprint."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import flask
from flask.sansio.blueprints import BlueprintSetupState

from rolecall import Rolecall
from rolecall.errors import ConfigurationError, RolecallError
from rolecall.http.adapter import ROUTES, Route, announced_length, drive, mark_own, refused, respond, shown
from rolecall.http.gateways.wsgi import read_body

from .kits import KitBlueprint, register_kit
from .translation import current_request, flask_response, neutral_request


def rolecall_blueprint(kit: Rolecall, name: str = "rolecall", routes: Iterable[Route] | None = None) -> flask.Blueprint:
    """Make a blueprint with the routes of ``kit``; registering it also gives the kit to the app's guards.

    :param name: the blueprint's name, for ``url_for("rolecall.sessions")``; two kits in one app need two names.
    :param routes: the routes; all of them unless given. ``SDK_ROUTES`` are those that the OpenTok SDKs call.
    """
    if not isinstance(kit, Rolecall):
        raise ConfigurationError(f"rolecall_blueprint takes a Rolecall(…), not {shown(kit)}")
    blueprint = KitBlueprint(name, __name__)
    blueprint.record(lambda state: register_kit(state.app, kit))
    for route in ROUTES if routes is None else routes:
        _add_route(blueprint, route, _view(kit, route))
    return blueprint


def problem_response(error: RolecallError) -> flask.Response:
    """The answer for ``error``, for an app whose own views call the kit.

    ``app.register_error_handler(RolecallError, problem_response)`` answers as the kit's routes do.
    """
    return flask_response(refused(error))


class _EveryMethod(set[str]):
    """The methods that a route names, which Flask lists; every other one, which the kit answers, is in it, too."""

    def __contains__(self, method: object) -> bool:
        return True


def _add_route(blueprint: flask.Blueprint, route: Route, view: Callable[..., flask.Response]) -> None:
    path = re.sub(r"\{(\w+):path\}", r"<path:\1>", route.path).replace("{", "<").replace("}", ">")

    def take_every_method(state: BlueprintSetupState) -> None:
        # Flask cannot say "any method", and passes unlisted methods to the app's own error handlers.
        endpoint = ".".join(filter(None, (state.name_prefix, state.name, route.name)))
        for rule in state.app.url_map.iter_rules(endpoint):
            rule.methods = _EveryMethod(rule.methods or ())

    options: dict[str, Any] = {"provide_automatic_options": False}
    if route.is_open_ended:
        # The rest of a path may end in a slash; and an empty part between two slashes causes no redirect.
        options |= {"strict_slashes": False, "merge_slashes": False}
    blueprint.add_url_rule(path, route.name, view, methods=list(route.operations), **options)
    blueprint.record(take_every_method)


def _view(kit: Rolecall, route: Route) -> Callable[..., flask.Response]:
    def view(**_: Any) -> flask.Response:
        request = current_request()
        neutral = neutral_request(request)

        async def read(longest: int) -> bytes:
            announced_length(neutral.headers, longest)  # before Flask refuses a length beyond any int
            request.max_content_length = sys.maxsize  # the kit has its own limit, and its own answer
            # As raw bytes, never through the form parser; even if the app has read them before.
            return read_body(neutral.headers, request._get_stream_for_parsing().read, longest)

        return flask_response(drive(respond(kit.api, route, neutral, read)))

    return mark_own(view, route, kit)
