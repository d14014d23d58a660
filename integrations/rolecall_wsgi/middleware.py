"""The kit's routes in front of a WSGI app."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rolecall import Grant, Rolecall
from rolecall.driver import drive
from rolecall.errors import ConfigurationError, RolecallError, shown
from rolecall.http.endpoints import ROUTES
from rolecall.http.routing import Route, find_route
from rolecall.http.service import respond
from rolecall.http.wsgi import GRANT, KIT, input_of, path_of, read_body

from .translation import answer, neutral_request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class RolecallMiddleware:
    """Answers the kit's routes under ``prefix``, and passes everything else on.

    What is passed on has in its environment the kit (``rolecall.kit``, for guards that are given none), and what the
    request's token grants (``rolecall.grant``), or None where it has no good one. That says who is there; it lets
    nobody in: a guard does that, with the session and the policies looked at.

    :param app: the app behind it.
    :param prefix: in front of the kit's routes: ``"/video"``, or ``""`` for none.
    :raises ConfigurationError: for an argument that cannot be meant.
    """

    def __init__(self, app: WSGIApplication, kit: Rolecall, prefix: str = "/video") -> None:
        if not callable(app):
            raise ConfigurationError(f"RolecallMiddleware goes around a WSGI app, not {shown(app)}")
        if not isinstance(kit, Rolecall):
            raise ConfigurationError(f"RolecallMiddleware takes a Rolecall(…), not {shown(kit)}")
        if not isinstance(prefix, str) or (prefix and not prefix.startswith("/")) or prefix.endswith("/"):
            raise ConfigurationError(f"prefix is {shown(prefix)}; expected a path such as '/video', or ''")
        self.app = app
        self.kit = kit
        self.prefix = prefix

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = path_of(environ)
        if path.startswith(self.prefix):
            found = find_route(ROUTES, path[len(self.prefix) :])
            if found is not None:
                return self._answer(*found, environ, start_response)
        environ[KIT] = self.kit
        environ[GRANT] = self._grant(environ)
        return self.app(environ, start_response)

    def _answer(
        self, route: Route, params: dict[str, str], environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        request = neutral_request(environ, params)

        async def read() -> bytes:
            return read_body(request.headers, input_of(environ))

        return answer(drive(respond(self.kit.engine, route, request, read)), environ, start_response)

    def _grant(self, environ: WSGIEnvironment) -> Grant | None:
        request = neutral_request(environ, {})
        try:
            token, _ = self.kit.engine.state.credentials.find(request)
            return self.kit.engine.verify_token(token)
        except RolecallError:
            return None
