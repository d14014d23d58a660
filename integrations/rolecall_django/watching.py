"""Streams of a view behind a guard, which end with their grant."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, overload

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from rolecall.http import adapter
from rolecall.http.adapter import watches_of, while_granted_inline

from .guards import kept_of
from .rest_views import native_of
from .translation import neutral_request

if TYPE_CHECKING:
    from rest_framework.request import Request as RestRequest

Chunk = TypeVar("Chunk")


@overload
def while_granted(
    request: HttpRequest | RestRequest, chunks: Iterable[Chunk]
) -> Iterator[Chunk] | AsyncIterator[Chunk]: ...
@overload
def while_granted(request: HttpRequest | RestRequest, chunks: AsyncIterable[Chunk]) -> AsyncIterator[Chunk]: ...
def while_granted(
    request: HttpRequest | RestRequest, chunks: AsyncIterable[Chunk] | Iterable[Chunk]
) -> AsyncIterator[Chunk] | Iterator[Chunk]:
    """Yield ``chunks`` while the grant of a guarded request is live, for a ``StreamingHttpResponse``.

    No chunk follows after the grant has expired or was revoked, as far as this process has learned, and ``chunks`` is
    closed. At intervals of ``Web(recheck=…)`` seconds the policies vote again. Under WSGI the grant is checked when a
    chunk comes; under ASGI also between two chunks.

    :param chunks: the data to send. Under ASGI a plain iterable runs on the request's thread.
    :raises RuntimeError: if there is no grant.
    """
    native = native_of(request)
    match = native.resolver_match
    watches = watches_of(kept_of(native), neutral_request(native, match.kwargs if match else {}))
    if isinstance(native, ASGIRequest):
        return adapter.while_granted(watches, chunks, _on_thread)
    if isinstance(chunks, AsyncIterable):
        raise TypeError("under WSGI a view streams what is no async generator; Django would read all of it beforehand")
    return while_granted_inline(watches, chunks)


async def _on_thread(function: Callable[..., Any], *args: Any) -> Any:
    return await sync_to_async(function, thread_sensitive=True)(*args)
