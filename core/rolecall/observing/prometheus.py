"""Metrics for Prometheus (extra ``prometheus``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ..hookspecs import Operation, hookimpl
from .outcomes import Codes, code_of, fault_of

if TYPE_CHECKING:
    from ..events import Event
    from ..kit import Rolecall

#: The upper bounds of the durations, in seconds: from a token's verification to a store's time-out.
BUCKETS: Final = (1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, inf)


class PrometheusMetrics:
    """Counts events, and shows whether the store is lost and how far this process is behind it.

    - ``rolecall_events_total``, by ``event`` and ``code``;
    - ``rolecall_store_lost``: the number of processes that have lost the store: 0 or 1 outside the multiprocess mode;
    - ``rolecall_store_lag_seconds``, for stores that are followed; not in the multiprocess mode, which has no place for
      what is looked up when it is asked for.

    :param registry: the registry of the metrics; prometheus_client's own unless given.
    :param namespace: the beginning of their names; a second kit in the same registry needs its own.
    """

    name = "prometheus"

    def __init__(self, registry: CollectorRegistry | None = None, *, namespace: str = "rolecall") -> None:
        self._codes = Codes()
        self._registry = registry or REGISTRY
        self._namespace = namespace
        about = "Events, by the code of the refusal"
        self._events = Counter("events", about, ["event", "code"], namespace=namespace, registry=self._registry)
        # Of losses, not of stores that are up: a forked worker's value begins at 0.
        self._lost = Gauge(
            "store_lost",
            "Processes that have lost their store",
            namespace=namespace,
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    @hookimpl
    def rolecall_startup(self, kit: Any) -> None:
        """Show the lag of the kit's store, if there is one."""
        if kit.store_lag() is not None:
            self._registry.register(_Lag(kit, f"{self._namespace}_store_lag_seconds"))

    @hookimpl
    def rolecall_on_event(self, event: Event) -> None:
        """Count the event."""
        self._events.labels(event.name, self._codes.label(getattr(event, "code", None))).inc()
        if event.name in ("store_lost", "store_found"):
            self._lost.set(event.name == "store_lost")


class PrometheusDurations:
    """Measures how long calls, hooks and calls of the store take: ``rolecall_operation_seconds``.

    Its labels are ``kind``, ``name`` and ``plugin``, as in ``rolecall.hookspecs.Operation``, and ``code``: that of a
    refusal, or the type of an exception.

    :param registry: the registry of the metric; prometheus_client's own unless given.
    :param namespace: the beginning of its name.
    """

    name = "prometheus-durations"

    def __init__(self, registry: CollectorRegistry | None = None, *, namespace: str = "rolecall") -> None:
        self._codes = Codes()
        self._seconds = Histogram(
            "operation_seconds",
            "Durations of calls, hooks and calls of the store",
            ["kind", "name", "plugin", "code"],
            namespace=namespace,
            registry=registry or REGISTRY,
            buckets=BUCKETS,
        )

    @hookimpl
    def rolecall_observe(self, operation: Operation) -> AbstractContextManager[None]:
        """Measure an operation."""
        return _Measured(self, operation)

    def observe(self, operation: Operation, seconds: float, error: BaseException | None) -> None:
        """Take note of an operation that has ended."""
        code = self._codes.label(code_of(error) or fault_of(error))
        self._seconds.labels(operation.kind, operation.name, operation.plugin, code).observe(seconds)


class _Measured(AbstractContextManager[None]):
    __slots__ = ("_began", "_durations", "_operation")

    def __init__(self, durations: PrometheusDurations, operation: Operation) -> None:
        self._durations = durations
        self._operation = operation

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._durations.observe(self._operation, perf_counter() - self._began, error)


class _Lag(Collector):
    """The lag of a kit's store, looked up when it is asked for."""

    def __init__(self, kit: Rolecall, name: str) -> None:
        self._kit = kit
        self._name = name

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        lag = self._kit.store_lag()
        yield self._family(inf if lag is None else lag)

    def _family(self, value: float | None = None) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._name, "Seconds since this process was last in step with its store", value)
