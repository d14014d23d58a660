"""Django's requests and the kit's answers, translated."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import Morsel
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from rolecall import Web
from rolecall.errors import RolecallError
from rolecall.http.adapter import Request, Response, announced_length, headers_to_add, refused
from rolecall.http.gateways.asgi import AsgiHeaders, Scope, authorization_of
from rolecall.http.gateways.wsgi import AUTHORIZATION, WsgiHeaders, input_of, read_body


def neutral_request(request: HttpRequest, params: Mapping[str, Any]) -> Request:
    """A request in the kit's form; its body is read later.

    :param params: the parameters of the route, by name.
    """
    headers: Mapping[str, str]
    if isinstance(request, ASGIRequest):
        headers, root = AsgiHeaders(scope_of(request)), request.script_name or ""
    else:
        headers, root = WsgiHeaders(request.META), request.META.get("SCRIPT_NAME", "")
    return Request(
        request.method or "GET",
        # The path that Django routes; ``request.path`` also has the root.
        request.path_info,
        params,
        headers,
        framework="django",
        query=query_of(request),
        root=root.rstrip("/"),
        native=request,
    )


def scope_of(request: ASGIRequest) -> Scope:
    """The ASGI scope of a request."""
    scope: Any = request.scope
    return scope  # type: ignore[no-any-return]


def query_of(request: HttpRequest) -> str:
    """The query string, as it came."""
    query: str = request.META.get("QUERY_STRING", "")
    return query


def authorization(request: HttpRequest) -> str | None:
    """The value of the ``Authorization`` header, if present."""
    if isinstance(request, ASGIRequest):
        return authorization_of(scope_of(request))
    value: str | None = request.META.get(AUTHORIZATION)
    return value


def body_of(request: HttpRequest, neutral: Request, longest: int) -> bytes:
    """The body of a request, up to a little more than the operation allows.

    :param longest: the longest body of the operation, in bytes.
    """
    announced_length(neutral.headers, longest)
    read: Any = request.read
    if not isinstance(request, ASGIRequest) and not request.META.get("CONTENT_LENGTH"):
        # Django takes a body without an announced length, as one in chunks, for an empty one.
        read = input_of(request.META, longest)
    return read_body(neutral.headers, read, longest)


def keep_out_of_caches(response: HttpResponseBase, web: Web | None, query: str) -> None:
    """Give an answer the headers that keep it out of caches; see :func:`~rolecall.http.adapter.headers_to_add`.

    :param web: the kit's rules for browsers.
    :param query: the query string of the request.
    """
    for name, value in headers_to_add(response.headers.items(), web, query):
        response.headers[name] = value


class KitResponse(HttpResponse):
    """An answer of the kit, byte for byte.

    :param to: the request; an answer to HEAD has no body.
    """

    def __init__(self, response: Response, to: HttpRequest | None = None) -> None:
        is_head = to is not None and to.method == "HEAD"
        super().__init__(b"" if is_head else response.body, status=response.status)
        del self.headers["Content-Type"]
        for name, value in response.framed_headers:
            if name == "Set-Cookie":
                self._set_cookie_line(value)
            else:
                self.headers[name] = value

    def has_header(self, header: str) -> bool:
        """See Django; the length is settled, so that no middleware adds one to an answer that has none."""
        return header.lower() == "content-length" or super().has_header(header)

    __contains__ = has_header

    def _set_cookie_line(self, line: str) -> None:
        # Among the response's cookies, from which Django's test client takes them.
        cookie = _CookieLine(line)
        dict.__setitem__(self.cookies, cookie.key, cookie)


class _CookieLine(Morsel[str]):
    """A cookie as the kit has written it."""

    def __init__(self, line: str) -> None:
        super().__init__()
        name, _, value = line.partition(";")[0].partition("=")
        self.set(name, value, value)
        self._line = line

    def OutputString(self, attrs: Any = None) -> str:  # noqa: N802
        return self._line

    def output(self, attrs: Any = None, header: str = "Set-Cookie:") -> str:
        return f"{header} {self._line}" if header else self._line


def problem_response(error: RolecallError) -> HttpResponse:
    """The answer for ``error``, for views that call the kit themselves."""
    return KitResponse(refused(error))
