"""The file in which a copy keeps its progress, so that it can be killed at any moment."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigurationError
from ..stores.copying import Copied


class CopyProgress:
    """The progress of one copy, in a file or nowhere.

    :param path: the file, readable for its owner alone because it may hold ids; None for none.
    :param source: what tells the source from other stores; only its hash is written.
    :param target: the same of the target.
    """

    def __init__(self, path: Path | None, source: str, target: str) -> None:
        self._path = path
        self._stores = hashlib.sha256(json.dumps([source, target]).encode()).hexdigest()

    def read(self) -> Copied | None:
        """The state that was written last; None if there is none.

        :raises ConfigurationError: if the file is of another copy, or no progress of a copy.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            stores, state = kept["stores"], Copied.from_json(json.dumps(kept["state"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigurationError(
                "the file of --resume cannot be read as the progress of a copy; name another file, or remove it"
            ) from None
        if stores != self._stores:
            raise ConfigurationError(
                "the file of --resume belongs to a copy of other stores; name another file, or remove it"
            )
        return state

    def write(self, state: Copied) -> None:
        """Replace the file, so that it is the old or the new state if the process is killed meanwhile."""
        if self._path is None or state.kind is None:
            return
        beside = self._path.with_name(self._path.name + ".new")
        text = json.dumps({"stores": self._stores, "state": json.loads(state.as_json())})
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(beside, self._path)

    def remove(self) -> None:
        """Remove the file: the next copy begins anew."""
        if self._path is not None:
            with suppress(FileNotFoundError):
                self._path.unlink()
