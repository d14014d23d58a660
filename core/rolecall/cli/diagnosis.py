"""The checks of ``rolecall doctor``: each yields findings with what to do about them, and never a secret."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from ..engine.workers import WEB_CONCURRENCY
from ..errors import ConfigurationError, RolecallError
from ..http.web import Web
from ..keys import HMACKey
from ..kit import Rolecall
from ..kit.environment import read_environment
from ..kit.keys import KeyInfo
from ..media import MediaBackend, find_backend
from ..media.backend import variable_of
from ..plugins.sources import offered, origin_of, package_of
from ..stores import Store
from ..stores.synchronous import SyncUpkeep
from ..stores.upkeep import Finding
from ..tokens import duration
from ..wording import shown, shown_key
from .apps import routes_of
from .reports import route_findings

#: A secret with less entropy, in bits, can be found by trying (NIST SP 800-131A, revision 2, section 10).
LEAST_BITS: Final = 112
#: The longest life of a ticket, in seconds, that nobody is warned of: LiveKit gives as much by itself.
LONGEST_TICKET: Final = 600
#: The seconds from which on a difference of clocks is worth a warning.
SKEW: Final = 1.0
_HOW_TO_MAKE_ONE: Final = 'make one with: python -c "import secrets; print(secrets.token_hex(32))"'
_SHARED_STORE: Final = "set ROLECALL_STORE to sqlite:///path/to/file.db, postgresql://… or redis://…"
_WORKERS: Final = re.compile(r"(?:^|\s)(?:-w|--workers)[\s=]*([0-9]+)")
_LOCAL: Final = re.compile(r"localhost|.*\.localhost|127\.[0-9.]+|::1")
_COMPARED: Final = "comparing"
_SWITCHED_OFF: Final = ("", "0", "false", "no", "off")


def versions() -> Iterator[Finding]:
    """Whether what the kit rests on has the version that it needs."""
    for line in requires("rolecall") or ():
        match = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([0-9.]+)", line)
        if match is None:
            continue
        package, least = match.groups()
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "none"
        if _numbers(found) < _numbers(least):
            yield Finding(
                "error",
                f"{package} is {found}, and Rolecall needs {least} or later",
                f"pip install 'rolecall' --upgrade, or pip install '{package}>={least}'",
            )


def environment(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The files of the environment's secrets, and switches that are for development."""
    try:
        options = read_environment(environ)
    except ConfigurationError:
        options = {}  # the kit says so
    for name in environ:
        if name.startswith("ROLECALL_") and name.endswith("_FILE") and _is_open_to_all(environ[name]):
            yield Finding(
                "warning", f"every account of this machine can read the file that {name} names", "chmod o-rwx the file"
            )
    if environ.get("FLASK_DEBUG", "").lower() not in _SWITCHED_OFF:
        yield Finding(
            "error",
            "FLASK_DEBUG is on: whoever sees an error page may run code here",
            "unset FLASK_DEBUG wherever others reach the app",
        )
    if options.get("trace") is True:
        yield Finding(
            "warning",
            "ROLECALL_TRACE is on: every decision is logged, with the ids of sessions and actors",
            "unset ROLECALL_TRACE once you have seen what you looked for",
        )


def keys(kit: Rolecall, now: float) -> Iterator[Finding]:
    """Keys that can be guessed, and those that are needed no more.

    :param now: in Unix seconds.
    """
    for key, bits in kit.keys.weak(LEAST_BITS):
        yield Finding(
            "warning",
            f"{_named(key)} has about {bits:.0f} bits of entropy by its look; {LEAST_BITS} are the least",
            f"{_HOW_TO_MAKE_ONE}, unless it is a service's own",
        )
    for key in kit.keys:
        if key.state == "verifying" and key.retires_from is not None and key.retires_from <= now:
            yield Finding(
                "info",
                f"{_named(key)} verifies, and its last token has ended",
                f"rolecall keys retire {key.id}" if key.source in _IN_PLACES else f"take it out of the {key.source}",
            )


_IN_PLACES: Final = ("ring file", "store")


def _named(key: KeyInfo) -> str:
    return f"the key {key.id} of {shown_key(key.issuer)}, from the {key.source},"


def plugins(kit: Rolecall, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Plugins that are installed and not loaded, and whether any policy lets requests from outside in."""
    options = read_environment(environ)
    loaded, blocked = {plugin.origin for plugin in kit.plugins}, options.get("blocked_plugins", ())
    for one in () if options.get("entry_points") is False else offered():
        if origin_of(one) not in loaded and one.name not in blocked:
            yield Finding(
                "warning",
                f"the plugin {shown(one.name, 80)} of {package_of(one)} is installed, and not loaded",
                "name it in ROLECALL_ENTRY_POINTS, or in ROLECALL_BLOCKED_PLUGINS if it is not wanted",
            )
    asked = {hook for plugin in kit.plugins for hook in plugin.hooks}
    mute = [what for hook, what in _VOTES.items() if hook not in asked]
    if mute:
        yield Finding(
            "warning",
            f"no plugin votes on {' and '.join(mute)}: requests for them from outside are refused",
            "name a policy in ROLECALL_PLUGINS, or pass it to the kit, unless nobody outside is to ask",
        )
    if any(plugin.name.endswith("AllowAnyone") for plugin in kit.plugins):
        yield Finding(
            "warning",
            "the policy AllowAnyone gives everybody who reaches the app a token for every session",
            "use a policy that looks at who asks, unless the network is closed",
        )


_VOTES: Final = {"rolecall_vote_session": "sessions", "rolecall_vote_token": "tokens"}


def browsers(web: Web) -> Iterator[Finding]:
    """What browsers may that weakens the kit."""
    for origin in sorted(web.origins):
        url = urlsplit(origin)
        if _LOCAL.fullmatch(url.hostname or ""):
            yield Finding("info", f"pages of {origin} may call the app (ROLECALL_ORIGINS)", "take it off in production")
        elif url.scheme == "http":
            yield Finding(
                "warning",
                f"pages of {origin} may call the app, and everybody on the way to the browser can change them",
                f"serve them by https, and write https://{url.netloc} in ROLECALL_ORIGINS",
            )
    if web.query is not None:
        yield Finding(
            "warning",
            f"tokens are accepted in the query parameter {shown(web.query)}, and URLs end up in logs and histories",
            "let clients send the header Authorization, or the WebSocket's subprotocol; leave out Web(query=…)",
        )


def media(kit: Rolecall) -> Iterator[Finding]:
    """Media services that others may listen to, or that let people come back; and secrets that two things share."""
    for backend in kit.engine.state.media.backends:
        url, variable = urlsplit(backend.url), partial(variable_of, backend.name)
        if url.scheme in ("ws", "http") and not _LOCAL.fullmatch(url.hostname or ""):
            yield Finding(
                "warning",
                f"clients of {backend.name} connect by {url.scheme}://, and everybody on the way can read tickets",
                f"serve it by TLS, and write {url.scheme}s://{url.netloc} in {variable(backend.url_setting)}",
            )
        if backend.ticket_life > max(LONGEST_TICKET, backend.shortest_life):
            yield Finding(
                "warning",
                f"tickets of {backend.name} are good for {duration(backend.ticket_life)}: whoever is put out can join "
                "with one again for as long",
                f"leave {variable('ticket_life')} out, or set it to {LONGEST_TICKET} at most",
            )
        is_own = type(backend) is find_backend(backend.name)
        if is_own and backend.service is not None and find_spec("httpx") is None:
            yield Finding(
                "warning",
                f"acts at {backend.name} are refused, because they need the package httpx",
                'pip install "rolecall[media]"',
            )
        yield from _media_secrets(kit, backend)


def _media_secrets(kit: Rolecall, backend: MediaBackend) -> Iterator[Finding]:
    relays = () if backend.turn is None else backend.turn.keys
    beside = f"the TURN server beside {backend.name}"
    of_service, of_relays = ((key, backend.name) for key in backend.keys), ((key, beside) for key in relays)
    for key, whose in (*of_service, *of_relays):
        if isinstance(key, HMACKey) and (bits := key.strength()) < LEAST_BITS:
            yield Finding(
                "warning",
                f"a secret of {whose} has about {bits:.0f} bits of entropy by its look; {LEAST_BITS} are the least",
                f"{_HOW_TO_MAKE_ONE}, unless it is the service's own",
            )
        # At OpenTok and Vonage the project may be the kit's own.
        if not backend.session_issuers and kit.keys.holds(key):
            yield Finding(
                "warning",
                f"a secret of {whose} is one of the kit's own, too: whoever runs that server can sign the kit's tokens",
                f"give each a secret of its own; {_HOW_TO_MAKE_ONE}",
            )
    if any(key.derive(_COMPARED) == relay.derive(_COMPARED) for key in backend.keys for relay in relays):
        yield Finding(
            "warning",
            f"{backend.name} and its TURN server have the same secret: whoever runs the one can sign for the other",
            f"give each a secret of its own; {_HOW_TO_MAKE_ONE}",
        )


def formats(kit: Rolecall) -> Iterator[Finding]:
    """Accepted formats of tokens that are weaker than others."""
    if "t1" in kit.engine.state.formats:
        yield Finding(
            "warning",
            "tokens of the form T1 are accepted: SDKs join their fields without encoding them",
            "leave t1 out of ROLECALL_ACCEPT and ROLECALL_FORMAT once no client needs it",
        )


def workers(store: Store, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether several workers would each have a store of their own."""
    number = _workers_of(environ)
    if number > 1 and getattr(store, "shared", True) is False:
        yield Finding(
            "error",
            f"the environment asks for {number} workers, and each would keep its sessions for itself",
            _SHARED_STORE,
        )


def store(found: Store, clock: Callable[[], float], leeway: float) -> Iterator[Finding]:
    """What the store's own examination finds, and its clock."""
    try:
        upkeep = SyncUpkeep(found)
    except ConfigurationError as error:
        yield Finding("info", str(error), "look after it by its own tools")
        return
    with upkeep:
        try:
            yield from _skew(upkeep, clock, leeway)
            yield from upkeep.examine()
        except RolecallError as error:
            remedy = "mend that; if it does not answer, see that it runs, and that the URL names it"
            yield Finding("error", str(error), remedy)


def app(found: Any) -> Iterator[Finding]:
    """The routes of an app that are open, or guarded otherwise than meant; and whether it is in debug mode."""
    if getattr(found, "debug", False) is True:
        yield Finding("error", "the app is in debug mode: its error pages show code and values", "switch debug off")
    for place, problem in route_findings(routes_of(found)):
        yield Finding("error", f"{place}: {problem}", "see: rolecall routes")


def _is_open_to_all(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except (OSError, ValueError):
        return False


def _workers_of(environ: Mapping[str, str]) -> int:
    """The number of workers that a server is to start, as far as the environment says."""
    numbers = [environ.get(WEB_CONCURRENCY, "").strip()]
    numbers += _WORKERS.findall(environ.get("GUNICORN_CMD_ARGS", ""))
    return max((int(number) for number in numbers if number.isdecimal()), default=1)


def _skew(upkeep: SyncUpkeep, clock: Callable[[], float], leeway: float) -> Iterator[Finding]:
    began, monotonic = clock(), time.monotonic()
    theirs = upkeep.clock()
    if theirs is None:
        return
    # The store may have read its clock at any moment of the call.
    took = time.monotonic() - monotonic
    skew = max(abs(theirs - (began + took / 2)) - took / 2, 0.0)
    if skew > SKEW:
        yield Finding(
            "error" if skew > leeway else "warning",
            f"this machine's clock and the store's differ by {skew:.1f} s; the kit's leeway is {leeway:g} s",
            "let both machines synchronise their clocks (NTP)",
        )


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", text.partition("+")[0])[:3]]
