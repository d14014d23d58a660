"""Serving the demonstration: a kit and a port for as long as it runs, and nothing left behind."""

from __future__ import annotations

import errno
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Final

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from rolecall import Rolecall
from rolecall.policies import AllowAnyone

from .app import create_app

_API_KEY: Final = "demo"
_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def serve(host: str = "127.0.0.1", port: int = 8000, store: str | None = None) -> None:
    """Serve the demonstration until Ctrl-C or SIGTERM. Anyone who reaches it may get moderator tokens.

    :param host: the address to listen on; only this computer reaches the default.
    :param port: the port; a free one is taken if it is in use, or 0.
    :param store: the store's URL; an SQLite file in a temporary folder unless given. Each start has a new secret, so
        that sessions of an earlier one are strangers.
    """
    with _ended_by_signals(), suppress(KeyboardInterrupt), _store_url(store) as url, _demo_kit(url) as kit:
        server = _make_server(host, port, kit)
        print(f"Rolecall demo: {_address(host, server.port)}  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        finally:
            _ignore_signals()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end the program as Ctrl-C does, and put the handlers back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread may set handlers, and only it is interrupted.
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """A second, impatient Ctrl-C must not leave the temporary folder behind."""
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _store_url(store: str | None) -> Iterator[str]:
    if store is not None:
        yield store
        return
    with tempfile.TemporaryDirectory(prefix="rolecall-demo-", ignore_cleanup_errors=True) as folder:
        yield f"sqlite:///{folder}/demo.db"


def _demo_kit(store: str) -> Rolecall:
    # A new secret every time: no token outlives the demonstration that issued it. One computer has one clock, so a
    # token is refused the second that it expires.
    return Rolecall(_API_KEY, secrets.token_hex(32), store=store, plugins=[AllowAnyone("moderator")], leeway=0)


def _make_server(host: str, port: int, kit: Rolecall) -> BaseWSGIServer:
    app = create_app(kit)
    if _is_loopback(host):
        app.config["TRUSTED_HOSTS"].append(host)
    else:
        # Whoever listens to the network on purpose is asked for by names that only the network knows.
        app.config["TRUSTED_HOSTS"] = None
        print("Others on the network can reach this demo, and get moderator tokens from it.", flush=True)
    with _listen(host, port) as listener:
        # The server duplicates the socket. Given the port instead, it would end the program if that is in use.
        return make_server(host, port, app, threaded=True, request_handler=_QuietHandler, fd=listener.fileno())


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    print(f"Port {port} is in use; taking a free one.", flush=True)
    return socket.create_server((host, 0), family=family)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def _address(host: str, port: int) -> str:
    # A browser sends an IPv6 address in brackets, which TRUSTED_HOSTS cannot name; localhost is that address, too.
    return f"http://{'localhost' if host == '::1' else f'[{host}]' if ':' in host else host}:{port}"


class _QuietHandler(WSGIRequestHandler):
    """Leaves the terminal to what the demonstration says itself."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass
