"""Traces and metrics for OpenTelemetry (extra ``otel``): its API alone; the app's SDK decides what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from math import isfinite
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry import context, metrics, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Span, Status, StatusCode, TracerProvider

from ..hookspecs import Operation, hookimpl
from .outcomes import Codes, code_of, fault_of

if TYPE_CHECKING:
    from ..events import Event
    from ..kit import Rolecall


class OpenTelemetry:
    """Spans around calls, hooks and calls of the store; their durations, events and the store's lag as metrics.

    Spans are named ``rolecall.generate_token``, ``rolecall.hook.vote_token``, ``rolecall.store.add_session``. Their
    attributes, and those of the durations, are ``rolecall.operation.kind``, ``rolecall.operation.name``,
    ``rolecall.plugin.name``, and ``rolecall.code``, the code of a refusal. A fault of the service, which a refused
    client is not, has the status Error and ``error.type``: the code, or the exception's type. No message is recorded.

    The metrics are ``rolecall.operation.duration`` (a histogram, in seconds), ``rolecall.events`` (a counter, by
    ``rolecall.event.name`` and ``rolecall.code``) and ``rolecall.store.lag`` (a gauge, in seconds).

    :param tracer_provider: of the spans; the global one unless given.
    :param meter_provider: of the metrics; the global one unless given.
    :param session_ids: whether a span has the attribute ``rolecall.session.id``.
    """

    name = "opentelemetry"

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        session_ids: bool = False,
    ) -> None:
        self._tracer = trace.get_tracer("rolecall", tracer_provider=tracer_provider)
        self._meter = metrics.get_meter("rolecall", meter_provider=meter_provider)
        self._session_ids = session_ids
        self._codes = Codes()
        self._seconds = self._meter.create_histogram(
            "rolecall.operation.duration", "s", "Durations of calls, hooks and calls of the store"
        )
        self._events = self._meter.create_counter("rolecall.events", "{event}", "Events")

    @hookimpl
    def rolecall_startup(self, kit: Any) -> None:
        """Show the lag of the kit's store, if there is one."""
        if kit.store_lag() is not None:
            about = "Time since this process was last in step with its store"
            self._meter.create_observable_gauge("rolecall.store.lag", [_Lag(kit)], "s", about)

    @hookimpl
    def rolecall_observe(self, operation: Operation) -> AbstractContextManager[None]:
        """Trace an operation."""
        return _Traced(self, operation)

    @hookimpl
    def rolecall_on_event(self, event: Event) -> None:
        """Count the event."""
        attributes = {"rolecall.event.name": event.name}
        if code := self._codes.label(getattr(event, "code", None)):
            attributes["rolecall.code"] = code
        self._events.add(1, attributes)

    def begin(self, operation: Operation) -> Span:
        """Begin the span of an operation."""
        attributes = _attributes(operation)
        if self._session_ids and operation.session_id is not None:
            attributes["rolecall.session.id"] = operation.session_id
        return self._tracer.start_span(_span_name(operation), attributes=attributes)

    def end(self, operation: Operation, span: Span, seconds: float, error: BaseException | None) -> None:
        """End the span of an operation, and take note of its duration."""
        outcome = {
            name: self._codes.label(value)
            for name, value in (("rolecall.code", code_of(error)), ("error.type", fault_of(error)))
            if value is not None
        }
        if "error.type" in outcome:
            span.set_status(Status(StatusCode.ERROR))
        for name, value in outcome.items():
            span.set_attribute(name, value)
        span.end()
        self._seconds.record(seconds, {**_attributes(operation), **outcome})


class _Traced(AbstractContextManager[None]):
    __slots__ = ("_began", "_operation", "_span", "_telemetry", "_token")

    def __init__(self, telemetry: OpenTelemetry, operation: Operation) -> None:
        self._telemetry = telemetry
        self._operation = operation

    def __enter__(self) -> None:
        self._span = self._telemetry.begin(self._operation)
        self._token = context.attach(trace.set_span_in_context(self._span))
        self._began = perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        seconds = perf_counter() - self._began
        if not isinstance(error, GeneratorExit):  # a coroutine that is thrown away may be so in another context
            context.detach(self._token)
        self._telemetry.end(self._operation, self._span, seconds, error)


class _Lag:
    """The lag of a kit's store, looked up when it is asked for."""

    def __init__(self, kit: Rolecall) -> None:
        self._kit = kit

    def __call__(self, options: CallbackOptions) -> Iterable[Observation]:
        lag = self._kit.store_lag()
        return [] if lag is None or not isfinite(lag) else [Observation(lag)]


def _span_name(operation: Operation) -> str:
    if operation.kind == "call":
        return f"rolecall.{operation.name}"
    return f"rolecall.{operation.kind}.{operation.name.removeprefix('rolecall_')}"


def _attributes(operation: Operation) -> dict[str, str]:
    attributes = {"rolecall.operation.kind": operation.kind, "rolecall.operation.name": operation.name}
    return {**attributes, "rolecall.plugin.name": operation.plugin} if operation.plugin else attributes
