"""The public API changes on purpose alone."""

from __future__ import annotations

import pytest

from ..django_settings import configure
from .public_names import MODULES, NAMES, file_of, lines_of

configure()  # Django REST framework reads the settings as it is imported


@pytest.mark.parametrize("module", MODULES)
def test_names_and_signatures_are_those_that_were_agreed_on(module):
    # Where a change is meant: python tests/api/public_names.py, and commit what it writes.
    assert [*lines_of(module)] == file_of(module).read_text("utf-8").splitlines()


def test_no_file_is_left_of_a_module_that_is_gone():
    assert {path.stem for path in NAMES.glob("*.txt")} == set(MODULES)
