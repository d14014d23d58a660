"""The ways of a request through guards, kept beside it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Final, NamedTuple

from ...roles import Requirement
from ...tokens import Grant
from ..api import Api

#: The key of a request's entries, one for each guard that it passed, in its ASGI scope or WSGI environment.
ENTRIES: Final = "rolecall.entries"


class Entry(NamedTuple):
    """A request's way through one guard.

    :param api: the kit that admitted it.
    :param requirement: the guard's requirement.
    :param session_id: the session of the route; None if it has none.
    :param grant: the grant at the entrance.
    :param path_params: the variable parts of the path, if only the guard knows them.
    """

    api: Api
    requirement: Requirement
    session_id: str | None
    grant: Grant
    path_params: Mapping[str, str] | None = None


def keep_entry(
    kept: MutableMapping[str, Any],
    api: Api,
    requirement: Requirement,
    session_id: str | None,
    grant: Grant,
    path_params: Mapping[str, str] | None = None,
) -> None:
    """Record an :class:`Entry` in an ASGI scope or a WSGI environment.

    :func:`~rolecall.http.gateways.watching.watches_of` finds it there.
    """
    # As a plain tuple, because most requests stream nothing and never need the entry; and without the request, which
    # would be a reference cycle.
    entry = api, requirement, session_id, grant, path_params
    kept[ENTRIES] = (*kept[ENTRIES], entry) if ENTRIES in kept else (entry,)


def has_entered(kept: Mapping[str, Any], api: Api, session_id: str | None) -> bool:
    """Whether a request has passed a guard that took a token of this kit for this session.

    :param session_id: None for any session.
    """
    entries = (Entry(*entry) for entry in kept.get(ENTRIES, ()))
    return any(entry.api is api and session_id in (None, entry.session_id) for entry in entries)
