"""No mutation of a real token is accepted; see ``tests/fuzz/mutate_tokens.py`` for the long run."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from rolecall import Rolecall


@pytest.fixture(scope="module")
def fuzz():
    path = Path(__file__).parents[2] / "fuzz" / "mutate_tokens.py"
    spec = spec_from_file_location("mutate_tokens", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["mutate_tokens"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutate_tokens"]


@pytest.fixture(scope="module")
def report(fuzz):
    return fuzz.run(20_000, seed=20261120)


def test_no_changed_token_is_accepted(report):
    assert report.accepted == []


def test_nothing_but_errors_of_the_kit_escapes(report):
    assert report.escaped == []


def test_a_mutation_that_changed_nothing_is_accepted(report):
    assert report.refused_originals == []
    assert report.identical > 0


def test_every_mutation_is_accounted_for(report):
    assert report.count == report.identical + sum(report.refusals.values()) == 20_000


def test_the_mutations_reach_behind_the_first_check(report):
    assert report.refusals["MalformedToken"] > 1000
    assert report.refusals["BadSignature"] > 1000
    assert report.refusals["WrongTokenKind"] > 100
    assert report.refusals["UnknownKey"] > 50


def test_every_mutator_is_used(report, fuzz):
    assert {mutator.__name__ for mutator in fuzz.MUTATORS} <= set(report.mutators)


def test_tokens_of_all_sdks_and_both_formats_are_mutated(fuzz):
    with Rolecall(fuzz.API_KEY, fuzz.API_SECRET, accept=["opentok", "t1"], clock=lambda: fuzz.NOW) as kit:
        tokens = fuzz.real_tokens(kit)
    assert len(tokens) >= 12 + 7
    assert len([token for token in tokens if token.startswith("T1==")]) > 6
