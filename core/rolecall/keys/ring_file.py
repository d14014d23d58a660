"""Ring files: the keys of several issuers with their states, as JSON that only its owner can read."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from types import ModuleType
from typing import Any, Final

from ..encoding import strict_json
from ..errors import ConfigurationError, InvalidKey
from ..wording import kind, shown
from .hmac import HMACKey
from .key import MAX_KID_LENGTH, Key
from .making import has_private_keys, key_of, pem_of
from .ring import KeyRing, problem_with_states
from .states import STATES, RingKey, key_id

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, where the administrator changes a ring file alone
    fcntl = None

#: How many bytes of a ring file are read at most: some 300 secrets, or 100 private keys.
MAX_FILE: Final = 262_144
_MAX_KEYS: Final = 1024
#: How many retired keys are remembered, so that they do not come back.
_KEPT_RETIRED: Final = 100
#: The seconds for which a change waits for another one.
_LOCK_WAIT: Final = 10.0
_MEMBERS: Final = frozenset({"id", "state", "since", "algorithm", "secret", "private_key"})

Change = Callable[[Sequence[RingKey]], tuple[RingKey, ...]]


class RingFile:
    """A file with rings, by the ids of their issuers: API keys, and ids of applications.

    :param path: the file. It need not exist before the first change.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        #: The path of the file.
        self.path = os.fspath(path)
        # Keys by the digest of their text, because to load a private key takes 40 ms.
        self._loaded: dict[bytes, Key] = {}

    def __repr__(self) -> str:
        return f"<RingFile {self.path!r}>"

    def read(self) -> dict[str, tuple[RingKey, ...]]:
        """The entries of each issuer's ring.

        :raises InvalidKey: says where the file is wrong, and quotes no key.
        """
        try:
            return self._read()
        except (ConfigurationError, ValueError) as error:
            problem = str(error)
        # Raised here, so that no frame of its traceback holds what was read.
        raise InvalidKey(f"the ring file {self.path!r} cannot be used: {problem}")

    def rings(self) -> dict[str, KeyRing]:
        """The ring of each issuer.

        :raises InvalidKey: as :meth:`read`.
        """
        return {issuer: KeyRing.of(entries) for issuer, entries in self.read().items()}

    def change(self, issuer: str, change: Change) -> tuple[RingKey, ...]:
        """Change the ring of one issuer, and return its entries. Others wait meanwhile, and see all of it or nothing.

        :param change: makes the new entries of the old ones.
        :raises InvalidKey: for a change that is refused, and for a file that cannot be read or written.
        """
        with self._locked():
            rings = self.read() if os.path.exists(self.path) else {}
            entries = change(rings.get(issuer, ()))
            KeyRing.of(entries)  # checks it
            forgotten = {one.id for one in [one for one in entries if one.state == "retired"][:-_KEPT_RETIRED]}
            entries = tuple(one for one in entries if one.id not in forgotten)
            self._write({**rings, issuer: entries})
        return entries

    def _read(self) -> dict[str, tuple[RingKey, ...]]:
        try:
            with open(self.path, "rb") as file:
                content = file.read(MAX_FILE + 1)
        except OSError as error:
            raise InvalidKey(error.strerror or "it cannot be read") from None
        if len(content) > MAX_FILE:
            raise InvalidKey(f"it has more than {MAX_FILE} bytes")
        document = strict_json.loads(content.strip(), _MAX_KEYS)
        if document.get("version") != 1:
            raise InvalidKey("its version is not 1")
        issuers = document.get("issuers")
        if set(document) != {"version", "issuers"} or not isinstance(issuers, Mapping):
            raise InvalidKey("it has other members than 'version' and 'issuers'")
        return {issuer: self._entries(issuer, found) for issuer, found in issuers.items()}

    def _entries(self, issuer: str, found: object) -> tuple[RingKey, ...]:
        if not isinstance(found, tuple):
            raise InvalidKey(f"the issuer {shown(issuer, 36)} is {kind(found)}; expected a list of keys")
        entries = []
        for number, one in enumerate(found, 1):
            try:
                entries.append(self._entry(issuer, one))
            except ConfigurationError as error:
                raise InvalidKey(f"key {number} of {shown(issuer, 36)}: {error}") from None
        problem = problem_with_states(entries)
        if problem is not None:
            raise InvalidKey(f"{shown(issuer, 36)}: {problem}")
        return tuple(entries)

    def _entry(self, issuer: str, found: object) -> RingKey:
        if not isinstance(found, Mapping) or not _MEMBERS.issuperset(found):
            raise InvalidKey(f"expected an object with members among {', '.join(sorted(_MEMBERS))}")
        state, since = found.get("state"), found.get("since")
        if state not in STATES:
            raise InvalidKey(f"its state is {shown(state)}; the states are {', '.join(STATES)}")
        if since is not None and (isinstance(since, bool) or not isinstance(since, int | float)):
            raise InvalidKey(f"its since is {shown(since)}; expected Unix seconds")
        if state == "retired":
            return _retired(found, since)
        key = self._key(issuer, found)
        if found.get("id", key_id(key)) != key_id(key):
            raise InvalidKey(f"its id is {shown(found['id'], 43)}, and its key's is {key_id(key)}; leave the id out")
        return RingKey.of(key, state, since)

    def _key(self, issuer: str, found: Mapping[str, Any]) -> Key:
        name, other = ("private_key", "secret") if has_private_keys(issuer) else ("secret", "private_key")
        text = found.get(name)
        if not isinstance(text, str) or other in found:
            raise InvalidKey(f"expected its {name!r} as text, and no {other!r}")
        digest = sha256(f"{issuer}:{text}".encode("utf-8", "surrogatepass")).digest()
        if digest not in self._loaded:
            self._loaded[digest] = key_of(issuer, text)
        return self._loaded[digest]

    def _write(self, rings: Mapping[str, Sequence[RingKey]]) -> None:
        document = {"version": 1, "issuers": {name: [*map(_plain, entries)] for name, entries in rings.items()}}
        target = os.path.realpath(self.path)
        try:
            # mkstemp makes files of mode 0600.
            descriptor, temporary = tempfile.mkstemp(prefix=".rolecall-keys-", dir=os.path.dirname(target))
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    json.dump(document, file, indent=2, ensure_ascii=False)
                    file.write("\n")
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


def _retired(found: Mapping[str, Any], since: float | None) -> RingKey:
    name, algorithm = found.get("id"), found.get("algorithm", "")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_KID_LENGTH or not isinstance(algorithm, str):
        raise InvalidKey("a retired key has its id as text")
    return RingKey(name, "retired", algorithm, since)


def _plain(entry: RingKey) -> dict[str, Any]:
    plain: dict[str, Any] = {"id": entry.id, "state": entry.state, "algorithm": entry.algorithm, "since": entry.since}
    if entry.key is not None:
        plain |= _material(entry.key)
    return {name: value for name, value in plain.items() if value is not None}


def _material(key: Key) -> dict[str, str]:
    from .pem import PrivateKey

    if isinstance(key, HMACKey):
        try:
            return {"secret": key._material.decode()}
        except UnicodeDecodeError:
            raise InvalidKey("a secret in a ring file is text in UTF-8; make another one") from None
    if isinstance(key, PrivateKey):
        return {"private_key": pem_of(key._private).decode()}
    raise InvalidKey("a ring file holds secrets and private keys alone; a key of another kind comes from a plugin")


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
