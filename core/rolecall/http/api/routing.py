"""A kit's routes: what each path answers, for every router that registers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ...request import Request
from ..messages import USUAL_BODY, BodyLimit, Response
from . import Api

Handler = Callable[[Api, Request], Awaitable[Response]]
#: A JSON Schema (draft 2020-12); where it depends on the kit, what makes it for one.
Schema = Mapping[str, Any] | Callable[[Api], Mapping[str, Any]]

#: The requirement of operations that a policy decides on, whoever asks.
BY_POLICY: Final = "policy"
#: The requirement of operations for the servers of a project, which have its API secret.
BY_SERVER: Final = "server"
#: The requirement of operations that are open to all.
PUBLIC: Final = "public"


_REST: Final = ":path}"


class Answer(NamedTuple):
    """What the JSON of an answer holds.

    :param name: for the schema, in the API's description.
    :param otherwise: the media type in which it comes to those who do not ask for JSON; None: it is JSON for all.
    """

    name: str
    schema: Schema
    otherwise: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method does on a route.

    :param handler: answers; its name is the operation's in the API's description, without what marks it as private.
    :param summary: in a few words, for readers of the API's description.
    :param requires: what lets a request in: a requirement's scope, :data:`BY_POLICY`, :data:`BY_SERVER` or
        :data:`PUBLIC`.
    :param body: the members that the body may have, each with its schema; None where no body is read.
    :param media_type: what the body is: a JSON object, or a form.
    :param rules: what must hold between these members, each rule a schema.
    :param status: the status of an answer that grants what was asked for; 501 if none ever does.
    :param answer: that answer; None where it has no body.
    :param refusals: the statuses of answers that refuse, beside those that follow from ``requires`` and ``body``.
    :param limit: how much is taken of the body.
    """

    handler: Handler
    summary: str
    requires: str
    body: Mapping[str, Schema] | None = None
    rules: tuple[Mapping[str, Any], ...] = ()
    status: int = 200
    answer: Answer | None = None
    refusals: tuple[int, ...] = ()
    media_type: str = "application/json"
    limit: BodyLimit = USUAL_BODY


@dataclass(frozen=True, slots=True)
class Route:
    """One path of the kit and what answers it.

    :param path: with ``{name}`` for each variable part, which is one segment; ``{name:path}`` at the end is all that
        follows, of one segment or more.
    :param name: for the framework's reverse routing, for example ``url_for("rolecall.sessions")``.
    :param operations: by method.
    """

    path: str
    name: str
    operations: Mapping[str, Operation]

    @property
    def is_open_ended(self) -> bool:
        """Whether its last part is all that follows. Such a route comes behind all others that it could match."""
        return self.path.endswith(_REST)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the route answers, HEAD and OPTIONS included."""
        return (*self.operations, *(("HEAD",) if "GET" in self.operations else ()), "OPTIONS")

    def find(self, method: str) -> Operation | None:
        """What answers this method."""
        return self.operations.get("GET" if method == "HEAD" else method)

    def match(self, path: str) -> dict[str, str] | None:
        """The variable parts of ``path`` if it is one of this route's, for frameworks that have no router."""
        pattern = self.path.split("/")
        segments = path.split("/", len(pattern) - 1 if self.is_open_ended else -1)
        if len(pattern) != len(segments):
            return None
        params = {}
        for wanted, segment in zip(pattern, segments, strict=True):
            if wanted.startswith("{"):
                if not segment or segment.startswith("/"):
                    return None
                params[wanted[1:-1].removesuffix(":path")] = segment
            elif wanted != segment:
                return None
        return params


def find_route(routes: Iterable[Route], path: str) -> tuple[Route, dict[str, str]] | None:
    """The route that ``path`` is one of, and its variable parts."""
    for route in routes:
        params = route.match(path)
        if params is not None:
            return route, params
    return None
