"""Lists the routes of an app with their guards, exactly, from the marks that guards leave on views.

Adapters describe an app (:class:`Found`); the conclusions are drawn here, for all of them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Any, Final, Protocol

from ...errors import ConfigurationError
from ..api.routing import Route
from .guard import SESSION_PARAM, Guard, several_kits, unsettled, unsettled_app
from .marks import (
    class_of,
    elsewhere_guard,
    guards_of,
    ids_of,
    is_public,
    late_guards,
    lost_guards,
    missed_guards,
    own_route,
    unwrapped,
    view_guards,
)
from .paths import PathPattern

#: All methods.
ANY: Final = "any"
#: All methods without a line of their own.
OTHERS: Final = "others"
#: Stands for the method of a WebSocket.
WEBSOCKET: Final = "WEBSOCKET"
#: The problem of a guard without a kit in an app with several.
SEVERAL_KITS: Final = str(several_kits())

# Mistakes that leave a route open by accident; an app with one of them does not answer.
_OPENS_A_DOOR: Final = frozenset(
    {
        "cached_above_guard",
        "guard_above_route",
        "guard_lost",
        "guard_skipped",
        "guarded_too_late",
        "unbound_session",
        "unsettled_session",
    }
)
_SESSION_NAMES: Final = frozenset({"session", "session_id", "sid"})
_SESSION_WORDS: Final = frozenset({"session", "sid", "room", "meeting", "call", "conference", "lesson", "channel"})
_PARAM: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
#: The methods of RFC 9110, section 9, of RFC 5789, of QUERY, and of WebDAV (RFC 4918, 3253, 3744, 4791 and 5323).
_USUAL_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
) | frozenset(
    {"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "ACL", "MKCALENDAR", "SEARCH"}
)
#: The deepest nesting of apps.
_MAX_DEPTH: Final = 64


class Access(StrEnum):
    """The kind of access to a route."""

    GUARDED = "guarded"
    ELSEWHERE = "elsewhere"
    PUBLIC = "public"
    KIT = "kit"
    FRAMEWORK = "framework"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A problem with a route, and what to do.

    :param code: stable, for machines.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Demand:
    """The demand of one guard of a route.

    :param scope: for example ``role:moderator``.
    :param session_param: the path parameter with the session that the token must be for; None if there is none.
    :param resolved: whether the app's own function finds the session that the token must be for.
    :param optional: whether a request without a token is admitted, too.
    """

    scope: str
    session_param: str | None
    resolved: bool = False
    optional: bool = False

    def __str__(self) -> str:
        demanded = f"{self.scope}, or no token" if self.optional else self.scope
        if self.resolved:
            return f"{demanded} of the session that the app finds"
        return demanded if self.session_param is None else f"{demanded} of {{{self.session_param}}}"


@dataclass(frozen=True, slots=True)
class GuardedRoute:
    """A line of the list: the methods of a route with the same requirement.

    :param methods: by name, or :data:`ANY`, :data:`OTHERS`, :data:`WEBSOCKET`.
    :param name: the name of the endpoint.
    :param access: the kind of access.
    :param demands: of the guards.
    :param requires: the requirement, in words.
    :param mistakes: problems, for which ``--check`` fails.
    :param notes: hints.
    :param is_unknown: whether it stands for everything in an app that does not show its routes.
    """

    methods: tuple[str, ...]
    path: str
    name: str
    access: Access
    demands: tuple[Demand, ...]
    requires: str
    mistakes: tuple[Mistake, ...] = ()
    notes: tuple[str, ...] = ()
    is_unknown: bool = False

    @property
    def is_good(self) -> bool:
        """Whether nothing needs to be done."""
        return self.access is not Access.OPEN and not self.mistakes


# -- what adapters say -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Around:
    """A guard around more than one route: around an app, a blueprint, a mount.

    :param guard: the guard; the adapter has checked its own kit.
    :param endpoint: the endpoint that the guard sees, for marks of :func:`~rolecall.http.guards.marks.public`.
    :param params: the path parameters that it sees; None: those of the prefix that matches.
    :param spares_own: whether it ignores the kit's own routes.
    :param base: the path of its place.
    :param prefixes: the paths below ``base`` that it guards; all if there are none.
    :param methods: the methods that it guards; all if there are none.
    :param public: the paths below ``base`` that it leaves open.
    :param problem: the reason why it has no kit.
    :param takes_kit: whether it takes its kit from the :attr:`Found.kits` around it.
    """

    guard: Guard
    endpoint: Any = None
    params: frozenset[str] | None = None
    spares_own: bool = False
    base: str = ""
    prefixes: tuple[PathPattern, ...] = ()
    methods: frozenset[str] = frozenset()
    public: tuple[PathPattern, ...] = ()
    problem: str | None = None
    takes_kit: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A route of an app, or an app within it.

    :param path: with ``{name}`` for a variable segment, and ``{name:path}`` for one or more of them.
    :param methods: its methods; empty: any.
    :param name: the name of the endpoint.
    :param view: the function or app that answers.
    :param around: the guards around it, from the outermost.
    :param dependencies: guards besides those of the view.
    :param app: the app at this place, instead of a route.
    :param kits: the kits that guards in that app find around it.
    :param own: the kit's own route that it is; by the mark of its view unless given.
    :param made_by: the framework, if it made the route by itself.
    :param params: the path parameters that guards of the view see; those of the path unless given.
    :param ignored: the path parameters that say nothing about a session, such as the format of the answer.
    :param also: what guards it besides this kit's guards, in words.
    :param are_files: whether it serves files, which belong to no session.
    :param query: the known query parameters of the view.
    :param problem: the reason why guards without a kit of their own have none.
    :param mistakes: problems that only the adapter sees.
    :param skipped: the guards of a group of routes that this one is in, which the framework does not ask for it.
    :param through: the apps around it that the adapter has passed.
    :param is_unknown: whether it is an app that does not show its routes; set by this module alone.
    """

    path: str
    methods: tuple[str, ...] = ()
    name: str = ""
    view: Any = None
    around: tuple[Around, ...] = ()
    dependencies: tuple[Guard, ...] = ()
    app: Any = None
    kits: tuple[Any, ...] = ()
    own: Route | None = None
    made_by: str | None = None
    params: frozenset[str] | None = None
    ignored: frozenset[str] = frozenset()
    also: tuple[str, ...] = ()
    are_files: bool = False
    query: frozenset[str] = frozenset()
    problem: str | None = None
    mistakes: tuple[Mistake, ...] = ()
    skipped: tuple[Guard, ...] = ()
    through: tuple[Any, ...] = ()
    is_unknown: bool = False


#: The contents of an app; None if the adapter does not know the app.
RoutesOf = Callable[[Any], "list[Found] | None"]


class Adapter(Protocol):
    """The functions at an adapter's entry point, which is a module or any other object."""

    def is_app(self, value: object) -> bool:
        """Whether this is an app of the adapter's framework, even if servers do not call it as a WSGI or ASGI app."""

    def routes_of(self, app: Any) -> list[Found] | None:
        """The contents of an app; None if the adapter does not know the app."""


# -- the list ----------------------------------------------------------------------------------------------------------


def list_routes(app: Any, adapters: Sequence[RoutesOf]) -> list[GuardedRoute]:
    """All routes of an app, and of the apps within it, with their requirements."""
    walk = _Walk(adapters)
    found = list(walk.through(Found("", app=app)))
    return _judged(found, walk.apps)


def check_routes(app: Any, routes_of: RoutesOf) -> None:
    """Stop an app in which a route with a guard is open by mistake.

    :raises ConfigurationError: names the first such route.
    """
    walk = _Walk([routes_of])
    for line in _judged(list(walk.through(Found("", app=app))), walk.apps):
        for mistake in line.mistakes:
            if mistake.code in _OPENS_A_DOOR:
                endpoint = f" (endpoint {line.name!r})" if line.name else ""
                raise ConfigurationError(f"the route {line.path!r}{endpoint}: {mistake.message}")


def _judged(found: Sequence[Found], apps: Sequence[Any]) -> list[GuardedRoute]:
    registered = ids_of([*apps, *(one.view for one in found)])
    lines: list[GuardedRoute] = []
    seen: set[tuple[str, int]] = set()
    for one in found:
        own = one.own or own_route(one.view)
        if own is not None:
            # A framework may need several of its routes for one of the kit's.
            if (one.path, id(own)) in seen:
                continue
            seen.add((one.path, id(own)))
        lines += _Judge(one, own, registered).lines()
    return lines


class _Walk:
    """A walk through an app, and the apps within it."""

    def __init__(self, adapters: Sequence[RoutesOf]) -> None:
        self._adapters = adapters
        #: The visited apps.
        self.apps: list[Any] = []

    def through(self, place: Found, depth: int = 0) -> Iterator[Found]:
        app = place.app
        self.apps.append(app)
        within = self._within(app) if depth < _MAX_DEPTH else None
        if within is None:
            yield replace(place, app=None, view=app, name=place.name or _name(app), is_unknown=True)
            return
        for found in within:
            self.apps += found.through
            combined = replace(
                found,
                path=place.path + found.path,
                around=(*place.around, *(_placed(one, place) for one in found.around)),
                kits=(*place.kits, *(kit for kit in found.kits if kit not in place.kits)),
                mistakes=(*place.mistakes, *found.mistakes),
                through=(*place.through, app, *found.through),
            )
            if found.app is None:
                yield combined
            else:
                yield from self.through(combined, depth + 1)

    def _within(self, app: Any) -> list[Found] | None:
        for adapter in self._adapters:
            found = adapter(app)
            if found is not None:
                return found
        inner = inner_app(app)
        return None if inner is None else [Found("", app=inner)]


def _placed(around: Around, place: Found) -> Around:
    problem = around.problem
    if around.takes_kit and place.kits:
        problem = None if len(place.kits) == 1 else SEVERAL_KITS
    return replace(around, base=place.path + around.base, problem=problem)


def inner_app(app: Any) -> Any:
    """The app within a middleware, by the usual attribute names; None if there is none."""
    if isinstance(app, type) or inspect.isroutine(app):
        return None
    for name in ("app", "wsgi_app", "application", "__wrapped__"):
        inner = getattr(app, name, None)
        if callable(inner) and inner is not app:
            return inner
    return None


class _Cover(Enum):
    """How much of a line's paths is guarded."""

    ALL = 2
    SOME = 1
    NONE = 0


@dataclass(slots=True)
class _Verdict:
    """The requirement for one method of a route."""

    access: Access
    demands: list[Demand] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    requires: str = ""
    guards: list[Guard] = field(default_factory=list, repr=False)
    seen: list[frozenset[str]] = field(default_factory=list, repr=False)


class _Judge:
    """Finds the requirement of one route."""

    def __init__(self, found: Found, own: Route | None, registered: set[int]) -> None:
        self._found = found
        self._own = own
        self._registered = registered
        self._class = class_of(found.view)
        #: The served object: an app that is a function may have another guard at another place.
        self._outer = next((one for one in found.through if _wraps(one, found.view)), found.view)

    def lines(self) -> list[GuardedRoute]:
        """A line for each set of methods with the same requirement."""
        if self._found.is_unknown:
            return [line for path, exact in self._inner_paths() for line in self._lines_of(path, exact)]
        return self._lines_of(self._found.path, True)

    def _inner_paths(self) -> list[tuple[str, bool]]:
        """The paths within an app that does not show its routes, as far as guards distinguish them."""
        paths: dict[tuple[str, bool], None] = {}
        for around in self._found.around:
            for public in around.public:
                paths[around.base + public.text, True] = None
            for prefix in around.prefixes:
                paths[around.base + prefix.text.rstrip("/"), False] = None
        whole = self._found.path.rstrip("/")
        inside = [(path, exact) for path, exact in paths if path.startswith(whole) and (path != whole or exact)]
        return [*inside, (whole, False)]

    def _lines_of(self, path: str, exact: bool) -> list[GuardedRoute]:
        methods = self._methods()
        groups: dict[str, tuple[list[str], _Verdict]] = {}
        for method in methods:
            verdict = self._verdict(path, exact, method)
            groups.setdefault(repr(verdict), ([], verdict))[0].append(method)
        shown = path if exact else f"{path}/…"
        return [
            GuardedRoute(
                _plain(names, len(groups) == 1),
                shown or "/",
                self._found.name,
                verdict.access,
                tuple(verdict.demands),
                verdict.requires,
                tuple(verdict.mistakes),
                tuple(verdict.notes),
                self._found.is_unknown,
            )
            for names, verdict in groups.values()
        ]

    def _methods(self) -> list[str]:
        if self._own is not None:
            return list(self._own.operations)
        if self._found.methods:
            return list(self._found.methods)
        limited = sorted({method for around in self._found.around for method in around.methods})
        return [*limited, OTHERS]

    def _verdict(self, path: str, exact: bool, method: str) -> _Verdict:
        verdict = _Verdict(Access.OPEN)
        opened = False
        routed = frozenset(_PARAM.findall(path)) - self._found.ignored
        for around in self._found.around:
            cover, params, is_named = _covers(around, path, exact, method)
            if unusual := _unusual_methods(around, path, exact):
                verdict.notes.append(f"its guard is for some methods, and no such method is usual: {unusual}")
            opened = opened or is_named
            if cover is _Cover.SOME:
                verdict.notes.append(
                    f"the guard that requires {around.guard.requirement.scope} covers only some of these paths"
                )
            if cover is not _Cover.ALL or self._is_spared(around, method):
                continue
            self._demand(verdict, around.guard, params, around.problem)
        seen = routed if self._found.params is None else self._found.params
        for guard in self._own_guards(method):
            self._demand(verdict, guard, seen, None if guard.kit else self._found.problem)
        self._decide(verdict, method, opened)
        self._find_mistakes(verdict, method)
        # The kit's own routes check the session themselves, and a framework's own routes belong to none.
        is_about_none = self._own is not None or self._found.made_by is not None or self._found.are_files
        if not is_about_none and _is_unsettled(verdict):
            self._find_unbound(verdict, routed)
        return verdict

    def _find_unbound(self, verdict: _Verdict, routed: frozenset[str]) -> None:
        """Report that a token for any session is sufficient, although nobody has said so."""
        if SESSION_PARAM in routed:
            verdict.mistakes.append(
                Mistake(
                    "unbound_session",
                    "a token for any session is enough, because its guard stands where it does not see "
                    f"{{{SESSION_PARAM}}}; put a guard on the route itself",
                )
            )
        elif routed:
            verdict.mistakes.append(Mistake("unsettled_session", f"the route {unsettled(routed)}"))
            verdict.notes.append("a token for any session is enough")
        elif self._found.is_unknown and not any(around.prefixes for around in self._found.around):
            verdict.mistakes.append(Mistake("unsettled_session", str(unsettled_app(self._found.name))))
        elif named := sorted(name for name in self._found.query if _snake(name) in _SESSION_NAMES):
            verdict.mistakes.append(
                Mistake(
                    "unbound_query",
                    f"it takes {named[0]!r} in the query, and a token for any session is enough; pass session=… (a "
                    "function that finds the session), or session_param=None",
                )
            )
        elif likely := sorted(name for name in self._found.query if _SESSION_WORDS & set(_snake(name).split("_"))):
            verdict.notes.append(
                f"it takes {likely[0]!r} in the query, and a token for any session is enough; if that names the "
                "session, pass session=… (a function that finds the session), otherwise session_param=None"
            )

    def _is_spared(self, around: Around, method: str) -> bool:
        if around.spares_own and (self._found.own or own_route(around.endpoint)) is not None:
            return True
        return is_public(around.endpoint, method)

    def _own_guards(self, method: str) -> list[Guard]:
        return [*self._found.dependencies, *view_guards(self._found.view, method)]

    def _demand(self, verdict: _Verdict, guard: Guard, params: frozenset[str], problem: str | None) -> None:
        name = guard.session_param
        verdict.guards.append(guard)
        verdict.seen.append(params)
        if problem is not None:
            verdict.mistakes.append(Mistake("no_kit", f"its guard lets nobody in: {problem}"))
        if guard.says and name is not None and name not in params:
            verdict.mistakes.append(
                Mistake(
                    "no_session_param",
                    f"its guard binds the session by {name!r}, which is no parameter that it sees on this route, so it "
                    "lets nobody in; name one of the route's parameters, or pass session_param=None",
                )
            )
        bound = name if name in params else None
        demand = Demand(guard.requirement.scope, bound, guard.resolver is not None, guard.optional)
        if demand not in verdict.demands:
            verdict.demands.append(demand)

    def _decide(self, verdict: _Verdict, method: str, opened: bool) -> None:
        demanded = " and ".join([*map(str, verdict.demands), *self._found.also])
        if self._own is not None:
            own = f"the kit's own ({self._own.operations[method].admits})"
            verdict.access, verdict.requires = Access.KIT, f"{demanded}, then {own}" if demanded else own
        elif verdict.demands:
            verdict.access, verdict.requires = Access.GUARDED, demanded
            if is_public(self._found.view, method) and self._own_guards(method):
                verdict.notes.append("it is marked as public, and has a guard of its own, which counts")
        elif (elsewhere := self._elsewhere(method)) is not None:
            verdict.access, verdict.requires = Access.ELSEWHERE, f"guarded by {elsewhere}"
        elif opened or is_public(self._found.view, method):
            verdict.access, verdict.requires = Access.PUBLIC, "public"
        elif self._found.made_by is not None:
            verdict.access, verdict.requires = Access.FRAMEWORK, f"open, made by {self._found.made_by}"
        else:
            verdict.requires = "OPEN (unknown inside)" if self._found.is_unknown else "OPEN"

    def _elsewhere(self, method: str) -> str | None:
        """What guards the route in the place of this kit's guards, in words; None if nothing does."""
        return elsewhere_guard(self._found.view, method) or " and ".join(self._found.also) or None

    def _find_mistakes(self, verdict: _Verdict, method: str) -> None:
        verdict.mistakes += self._found.mistakes
        view, is_open = self._found.view, verdict.access is Access.OPEN
        late, missed = late_guards(view, verdict.guards), self._missed(verdict)
        if late:
            verdict.mistakes.append(
                Mistake(
                    "guarded_too_late",
                    f"its class was guarded ({_scopes(late)}) after as_view() had made the view, which is without that "
                    "guard; guard the class before it is registered",
                )
            )
        elif missed:
            why = (
                "was put around it, and not the guarded app is served, but the app itself; serve what "
                "require_token(…)(app) returned, not the app itself"
                if self._found.is_unknown
                else "was put around it above a route decorator, so this route is without it and open; put the guard "
                "below all route decorators, and where the route is to be open give it a function of its own, or mark "
                "it as @public"
            )
            verdict.mistakes.append(Mistake("guard_above_route", f"a guard ({_scopes(missed)}) {why}"))
        skipped = [guard for guard in self._found.skipped if not guard.optional]
        if is_open and skipped and not verdict.mistakes:
            verdict.mistakes.append(
                Mistake(
                    "guard_skipped",
                    f"a guard ({_scopes(skipped)}) of the router or the app around does not reach it, so it is open: "
                    "the framework asks dependencies for its own routes alone; put a guard on it, or mark it @public",
                )
            )
        if not verdict.mistakes and (lost := lost_guards(view, method, verdict.guards)) is not None:
            verdict.mistakes.append(_lost(*lost))
        if _is_cached_above_guard(view):
            verdict.mistakes.append(
                Mistake(
                    "cached_above_guard",
                    "a cache stands above its guard, and hands the answer of one bearer to everybody; put the guard "
                    "above the cache",
                )
            )
        if is_open and self._class is not None and self._is_guarded_in_part():
            verdict.mistakes.append(
                Mistake(
                    "guarded_in_part",
                    f"other methods of {self._class.__name__} have a guard, {method} has none; guard the whole class, "
                    "or mark the method as @public",
                )
            )
        if is_open and not verdict.mistakes and (hidden := hidden_guards(view)):
            verdict.notes.append(
                f"a guard ({_scopes(hidden)}) may stand behind a decorator that hides it; let that decorator use "
                "functools.wraps"
            )

    def _missed(self, verdict: _Verdict) -> list[Guard]:
        missed = missed_guards(self._outer, self._registered, verdict.guards)
        # A guard around the route that is not for this path or method is not lost.
        return [guard for guard in missed if not any(guard is around.guard for around in self._found.around)]

    def _is_guarded_in_part(self) -> bool:
        return any(self._own_guards(method) for method in self._found.methods)


def _lost(base: type[Any], view_class: type[Any], place: str, guards: Iterable[Guard]) -> Mistake:
    where, how = f"around {place}", f"without calling super().{place}(…)"
    if place.endswith("decorators"):
        where, how = f"in {place}", "without it"
    return Mistake(
        "guard_lost",
        f"{base.__name__} has a guard ({_scopes(guards)}) {where}, which {view_class.__name__} overrides {how}, so the "
        f"route is open; guard the class itself, @require_token above class {base.__name__}, or mark "
        f"{view_class.__name__} as @public",
    )


def _covers(around: Around, path: str, exact: bool, method: str) -> tuple[_Cover, frozenset[str], bool]:
    """How much of a path a guard covers, the parameters that it sees, and whether it is told to leave the path open."""
    if around.methods and method not in around.methods:
        return _Cover.NONE, frozenset(), False
    if around.params is not None:
        return _Cover.ALL, around.params, False
    below = path[len(around.base) :]
    if below.startswith("//"):  # a host, which guards do not see
        below = "/" + below[2:].partition("/")[2]
    if exact and any(_relation(public.text, below, True) is _Cover.ALL for public in around.public):
        return _Cover.NONE, frozenset(), True
    if not around.prefixes:
        return _Cover.ALL, frozenset(), False
    covers = {prefix.text: _relation(prefix.text, below, False) for prefix in around.prefixes}
    names = [name for text, cover in covers.items() if cover is _Cover.ALL for name in _PARAM.findall(text)]
    return max(covers.values(), key=lambda cover: cover.value), frozenset(names), False


def _unusual_methods(around: Around, path: str, exact: bool) -> str:
    """Guarded methods that no client sends: probably typos, so the route is open."""
    unusual = ", ".join(sorted(around.methods - _USUAL_METHODS))
    if not unusual or _covers(replace(around, methods=frozenset()), path, exact, "")[0] is _Cover.NONE:
        return ""
    return unusual


def _relation(pattern: str, path: str, whole: bool) -> _Cover:
    """How many of the paths of a route's template match a pattern, or are below it."""
    wanted, segments = _segments(pattern), _segments(path)
    most = _Cover.ALL
    for number, want in enumerate(wanted):
        segment = segments[number] if number < len(segments) else None
        if segment is None:
            return _Cover.NONE
        if segment.endswith(":path}"):
            return _Cover.SOME
        if want.startswith("{"):
            continue
        if "{" in segment:
            most = _Cover.SOME
        elif segment != want:
            return _Cover.NONE
    if whole and len(segments) > len(wanted):
        return _Cover.SOME if segments[len(wanted)].endswith(":path}") else _Cover.NONE
    return most


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _plain(names: list[str], is_all: bool) -> tuple[str, ...]:
    """The methods of a line without those that accompany others."""
    if is_all and OTHERS in names:
        return (ANY,)
    return tuple(name for name in names if name != "HEAD" or "GET" not in names)


def _is_cached_above_guard(view: Any) -> bool:
    """Whether a cache is above the guard of a view, so that everybody gets one bearer's answer."""
    for layer in unwrapped(view):
        inner = getattr(layer, "__wrapped__", None)
        # functools' caches, and those of Flask-Caching.
        is_cache = inner is not None and (hasattr(layer, "cache_info") or getattr(layer, "uncached", None) is inner)
        if is_cache and guards_of(inner):
            return True
    return False


def _is_unsettled(verdict: _Verdict) -> bool:
    """Whether one of the guards, listed from the outermost, does not say which session it binds."""
    pairs = list(zip(verdict.guards, verdict.seen, strict=True))
    is_bound = any(guard.binds_in(params) for guard, params in pairs)
    return not is_bound and any(
        not guard.is_settled(params) and not any(inner.is_settled(seen) for inner, seen in pairs[place + 1 :])
        for place, (guard, params) in enumerate(pairs)
    )


def _snake(name: str) -> str:
    """A name in Python's style: ``sessionId`` becomes ``session_id``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|-", "_", name).lower().replace("sessionid", "session_id")


def hidden_guards(view: Any) -> list[Guard]:
    """The guards of functions that a view uses, if it does not say that it wraps them."""
    cells = [cell for inner in unwrapped(view) for cell in getattr(inner, "__closure__", None) or ()]
    found: list[Guard] = []
    for cell in cells:
        try:
            held = cell.cell_contents
        except ValueError:  # an empty cell
            continue
        if inspect.isroutine(held):
            found += guards_of(held)
    return found


def _wraps(outer: Any, view: Any) -> bool:
    return any(inner is view for inner in unwrapped(outer))


def _scopes(guards: Iterable[Guard]) -> str:
    return ", ".join(dict.fromkeys(guard.requirement.scope for guard in guards))


def _name(app: Any) -> str:
    name = getattr(app, "__qualname__", None) or type(app).__name__
    return str(name)
