"""Streams of a view behind a guard, which end with their grant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rolecall.http.adapter import watches_of, while_granted_inline

from .translation import current_request, neutral_request

Chunk = TypeVar("Chunk")


def while_granted(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Yield ``chunks`` while the grant of the current request is live, for a ``flask.Response`` that streams.

    No chunk follows after the grant has expired or was revoked, as far as this process has learned, and ``chunks`` is
    closed. At the first chunk after each ``Web(recheck=…)`` seconds the policies vote again.

    :param chunks: the data to send.
    :raises RuntimeError: if there is no grant.
    """
    request = current_request()
    return while_granted_inline(watches_of(request.environ, neutral_request(request)), chunks)
