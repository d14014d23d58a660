"""Traces and metrics for OpenTelemetry, as its SDK hands them to exporters."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from rolecall import Allow, blocking, hookimpl
from rolecall.errors import InvalidRole, PolicyFault
from rolecall.observing import OpenTelemetry


class Policy:
    name = "policy"
    broken = False

    @hookimpl
    @blocking
    def rolecall_vote_token(self, request):
        trace.get_current_span().set_attribute("app.seen", True)
        if self.broken:
            raise ValueError("s3cret")
        return Allow()


class Telemetry:
    """An app's SDK, with the spans and the metrics that it exports."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracing, self.meters = TracerProvider(), MeterProvider([self.reader])
        self.tracing.add_span_processor(SimpleSpanProcessor(self.exporter))

    def plugin(self, **options: Any) -> OpenTelemetry:
        return OpenTelemetry(tracer_provider=self.tracing, meter_provider=self.meters, **options)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        metrics = [
            one for resource in data.resource_metrics for scope in resource.scope_metrics for one in scope.metrics
        ]
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]


@pytest.fixture
def telemetry():
    telemetry = Telemetry()
    yield telemetry
    telemetry.meters.shutdown()
    telemetry.tracing.shutdown()


def parent_of(span: ReadableSpan, spans: dict[str, ReadableSpan]) -> str | None:
    return next(
        (one.name for one in spans.values() if span.parent and one.context.span_id == span.parent.span_id), None
    )


TREE = {
    "app": None,
    "rolecall.generate_token": "app",
    "rolecall.store.get_session": "rolecall.generate_token",
    "rolecall.hook.vote_token": "rolecall.generate_token",
    "rolecall.hook.on_event": "rolecall.generate_token",
}


def test_a_call_is_a_span_in_the_app_s_and_its_hooks_and_calls_of_the_store_are_within(make_kit, telemetry):
    kit = make_kit(plugins=[telemetry.plugin(), Policy()])
    session = kit.create_session()
    telemetry.exporter.clear()
    with telemetry.tracing.get_tracer("app").start_as_current_span("app"):
        session.generate_token()
    spans = telemetry.spans
    assert {name: parent_of(span, spans) for name, span in spans.items()} == TREE
    assert spans["rolecall.hook.vote_token"].attributes == {
        "rolecall.operation.kind": "hook",
        "rolecall.operation.name": "rolecall_vote_token",
        "rolecall.plugin.name": "policy",
        "app.seen": True,  # on a thread of the kit's own
    }


def test_async_code_has_the_same_spans(make_kit, telemetry):
    kit = make_kit(plugins=[telemetry.plugin(), Policy()])

    async def call() -> None:
        session = await kit.aio.create_session()
        telemetry.exporter.clear()
        with telemetry.tracing.get_tracer("app").start_as_current_span("app"):
            await asyncio.create_task(session.generate_token())

    asyncio.run(call())
    spans = telemetry.spans
    assert {name: parent_of(span, spans) for name, span in spans.items()} == TREE


def test_a_refused_client_is_no_error(make_kit, telemetry):
    session = make_kit(plugins=[telemetry.plugin()]).create_session()
    with pytest.raises(InvalidRole):
        session.generate_token("king")
    span = telemetry.spans["rolecall.generate_token"]
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes["rolecall.code"], "error.type" in span.attributes) == ("invalid_role", False)


def test_a_fault_is_an_error_and_its_message_is_not_recorded(make_kit, telemetry):
    policy = Policy()
    session = make_kit(plugins=[telemetry.plugin(), policy]).create_session()
    policy.broken = True
    with pytest.raises(PolicyFault):
        session.generate_token()
    call, hook = (telemetry.spans[f"rolecall.{name}"] for name in ("generate_token", "hook.vote_token"))
    assert [span.status.status_code for span in (call, hook)] == [StatusCode.ERROR] * 2
    assert (call.attributes["error.type"], hook.attributes["error.type"]) == ("policy_fault", "builtins.ValueError")
    exported = "".join(span.to_json() for span in telemetry.exporter.get_finished_spans())
    assert "s3cret" not in exported


@pytest.mark.parametrize("asked", [True, False])
def test_a_session_id_is_there_only_if_asked_for_and_a_token_never(make_kit, telemetry, asked):
    kit = make_kit(plugins=[telemetry.plugin(session_ids=asked)])
    session = kit.create_session()
    token = session.generate_token()
    kit.verify_token(token, session)
    with pytest.raises(Exception, match="session"):
        kit.get_session(token)
    exported = "".join(span.to_json() for span in telemetry.exporter.get_finished_spans())
    assert (session.session_id in exported) == asked
    assert token[-40:] not in exported


def test_durations_events_and_faults_are_metrics(make_kit, telemetry):
    session = make_kit(plugins=[telemetry.plugin()]).create_session()
    with pytest.raises(InvalidRole):
        session.generate_token("king")
    events = {tuple(sorted(point.attributes.values())): point.value for point in telemetry.points("rolecall.events")}
    assert events == {("session_created",): 1, ("invalid_role", "token_refused"): 1}
    durations = telemetry.points("rolecall.operation.duration")
    (refused,) = [point for point in durations if point.attributes.get("rolecall.code") == "invalid_role"]
    assert (refused.count, refused.attributes["rolecall.operation.name"]) == (1, "generate_token")
    assert telemetry.points("rolecall.store.lag") == []
