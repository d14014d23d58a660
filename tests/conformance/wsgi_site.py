"""The conforming site in plain WSGI."""

from __future__ import annotations

import re
from typing import Any

import rolecall_wsgi
from rolecall import Rolecall
from rolecall.testing.conformance import WsgiSite, described, own_guards, own_headers

_OWN_PATHS = re.compile("/rooms/[^/]+/(moderate|publish|signal|join)|/(named|unbound|kept|inside)/[^/]+|/me|/bare")


def wsgi_app(kit: Rolecall) -> Any:
    def own(environ, start_response):
        head = environ["REQUEST_METHOD"] == "HEAD"
        if not _OWN_PATHS.fullmatch(environ["PATH_INFO"]):
            start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "12")])
            return [] if head else [b"nothing here"]
        is_open = environ["PATH_INFO"] in ("/bare", "/inside/open")
        body = described(None if is_open else rolecall_wsgi.current_grant(environ))
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("200 OK", [*headers, *own_headers(environ["PATH_INFO"]).items()])
        return [] if head else [body]

    app = own
    for guard in own_guards(rolecall_wsgi, lambda path: {"prefixes": [path]}).values():
        app = guard(app)
    inside = rolecall_wsgi.require_token(prefixes=["/inside/{session_id}"])
    app = rolecall_wsgi.protect(app, inside, public=["/inside/open"])
    app = rolecall_wsgi.RolecallMiddleware(app, kit)
    return rolecall_wsgi.RolecallMiddleware(app, kit, prefix="", routes=rolecall_wsgi.SDK_ROUTES)


site = WsgiSite(wsgi_app)
