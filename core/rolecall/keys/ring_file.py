"""Ring files: documents with rings that only their owner can read."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Final

from ..errors import ConfigurationError, InvalidKey
from .ring import KeyRing
from .ring_document import MAX_DOCUMENT, Change, Parsed, RingDocument
from .states import RingKey

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, where the administrator changes a ring file alone
    fcntl = None

#: The seconds for which a change waits for another one.
_LOCK_WAIT: Final = 10.0


class RingFile:
    """A file with rings, by the ids of their issuers: API keys, and ids of applications.

    :param path: the file. It need not exist before the first change.
    """

    source: Final = "ring file"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        #: The path of the file.
        self.path = os.fspath(path)
        self._document = RingDocument()

    def __repr__(self) -> str:
        return f"<RingFile {self.path!r}>"

    @property
    def described(self) -> str:
        """The file, in words for a message."""
        return f"the ring file {self.path!r}"

    def read(self) -> dict[str, tuple[RingKey, ...]]:
        """The entries of each issuer's ring.

        :raises InvalidKey: says where the file is wrong, and quotes no key.
        """
        return self._read()[1]

    def rings(self) -> Callable[[str], KeyRing | None]:
        """Read the file, and return a function from an issuer to its ring, or None.

        :raises InvalidKey: as :meth:`read`.
        """
        return {issuer: KeyRing.of(entries) for issuer, entries in self.read().items()}.get

    def change(self, issuer: str, change: Change) -> tuple[RingKey, ...]:
        """Change the ring of one issuer, and return its entries. Others wait meanwhile, and see all of it or nothing.

        :param change: makes the new entries of the old ones.
        :raises InvalidKey: for a change that is refused, and for a file that cannot be read or written.
        """
        rings: Parsed = {}
        text = ""
        try:
            with self._locked():
                if os.path.exists(self.path):
                    rings, _ = self._read()
                entries, text = self._document.changed(rings, issuer, change)
                self._write(text)
            return entries
        finally:
            del rings, text  # so that no frame of a traceback holds them

    def _read(self) -> tuple[Parsed, dict[str, tuple[RingKey, ...]]]:
        """The rings as they stand in the file, and the entries of each."""
        try:
            rings = self._parsed()
            return rings, {issuer: self._document.entries(rings, issuer) for issuer in rings}
        except (ConfigurationError, ValueError) as error:
            problem = str(error)
        finally:
            rings = {}
        # Raised here, so that no frame of its traceback holds what was read.
        raise InvalidKey(f"{self.described} cannot be used: {problem}")

    def _parsed(self) -> Parsed:
        try:
            with open(self.path, "rb") as file:
                content = file.read(MAX_DOCUMENT + 1)
        except OSError as error:
            raise InvalidKey(error.strerror or "it cannot be read") from None
        return self._document.parse(content)

    def _write(self, text: str) -> None:
        target = os.path.realpath(self.path)
        try:
            # mkstemp makes files of mode 0600.
            descriptor, temporary = tempfile.mkstemp(prefix=".rolecall-keys-", dir=os.path.dirname(target))
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                _keep_owner(temporary, target)
                os.replace(temporary, target)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
            _sync_folder(os.path.dirname(target))
        except OSError as error:
            raise _unwritable(self.path, error) from None
        finally:
            del text  # so that no frame of a traceback holds it

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of all who change this file. Readers need none: a file is replaced as a whole."""
        if fcntl is None:
            yield
            return
        try:
            descriptor = os.open(f"{os.path.realpath(self.path)}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        try:
            deadline = time.monotonic() + _LOCK_WAIT
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise InvalidKey(f"the ring file {self.path!r} is being changed by another process") from None
                    time.sleep(0.01)
            yield
        finally:
            os.close(descriptor)


def _keep_owner(made: str, target: str) -> None:
    """Give the new file the old one's owner, if root changes a file of the app's user."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and os.path.exists(target):
        like = os.stat(target)
        os.chown(made, like.st_uid, like.st_gid)


def _sync_folder(folder: str) -> None:
    """Make the new name durable, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unwritable(path: str, error: OSError) -> InvalidKey:
    return InvalidKey(
        f"the ring file {path!r} cannot be changed: {error.strerror}; its folder must exist and be writable"
    )
