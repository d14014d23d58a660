"""The version of the ``opentok`` package with these names, signatures and defaults."""

from __future__ import annotations

from typing import Final

__version__: Final = "3.15.0"
