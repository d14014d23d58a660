"""The sites that the table's requests are sent to: one app for each kit, and the same app under a prefix.

A site's app has, for a kit:

- the routes of the kit under ``/video``, and those for the SDKs (``SDK_ROUTES``) also at the root;
- :data:`OWN_ROUTES`, for all of :data:`METHODS`. Each answers 200 with ``described(grant)``, the
  ``Content-Type`` ``application/json`` and the headers of ``own_headers(path)``; those without a guard answer
  ``described(None)``;
- for all other paths the status 404, the ``Content-Type`` ``text/plain`` and the body ``nothing here``.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from ... import Grant, Rolecall
from .driving import Answer, ask_asgi, ask_protocol, ask_wsgi
from .kits import KITS, make_kit, make_store
from .traits import Difference

if TYPE_CHECKING:
    from .table import Case

#: The prefix of the second app of each kit.
MOUNTED: Final = "/outer"
#: The methods of the site's own routes.
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
#: The body of an answer to a path that the site does not have.
NOTHING_HERE: Final = b"nothing here"


class OwnRoute(NamedTuple):
    """A route of the site's own.

    :param path: with ``{name}`` for its variable part.
    :param requires: the name of the function that makes its guard: ``require_role``, ``require_capability``,
        ``require_token``, or ``protect`` for a guard around all below ``/inside``; empty for a route that is open to
        all.
    :param argument: the role or the capability; empty where there is none.
    :param options: further arguments of that function, by name.
    :param headers: further headers of the app's answer; see :func:`own_headers`.
    """

    path: str
    requires: str = ""
    argument: str = ""
    options: tuple[tuple[str, str | None], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


OWN_ROUTES: Final = (
    OwnRoute("/rooms/{session_id}/moderate", "require_role", "moderator"),
    OwnRoute("/rooms/{session_id}/publish", "require_role", "publisher"),
    OwnRoute("/rooms/{session_id}/signal", "require_capability", "signal"),
    OwnRoute("/rooms/{session_id}/join", "require_token"),
    OwnRoute("/named/{room}", "require_role", "moderator", (("session_param", "room"),)),
    OwnRoute("/unbound/{session_id}", "require_token", options=(("session_param", None),)),
    OwnRoute("/kept/{session_id}", "require_token", headers=(("Cache-Control", "private, max-age=60"),)),
    OwnRoute("/me", "require_role", "publisher"),
    OwnRoute("/bare"),
    OwnRoute("/inside/open"),
    OwnRoute("/inside/{session_id}", "protect"),
)


def own_guards(adapter: Any, options: Callable[[str], dict[str, Any]] | None = None) -> dict[str, Any]:
    """The guards of the site's own routes that have one each, by path.

    :param adapter: has ``require_role``, ``require_capability`` and ``require_token``, such as ``rolecall_flask``.
    :param options: returns further arguments of a guard, by the path of its route.
    """
    guards = {}
    for route in OWN_ROUTES:
        if route.requires.startswith("require_"):
            arguments = [route.argument] if route.argument else []
            further = {} if options is None else options(route.path)
            guards[route.path] = getattr(adapter, route.requires)(*arguments, **dict(route.options), **further)
    return guards


def own_headers(path: str) -> dict[str, str]:
    """The further headers of the answer of a route of the site's own, by name.

    :param path: the path of the route, or of a request for it.
    """
    routes = (route for route in OWN_ROUTES if path.startswith(route.path.partition("{")[0]))
    return {name: value for route in routes for name, value in route.headers}


def described(grant: Grant | None) -> bytes:
    """The body of the answers of all the site's own routes."""
    return json.dumps(grant and {"role": grant.role, "session": grant.session_id, "data": grant.data}).encode()


class Site(ABC):
    """The apps of one framework. :class:`WsgiSite` and :class:`AsgiSite` can call theirs.

    :param make_app: makes the app of a kit.
    :param mount: puts an app under :data:`MOUNTED` in another; None for a framework that cannot.
    :param differences: the framework's own answers.
    """

    def __init__(
        self,
        make_app: Callable[[Rolecall], Any],
        mount: Callable[[Any], Any] | None = None,
        differences: Iterable[Difference] = (),
    ) -> None:
        self.differences: Sequence[Difference] = tuple(differences)
        self._make_app = make_app
        self._mount = mount
        self._stores = {name: make_store(name) for name in KITS}
        self._kits: dict[str, Rolecall] = {}
        self._apps: dict[tuple[str, bool], Any] = {}
        self._making = threading.RLock()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes of its apps."""
        return ("",) if self._mount is None else ("", MOUNTED)

    def app(self, kit: str, mounted: bool = False) -> Any:
        """The app of the kit with this name, made at its first use; of "plain" if there is no such kit.

        :param mounted: whether it is the one under the prefix.
        """
        name = kit if kit in KITS else "plain"
        with self._making:
            app = self._apps.get((name, mounted))
            if app is None:
                app = self._apps[name, mounted] = self._made(name, mounted)
            return app

    def kit(self, name: str) -> Rolecall:
        """The kit with this name, made at its first use."""
        with self._making:
            if name not in self._kits:
                self._kits[name] = make_kit(name, self._stores[name])
            return self._kits[name]

    def app_of(self, kit: Rolecall) -> Any:
        """A new app of a kit that is none of the table's."""
        return self._make_app(kit)

    def _made(self, name: str, mounted: bool) -> Any:
        app = self._make_app(self.kit(name))
        return self._mount(app) if mounted and self._mount is not None else app

    def ask(self, case: Case, prefix: str = "") -> Answer:
        """Answer a case; a session that it ends is open again afterwards.

        :param prefix: empty, or :data:`MOUNTED`.
        """
        try:
            return self.send(self.app(case.kit, bool(prefix)), case, prefix)
        finally:
            if case.changes:
                self.reset()

    @abstractmethod
    def send(self, app: Any, case: Case, prefix: str) -> Answer:
        """Call an app with a case, with the prefix prepended to its path, and return the answer."""

    def reset(self) -> None:
        """Reset every store."""
        for store in self._stores.values():
            store.reset()

    def status(self) -> dict[str, int]:
        """The resources of the process, for tests that look for leaks: threads and sockets."""
        return {"threads": threading.active_count(), "sockets": _sockets()}

    def control(self, path: str) -> bytes:
        """The answer to ``/-/status`` and ``/-/reset``, through which tests reach a site behind a server."""
        if path == "/-/reset":
            self.reset()
        return json.dumps(self.status()).encode()

    def close(self) -> None:
        """Release the site's resources: there are none."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WsgiSite(Site):
    """A site of a WSGI framework; behind a server, the site itself is the app.

    :param mount: see :class:`Site`; by moving the prefix from ``PATH_INFO`` to ``SCRIPT_NAME`` unless given.
    :param strips_head: whether the framework leaves it to the server to send no body in answer to HEAD.
    """

    def __init__(
        self,
        make_app: Callable[[Rolecall], Any],
        mount: Callable[[Any], Any] | None = None,
        differences: Iterable[Difference] = (),
        strips_head: bool = False,
    ) -> None:
        super().__init__(make_app, mount or _below_prefix, differences)
        self._strips_head = strips_head

    def send(self, app: Any, case: Case, prefix: str) -> Answer:
        """Call the app as PEP 3333 defines it."""
        return ask_wsgi(app, case, prefix, self._strips_head)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/-/"):
            body = self.control(path)
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        app = self.app(_kit_of(environ.get("HTTP_HOST", "")), _is_mounted(path))
        answer: Iterable[bytes] = app(environ, start_response)
        return answer


class _LoopSite(Site):
    """A site that is called on its own event loop."""

    _loop: asyncio.AbstractEventLoop | None = None

    def send(self, app: Any, case: Case, prefix: str) -> Answer:
        """Call the app on the event loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(self.exchange(app, case, prefix))

    @abstractmethod
    async def exchange(self, app: Any, case: Case, prefix: str) -> Answer:
        """Call an app with a case, with the prefix prepended to its path, and return the answer."""

    def status(self) -> dict[str, int]:
        """The resources of the process, with asyncio's tasks."""
        return super().status() | {"tasks": len(asyncio.all_tasks())}

    def close(self) -> None:
        """Close the event loop. A later call has another one."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


class AsgiSite(_LoopSite):
    """A site of an ASGI framework; behind a server, the site itself is the app.

    :param strips_head: whether the framework leaves it to the server to send no body in answer to HEAD, for the kit's
        own routes, too.
    :param lowers_names: whether the framework leaves it to the server to send the names of headers in small letters.
    """

    def __init__(
        self,
        make_app: Callable[[Rolecall], Any],
        mount: Callable[[Any], Any] | None = None,
        differences: Iterable[Difference] = (),
        strips_head: bool = False,
        lowers_names: bool = False,
    ) -> None:
        super().__init__(make_app, mount, differences)
        self._strips_head = strips_head
        self._lowers_names = lowers_names

    async def exchange(self, app: Any, case: Case, prefix: str) -> Answer:
        """Call the app as the ASGI specification defines it."""
        return await ask_asgi(app, case, prefix, self._strips_head, self._lowers_names)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path.startswith("/-/"):
            body = self.control(path)
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        await self.app(_kit_of(host), _is_mounted(path))(scope, receive, send)


class ProtocolSite(_LoopSite):
    """A site of a framework with its own server, whose connections are protocols of asyncio.

    :param serve: starts to serve an app, and returns the factory of a connection's protocol; for aiohttp, that is the
        ``server`` of an ``AppRunner``.
    """

    def __init__(
        self,
        make_app: Callable[[Rolecall], Any],
        serve: Callable[[Any], Awaitable[Callable[[], asyncio.Protocol]]],
        mount: Callable[[Any], Any] | None = None,
        differences: Iterable[Difference] = (),
    ) -> None:
        super().__init__(make_app, mount, differences)
        self._serve = serve
        self._served: dict[int, Callable[[], asyncio.Protocol]] = {}

    async def exchange(self, app: Any, case: Case, prefix: str) -> Answer:
        """Call the app's server over a transport in memory."""
        if id(app) not in self._served:
            self._served[id(app)] = await self._serve(app)
        return await ask_protocol(self._served[id(app)], case, prefix)


def _kit_of(host: str) -> str:
    return host.partition(".")[0]


def _is_mounted(path: str) -> bool:
    return path.startswith(f"{MOUNTED}/")


def _below_prefix(app: Any) -> Any:
    """A WSGI app with another one below the prefix, and nothing else."""

    def outer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        inner = dict(environ)
        inner["SCRIPT_NAME"] = environ["SCRIPT_NAME"] + MOUNTED
        inner["PATH_INFO"] = environ["PATH_INFO"].removeprefix(MOUNTED)
        answer: Iterable[bytes] = app(inner, start_response)
        return answer

    return outer


def _sockets() -> int:
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
        except OSError:  # the descriptor of the listing itself
            continue
    return count
