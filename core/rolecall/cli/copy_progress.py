"""The file in which a copy keeps its progress, so that it can be killed at any moment."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import ConfigurationError
from ..stores.copy_marks import drop_marks, has_mark, keep_mark, new_mark
from ..stores.copying import Copied
from ..stores.synchronous import SyncUpkeep

#: The seconds for which the target knows that a copy to it has begun: a copy is resumed within this time.
RESUMABLE: Final = 30 * 86_400.0
_OTHER_TARGET: Final = (
    "TO does not know of the copy that the file of --resume belongs to: it was replaced or restored since, or the copy "
    "began a month ago; remove the file, so that the copy begins anew"
)


class CopyProgress:
    """The progress of one copy, in a file or nowhere.

    :param path: the file, readable for its owner alone because it may hold ids; None for none.
    :param source: what tells the source from other stores; only its hash is written.
    :param target: the same of the target.
    """

    def __init__(self, path: Path | None, source: str, target: str) -> None:
        self._path = path
        # Held in the target as a lease, so that another store in its place is noticed.
        self._mark = new_mark()
        self._stores = hashlib.sha256(json.dumps([source, target]).encode()).hexdigest()

    @property
    def continuation(self) -> str:
        """What follows if the same command is given again before the copy has ended."""
        if self._path is None:
            return "the same command begins anew, which does no harm; with --resume FILE a copy continues"
        return "the same command continues there, by the file of --resume"

    def read(self) -> Copied | None:
        """The state that was written last; None if there is none.

        :raises ConfigurationError: if the file is of another copy, or no progress of a copy.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            stores, state = kept["stores"], Copied.from_json(json.dumps(kept["state"]))
            mark = str(kept["mark"])
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigurationError(
                "the file of --resume cannot be read as the progress of a copy; name another file, or remove it"
            ) from None
        if stores != self._stores:
            raise ConfigurationError(
                "the file of --resume belongs to a copy of other stores; name another file, or remove it"
            )
        self._mark = mark
        return state

    def begin(self, target: SyncUpkeep, state: Copied | None, now: float) -> None:
        """Mark the target as that of this copy; of a copy that is resumed, check the mark.

        :param state: the state that is resumed; None for a copy that begins.
        :param now: in Unix seconds.
        :raises ConfigurationError: if the target does not have the mark.
        """
        if self._path is None or not target.has_leases:
            return
        if state is None:
            keep_mark(target, self._mark, now + RESUMABLE)
        elif not has_mark(target, self._mark, now):
            raise ConfigurationError(_OTHER_TARGET)

    def end(self, target: SyncUpkeep) -> None:
        """Remove the file, and all marks from the target: the next copy begins anew."""
        if self._path is not None:
            with suppress(FileNotFoundError):
                self._path.unlink()
        # Also those of copies that were killed before their file was written, or that were begun anew without it.
        drop_marks(target)

    def write(self, state: Copied) -> None:
        """Replace the file, so that it is the old or the new state if the process is killed meanwhile."""
        if self._path is None or state.kind is None:
            return
        beside = self._path.with_name(self._path.name + ".new")
        kept = {"stores": self._stores, "mark": self._mark, "state": json.loads(state.as_json())}
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(kept, file)
        os.replace(beside, self._path)
