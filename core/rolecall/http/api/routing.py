"""A kit's routes: the operations of each path, for every router that registers them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ...errors import ConfigurationError, RolecallError
from ...request import Request
from ...wording import shown
from ..messages import USUAL_BODY, BodyLimit, Response
from ..problems import problem
from . import Api

Handler = Callable[[Api, Request], Awaitable[Response]]
#: A JSON Schema (draft 2020-12), or a function that makes it for one kit.
Schema = Mapping[str, Any] | Callable[[Api], Mapping[str, Any]]

#: The requirement of operations that policies decide on, for any caller.
BY_POLICY: Final = "policy"
#: The requirement of operations for the servers of a project, which have its API secret.
BY_SERVER: Final = "server"
#: The requirement of OAuth's operations, for the servers of a project: by the credential of a server, or by API key and
#: API secret, as OAuth's clients send them.
BY_CLIENT: Final = "client"
#: The requirement of operations for a media service of the kit, whose requests are signed.
BY_MEDIA: Final = "media service"
#: The requirement of operations that are open to all.
PUBLIC: Final = "public"


_REST: Final = ":path}"
_PREFIX: Final = re.compile(r"(?:/[^/?#%\\\s]+)*")


class Answer(NamedTuple):
    """The JSON of an answer.

    :param name: the name of the schema in the API's description.
    :param otherwise: the media type for clients that do not ask for JSON; None: all get JSON.
    """

    name: str
    schema: Schema
    otherwise: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: one method of a route.

    :param handler: answers; its name, without leading underscores, is the operation's.
    :param summary: a few words for readers of the API's description.
    :param requires: the requirement: a scope, :data:`BY_POLICY`, :data:`BY_SERVER`, :data:`BY_CLIENT`,
        :data:`BY_MEDIA` or :data:`PUBLIC`.
    :param body: the members that the body may have, each with its schema; None if no body is read.
    :param media_type: the type of the body: a JSON object, or a form.
    :param rules: conditions between these members, each a schema.
    :param status: the status of success; 501 if the operation never succeeds.
    :param answer: the answer of success; None if it has no body.
    :param refusals: the statuses of refusals, besides those that follow from ``requires`` and ``body``.
    :param limit: the limit of the body.
    :param query: the parameters that the query may have, each with its schema.
    :param votes: whether policies are asked.
    :param servers: whether a server of the session's project needs no token.
    :param required: the names of the members that the body must have.
    :param takes_others: whether the body may have further members, which count for nothing.
    :param renews: whether a token may be the credential of a request, though none is required.
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
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    votes: bool = True
    servers: bool = False
    required: tuple[str, ...] = ()
    takes_others: bool = False
    renews: bool = False

    @property
    def name(self) -> str:
        """The name of the operation in the API's description."""
        return self.handler.__name__.lstrip("_")

    @property
    def identifies(self) -> bool:
        """Whether callers need no token, so that policies ask who they are."""
        return self.requires == BY_POLICY

    @property
    def admits(self) -> str:
        """Who is admitted, for lists of routes."""
        return f"{self.requires} or {BY_SERVER}" if self.servers else self.requires


class Refusals(NamedTuple):
    """How the refusals of a route are written.

    :param write: makes the answer to a request that was refused with an error.
    :param answer: its JSON.
    :param media_type: its media type.
    """

    write: Callable[[Api, RolecallError], Response]
    answer: Answer
    media_type: str


#: Refusals as problem documents (RFC 9457).
PROBLEMS: Final = Refusals(
    lambda _, error: problem(error),
    Answer(
        "Problem",
        {
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string", "description": "what was wrong, for people"},
                "code": {"type": "string", "description": "what was wrong, for machines; a policy may have its own"},
            },
            "required": ["title", "status", "detail", "code"],
        },
    ),
    "application/problem+json",
)


@dataclass(frozen=True, slots=True)
class Route:
    """A path of the kit, with its operations.

    :param path: with ``{name}`` for each variable part, which is one segment; ``{name:path}`` at the end stands for the
        rest, one segment or more.
    :param name: for the framework's reverse routing, for example ``url_for("rolecall.sessions")``.
    :param operations: the operations, by method.
    :param refusals: how its refusals are written.
    """

    path: str
    name: str
    operations: Mapping[str, Operation]
    refusals: Refusals = PROBLEMS

    @property
    def is_open_ended(self) -> bool:
        """Whether its last part is the rest of the path. Such a route comes after all others that it could match."""
        return self.path.endswith(_REST)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the route, with HEAD and OPTIONS."""
        return (*self.operations, *(("HEAD",) if "GET" in self.operations else ()), "OPTIONS")

    def find(self, method: str) -> Operation | None:
        """The operation for this method; None if there is none."""
        return self.operations.get("GET" if method == "HEAD" else method)

    def match(self, path: str) -> dict[str, str] | None:
        """The variable parts of ``path``, or None if it does not match; for frameworks without a router."""
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
    """The route that matches ``path``, and the variable parts; None if none does."""
    for route in routes:
        params = route.match(path)
        if params is not None:
            return route, params
    return None


def checked_prefix(prefix: object) -> str:
    """Check the beginning of the paths of a kit's routes, for frameworks without a router.

    :param prefix: ``"/video"``, or ``""`` for none.
    :raises ConfigurationError: if it is no such path.
    """
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(f"prefix is {shown(prefix)}; expected a path such as '/video', or ''")
    return prefix
