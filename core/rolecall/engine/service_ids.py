"""The ids that a media service gives to rooms and participants: the kit's store remembers them for all workers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

from ..errors import StoreUnavailable
from ..media.backend import MediaBackend, ServiceIds
from ..stores.calling import Calls
from ..wording import shown


async def known_ids(backend: MediaBackend, session_id: str, actor_id: str | None, store: Calls) -> ServiceIds:
    """The ids that are remembered.

    :param actor_id: None for the room's alone.
    :raises StoreUnavailable: if the store does not tell.
    """
    room = await _read(store, _name(backend, session_id))
    participant = None if actor_id is None else await _read(store, _name(backend, session_id, actor_id))
    return ServiceIds(room or "", participant or "")


async def kept_id(backend: MediaBackend, store: Calls, make: Callable[[], Awaitable[str]], *of: str) -> str:
    """The id that is remembered of a session, or of a session and an actor; made now if there is none.

    :param make: makes it at the service, and returns it.
    :raises StoreUnavailable: if the store does not tell, or does not remember.
    """
    name = _name(backend, *of)
    found = await _read(store, name)
    return await _remember(store, name, await make()) if found is None else found


async def _remember(store: Calls, name: str, new: str) -> str:
    """Remember an id, and return it; or the one that another worker has remembered first."""
    if await store.further("put_document", name, new, 0):
        return new
    found = await _read(store, name)
    if found is None:
        raise StoreUnavailable("the store's put_document says there is a document that get_document does not find")
    return found


async def _read(store: Calls, name: str) -> str | None:
    found = await store.further("get_document", name)
    if found is None:
        return None
    if isinstance(found, Sequence) and [*map(type, found)] == [int, str]:
        content: str = found[1]
        return content
    raise StoreUnavailable(
        f"the store's get_document returned {shown(found)}; expected a version and a content, or None"
    )


def _name(backend: MediaBackend, *of: str) -> str:
    """The name of the document: for one service under one URL, and of the same length for all."""
    return f"{backend.name}:{sha256(json.dumps([backend.url, *of]).encode()).hexdigest()}"
