"""Sends calls to the service over httpx, with credential, time-outs and repetitions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

from ...clock import problem_with_timeout
from ...driver import event_loops
from ...errors import ConfigurationError
from ...keys.issuers import Issuer
from ...wording import kind, shown, wrapping
from ..urls import problem_with_url
from . import answers
from .answers import Unreadable
from .calls import Call
from .credentials import ServerCredential
from .outcomes import Answer, Failure, Outcomes

if TYPE_CHECKING:
    import httpx

Result = TypeVar("Result")

#: The address of the service that the published SDKs use, and of the newer one.
OPENTOK: Final = "https://api.opentok.com"
VONAGE: Final = "https://video.api.vonage.com"
#: The time of a whole call in seconds, and how often it is repeated, unless said otherwise.
CALL_TIME: Final = 4.0
RETRIES: Final = 2
_MAX_RETRIES: Final = 10
#: The longest pause before the first repetition, in seconds; twice as much before each further one.
FIRST_PAUSE: Final = 0.25
# Not the module's own, whose state belongs to the app.
_RANDOM: Final = SystemRandom()


class Transport:
    """Sends calls, each over its own connection, so that threads, event loops and forks share none.

    :param issuer: the project or the application at the service.
    :raises ConfigurationError: for an invalid argument, and if httpx is not installed.
    """

    def __init__(
        self,
        issuer: Issuer,
        api_url: str,
        *,
        timeout: float,
        retries: int,
        proxy: str | None,
        clock: Callable[[], float],
    ) -> None:
        self._credential = ServerCredential(issuer, clock)
        self._timeout = timeout
        self._retries = retries
        self._httpx = _imported()
        problem = (
            problem_with_timeout(timeout)
            or _problem_with_retries(retries)
            or _problem_with_clock(clock)
            or problem_with_url(api_url, ("https", "http"), "api_url", f"expected one like '{OPENTOK}'")
        )
        if problem is None:
            # To load the certificates of authorities takes longer than all else here.
            self._tls = self._httpx.create_ssl_context() if urlsplit(api_url).scheme == "https" else False
            #: The URL of the service, without a slash at the end.
            self.api_url = api_url.rstrip("/")
            self._proxy, problem = self._opened(proxy)
        del api_url, proxy  # they may hold passwords
        if problem is not None:
            raise ConfigurationError(problem)
        self._outcomes = Outcomes(self.api_url, self._peer(), timeout, clock, self._credential)

    def _peer(self) -> str:
        """The other end of connections, in words."""
        if self._proxy is not None:
            return f"the proxy on the way to {self.api_url}"
        of_environment = getproxies()
        if urlsplit(self.api_url).scheme in of_environment or "all" in of_environment:
            return f"{self.api_url}, or to the environment's proxy on the way,"
        return self.api_url

    async def send(self, call: Call[Result]) -> Result:
        """Send a call, repeated as often as is safe, and return its result.

        :raises ServiceFault: a subclass that says what went wrong.
        :raises NotFoundAtService: if the session, connection or stream does not exist.
        """
        outcome = await self._sent(call)
        if isinstance(outcome, Failure):
            raise outcome.error
        return outcome

    async def _sent(self, call: Call[Result]) -> Result | Failure:
        loop = event_loops.running()
        now = loop.time
        deadline = now() + self._timeout
        attempts = 0
        while True:
            outcome = await self._attempt(call, deadline - now())
            attempts += 1
            if not isinstance(outcome, Failure):
                return outcome
            pause = _pause(attempts) if outcome.wait is None else outcome.wait
            is_safe = outcome.passing and (outcome.unsent or call.repeatable)
            if not is_safe or attempts > self._retries or now() + pause >= deadline:
                return outcome.concluded(call, attempts)
            await loop.sleep(pause)

    async def _attempt(self, call: Call[Result], seconds: float) -> Result | Failure:
        answer = await self._exchange(call, seconds)
        return answer if isinstance(answer, Failure) else self._outcomes.judged(call, answer)

    async def _exchange(self, call: Call[Any], seconds: float) -> Answer | Failure:
        """Send one request, and return its answer or failure. Raises nothing but a cancellation."""
        httpx, outcomes, began = self._httpx, self._outcomes, False
        # Half of the time for the connection, so that a second attempt has the rest.
        connect = min(self._timeout / 2, seconds)
        loop = event_loops.running()
        try:
            async with (
                loop.timeout(seconds),
                self._client(httpx.Timeout(seconds, connect=connect)) as client,
                client.stream(
                    call.method, self.api_url + call.path, headers=self._headers(call), content=call.body or None
                ) as response,
            ):
                began = True
                says = answers.media_type(response.headers.get("content-type", ""))
                body = await _read(response, call.longest) if response.is_success or says == answers.PROBLEM else b""
                return Answer(response.status_code, dict(response.headers), body)
        except Unreadable as problem:
            return outcomes.invalid(str(problem))
        except httpx.ConnectTimeout:
            return outcomes.no_connection_in_time(connect)
        except (httpx.TimeoutException, TimeoutError):
            return outcomes.no_answer_in_time(began)
        except httpx.ProxyError as error:
            status = str(error)[:3]
            return outcomes.refused_by_proxy(int(status) if status.isdigit() else None)
        except httpx.ConnectError as error:
            return outcomes.no_connection(error)
        except httpx.RemoteProtocolError as error:
            # Only the message tells a connection that was merely closed from an answer that is not HTTP.
            if began or "disconnected" in str(error):
                return outcomes.broken(began)
            return outcomes.invalid("its answer is not HTTP")
        except httpx.TransportError:
            return outcomes.broken(began)
        except Exception as error:
            return outcomes.unexpected(error)
        except BaseException as error:
            # The code that cancels may log the exception, and the frames below hold the credential.
            raise error.with_traceback(None) from None

    def _client(self, timeout: httpx.Timeout) -> httpx.AsyncClient:
        client: httpx.AsyncClient = self._httpx.AsyncClient(
            verify=self._tls, proxy=self._proxy, timeout=timeout, follow_redirects=False
        )
        return client

    def _headers(self, call: Call[Any]) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            # Without compression: a short compressed answer can become a long one.
            "Accept-Encoding": "identity",
            "User-Agent": "rolecall",
            **self._credential.header(),
        }
        if call.content_type is not None:
            headers["Content-Type"] = call.content_type
        return headers

    def _opened(self, proxy: object) -> tuple[httpx.Proxy | None, str | None]:
        """The proxy, and the problem with it or with the environment's."""
        example = "expected a URL, for example 'http://proxy.example:3128'"
        if proxy is not None and not isinstance(proxy, str):
            return None, f"proxy is {kind(proxy)}; {example}"
        around = None if proxy is None else wrapping(proxy)
        if around is not None:
            return None, f"proxy has {around}; take it off"
        try:
            opened = None if proxy is None else self._httpx.Proxy(proxy)
            self._httpx.AsyncClient(verify=self._tls, proxy=opened)  # as each call will
        except ImportError:
            return None, 'a SOCKS proxy needs a further package: pip install "httpx[socks]"'
        except Exception:
            which = "a proxy of the environment (HTTPS_PROXY and the like)" if proxy is None else "proxy"
            return None, f"{which} cannot be used; {example}"
        return opened, None


async def _read(response: httpx.Response, longest: int) -> bytes:
    """The body of an answer.

    :param longest: how many bytes are read at most.

    :raises Unreadable: if it is longer; the rest is not read.
    """
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise Unreadable("the body is compressed, which was not asked for")
    body = bytearray()
    chunks: AsyncIterator[bytes] = response.aiter_raw()
    async for chunk in chunks:
        body += chunk
        if len(body) > longest:
            raise Unreadable(f"the body is longer than {longest} bytes")
    return bytes(body)


def _pause(attempts: int) -> float:
    longest = FIRST_PAUSE * 2.0 ** (attempts - 1)
    return _RANDOM.uniform(longest / 2, longest)  # spreads clients, so that not all return at once


def _problem_with_retries(retries: object) -> str | None:
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= _MAX_RETRIES:
        return f"retries is {shown(retries)}; expected 0 to {_MAX_RETRIES}"
    return None


def _problem_with_clock(clock: object) -> str | None:
    return None if callable(clock) else f"clock is {shown(clock)}; expected a function that returns Unix seconds"


def _imported() -> Any:
    try:
        import httpx
    except ImportError:
        raise ConfigurationError(
            "a remote service needs the package httpx, which is not installed: pip install httpx"
        ) from None
    return httpx
