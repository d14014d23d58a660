"""What an app leaves open behind a guard: streams that end with their grant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar
from wsgiref.types import WSGIEnvironment

from rolecall.http.adapter import watches_of, while_granted_inline

from .translation import neutral_request

Chunk = TypeVar("Chunk")


def while_granted(environ: WSGIEnvironment, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Hand out ``chunks`` for as long as the grant of a guarded request stands: what an app returns.

    When a chunk comes, and the last look was ``Web(recheck=…)`` seconds ago or the grant expires, the grant is looked
    at, and the policies are asked again. Once it has ended no chunk is handed out any more, and ``chunks`` is closed.

    :param chunks: what is to be sent.
    :raises RuntimeError: where there is no grant.
    """
    return while_granted_inline(watches_of(environ, neutral_request(environ, {})), chunks)
