"""The kit's routes in front of a WSGI app."""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from rolecall import Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import ROUTES, Route, checked_prefix, drive, find_route, respond, shown
from rolecall.http.gateways.wsgi import GRANT, KIT, find_bearer, input_of, path_of, read_body, send_response

from .translation import check_app, neutral_request


class RolecallMiddleware:
    """Answers the kit's routes under ``prefix``, and passes everything else on.

    The environment of other requests gets the kit (``rolecall.kit``, for guards without one; None if there are two),
    and the grant of the request's token (``rolecall.grant``), or None if it has no good one. The grant identifies the
    bearer, and admits nobody: that is for a guard, which also checks the session and the policies.

    :param app: the app behind it.
    :param prefix: the beginning of the kit's routes: ``"/video"``, or ``""`` for none.
    :param routes: the routes; all of them unless given. ``SDK_ROUTES`` are those that the OpenTok SDKs call.
    :raises ConfigurationError: for an invalid argument.
    """

    def __init__(
        self, app: WSGIApplication, kit: Rolecall, prefix: str = "/video", routes: Iterable[Route] | None = None
    ) -> None:
        check_app(app, "RolecallMiddleware goes around")
        if not isinstance(kit, Rolecall):
            raise ConfigurationError(f"RolecallMiddleware takes a Rolecall(…), not {shown(kit)}")
        self.app = app
        self.kit = kit
        self.prefix = checked_prefix(prefix)
        self.routes = ROUTES if routes is None else tuple(routes)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = path_of(environ)
        if path.startswith(self.prefix):
            found = find_route(self.routes, path[len(self.prefix) :])
            if found is not None:
                return self._answer(*found, environ, start_response)
        environ[KIT] = self.kit if environ.get(KIT, self.kit) is self.kit else None
        # The result of another kit, or of a guard around this, is kept.
        environ[GRANT] = environ.get(GRANT) or find_bearer(self.kit.api, neutral_request(environ, {}))
        return self.app(environ, start_response)

    def _answer(
        self, route: Route, params: dict[str, str], environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        request = neutral_request(environ, params)

        async def read(longest: int) -> bytes:
            return read_body(request.headers, input_of(environ, longest), longest)

        return send_response(drive(respond(self.kit.api, route, request, read)), environ, start_response)
