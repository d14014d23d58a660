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

    No chunk follows after the grant has expired or was revoked, as far as this process has learned, and ``chunks`` is
    closed. At the first chunk after each ``Web(recheck=…)`` seconds the policies vote again.

    :param chunks: the data to send.
    :raises RuntimeError: if there is no grant.
    """
    return while_granted_inline(watches_of(environ, neutral_request(environ, {})), chunks)
