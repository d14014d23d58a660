"""Streams of an app behind a guard, which end with their grant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar
from wsgiref.types import WSGIEnvironment

from rolecall.http.adapter import watches_of, while_granted_inline

from .translation import neutral_request

Chunk = TypeVar("Chunk")


def while_granted(environ: WSGIEnvironment, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Yield ``chunks`` while the grant of a guarded request is live, for the answer of an app.

    If ``Web(recheck=…)`` seconds have passed since the last check, or the grant expires, the grant is checked at the
    next chunk, and the policies vote again. After it has ended no more chunks follow, and ``chunks`` is closed.

    :param chunks: the data to send.
    :raises RuntimeError: if there is no grant.
    """
    return while_granted_inline(watches_of(environ, neutral_request(environ, {})), chunks)
