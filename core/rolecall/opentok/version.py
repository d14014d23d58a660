"""The version of the ``opentok`` package whose names, signatures and defaults these are."""

from __future__ import annotations

from typing import Final

__version__: Final = "3.15.0"
