"""The keys of a kit: listed, changed in process or in the ring file, and read again when files or plugins change."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import ConfigurationError, InvalidKey, PluginError
from ..keys import Key, KeyRing
from ..keys.issuers import Issuer
from ..keys.making import has_private_keys
from ..keys.states import KeyState, RingKey
from ..plugins import Plugins
from ..wording import shown, shown_key

if TYPE_CHECKING:
    from ..engine.state import State
    from ..keys.ring_document import Change
    from ..keys.ring_file import RingFile
    from .key_watch import KeyWatch

#: The rings of issuers whose keys are not in arguments, by their ids.
ReadRings = Callable[[], Mapping[str, KeyRing]]

_LOG: Final = logging.getLogger("rolecall")
_HOOK: Final = "rolecall_signing_keys"
_IN_ARGUMENTS: Final = "arguments"
_IN_FILE: Final = "ring file"
_IN_ENVIRONMENT: Final = "files of the environment"


class KeyInfo(NamedTuple):
    """A key of a kit, without its secret.

    :param issuer: the API key, the application's id, or the issuer's URL.
    :param id: the key's id: the thumbprint (RFC 7638) of its public half, or 16 hexadecimal digits that a secret gives.
    :param state: ``"published"``, ``"signing"``, ``"verifying"`` or ``"retired"``.
    :param algorithm: the ``alg`` of its tokens.
    :param since: the time of its last change of state, in Unix seconds; None if it is unknown.
    :param retires_from: the time from which it can be retired without refusing a live token; None if it is unknown.
    :param source: where it comes from: ``"arguments"``, ``"ring file"``, ``"files of the environment"``, or a plugin.
    """

    issuer: str
    id: str
    state: KeyState
    algorithm: str
    since: float | None
    retires_from: float | None
    source: str


class KeySources:
    """The keys that are no arguments of a kit: those in its ring file, and those of plugins.

    :param path: the ring file's path, if there is one.
    """

    def __init__(self, path: object, plugins: Plugins) -> None:
        self.file = None if path is None else _ring_file(path)
        self._plugins = plugins
        self.asks_plugins = plugins.has(_HOOK)
        #: By issuer, where its keys come from.
        self.sources: dict[str, str] = {}

    def __call__(self, issuer: str) -> KeyRing | None:
        """The ring of an issuer; None if none of them has one.

        :raises ConfigurationError: for a ring that is wrong, and for two of them.
        """
        found = self._of_plugins(issuer)
        if self.file is not None and (ring := self.file.rings()(issuer)) is not None:
            if found is not None:
                raise ConfigurationError(
                    f"the keys of {shown_key(issuer)} are in the ring file, and {self.sources[issuer]} has some, too; "
                    "leave one of the two out"
                )
            self.sources[issuer] = _IN_FILE
            return ring
        return found

    def _of_plugins(self, issuer: str) -> KeyRing | None:
        if not self.asks_plugins:
            return None
        answers = [*self._plugins.registered(_HOOK, issuer)]
        if len(answers) > 1:
            names = " and ".join(plugin for plugin, _ in answers)
            raise PluginError(f"{names} have keys for {shown_key(issuer)}; one plugin answers for an issuer")
        for plugin, answer in answers:
            self.sources[issuer] = f"plugin {plugin}"
            try:
                return answer if isinstance(answer, KeyRing) else KeyRing(answer)
            except InvalidKey as error:
                raise PluginError(f"plugin {plugin}: {_HOOK}: {error}") from None
        return None


class Keys:
    """The keys of a kit's issuers; it is ``kit.keys``.

    Iterating over it yields a :class:`KeyInfo` for each key. Its methods may read and write the ring file, so async
    code calls them on a thread.
    """

    def __init__(self, state: State, issuers: tuple[Issuer, ...], sources: KeySources, longest_life: float) -> None:
        self._state = state
        self._issuers = {issuer.id: issuer for issuer in issuers}
        self._elsewhere = sources
        self._longest_life = longest_life
        self._from_environment: ReadRings | None = None
        self._lock = threading.Lock()
        self._watch: KeyWatch | None = None
        of_plugins = [one for one in sources.sources.values() if one != _IN_FILE]
        if sources.file is not None or of_plugins:
            self._follow([] if sources.file is None else [sources.file.path], asks_plugins=bool(of_plugins))

    def __iter__(self) -> Iterator[KeyInfo]:
        for issuer in self._issuers.values():
            for entry in issuer.ring.entries:
                yield self._info(issuer.id, entry)

    def __repr__(self) -> str:
        return f"<Keys {[(one.issuer, one.id, one.state) for one in self]}>"

    def add(self, key: Key | str | bytes | None = None, *, issuer: str | None = None) -> KeyInfo:
        """Publish a further key: from now on it verifies, and :meth:`rotate` has it sign.

        With a ring file it is written there, and all workers know it within two seconds. Otherwise this process alone
        knows it.

        :param key: a secret, the PEM text of a private key, or a key; with a ring file a new one unless given.
        :param issuer: the API key, the application's id, or the issuer's URL; the first one unless given.
        :raises InvalidKey: for a key that is wrong, or known already.
        """
        from ..keys.making import key_of, new_key
        from ..keys.rotation import added

        owner = self._named(issuer)
        try:
            if key is None and self._source(owner) != _IN_FILE:
                raise InvalidKey("pass the key, too: a new one would be gone with this process; or use a ring file")
            if key is None:
                key = new_key(owner.id)
            elif isinstance(key, str | bytes):
                key = key_of(owner.id, key)
            made: Key = key
            return self._changed(owner, lambda entries: added(entries, made, self._now()), lambda entries: entries[-1])
        finally:
            del key

    def rotate(self, id: str | None = None, *, issuer: str | None = None, force: bool = False) -> KeyInfo:
        """Have another key sign; the one that signed until now verifies.

        :param id: the key, or the beginning of its id; the one that is published unless given.
        :param force: sign at once, though other workers and verifiers may not know the key yet.
        :raises InvalidKey: if there is no such key, or it was published too short a time ago.
        """
        from ..keys.rotation import rotated

        return self._changed(
            self._named(issuer),
            lambda entries: rotated(entries, id, self._now(), force=force),
            lambda entries: next(one for one in entries if one.state == "signing"),
        )

    def retire(
        self,
        id: str,
        *,
        issuer: str | None = None,
        longest_life: float | timedelta | None = None,
        force: bool = False,
    ) -> KeyInfo:
        """Have a key verify no more. What it signed is refused from then on; sessions that the store knows stay.

        :param id: the key, or the beginning of its id.
        :param longest_life: how long tokens of this key live at most, in seconds or as a ``timedelta``; 30 days unless
            given.
        :param force: retire it at once, as a leaked key.
        :raises InvalidKey: for the key that signs, and for one whose tokens may be alive.
        """
        from ..keys.rotation import named, retired

        life = self._life(longest_life)
        return self._changed(
            self._named(issuer),
            lambda entries: retired(entries, id, self._now(), life, force=force),
            lambda entries: named(entries, id),
        )

    def reload(self) -> None:
        """Read the ring file, the files of the environment, and the keys of plugins again, and use what has changed.

        A thread of the kit does so by itself: for files within two seconds of a change, for plugins each minute.

        :raises ConfigurationError: if they cannot be read; then all keys stay as they were.
        """
        with self._lock:
            rings = self._read()
            for issuer in self._issuers.values():
                ring = rings.get(issuer.id)
                if ring is not None and ring.entries != issuer.ring.entries:
                    self._state.replace_ring(issuer, ring)
                    _LOG.info("the keys of %s have changed", _shown_id(issuer.id))

    def follow_environment(self, paths: list[str], read: ReadRings) -> None:
        """Follow the files that variables of the environment name.

        :param read: reads the rings in them.
        """
        self._from_environment = read
        self._follow(paths, asks_plugins=False)

    def begin_anew(self) -> None:
        """Release the lock, which a thread of the parent may have held, in a forked child."""
        self._lock = threading.Lock()

    @property
    def elsewhere(self) -> KeySources:
        """The keys that are no arguments."""
        return self._elsewhere

    def close(self) -> None:
        """Stop following. Closing again changes nothing."""
        if self._watch is not None:
            self._watch.close()

    def _read(self) -> dict[str, KeyRing]:
        rings = dict(self._from_environment()) if self._from_environment is not None else {}
        for issuer in [one for one in self._elsewhere.sources if one in self._issuers]:
            ring = self._elsewhere(issuer)
            if ring is None:
                raise InvalidKey(
                    f"there are no keys of {_shown_id(issuer)} any more; put them back, or leave it out of the kit"
                )
            rings[issuer] = ring
        return rings

    def _changed(self, owner: Issuer, change: Change, pick: Callable[[tuple[RingKey, ...]], RingKey]) -> KeyInfo:
        """Change a ring where it is kept, and return the key that has changed.

        :param pick: finds that key among the new entries.
        """
        source, file = self._source(owner), self._elsewhere.file
        if source == _IN_FILE and file is not None:
            entries = file.change(owner.id, change)
            self.reload()
        elif source == _IN_ARGUMENTS:
            with self._lock:
                entries = change(owner.ring.entries)
                self._state.replace_ring(owner, KeyRing.of(entries))
        else:
            raise InvalidKey(
                f"the keys of {_shown_id(owner.id)} come from the {source}; change them there, and kit.keys.reload() "
                "reads them at once"
            )
        return self._info(owner.id, pick(entries))

    def _follow(self, paths: list[str], *, asks_plugins: bool) -> None:
        from .key_watch import KeyWatch

        if self._watch is None:
            self._watch = KeyWatch(self)
        self._watch.follow(paths, asks_plugins=asks_plugins)

    def _source(self, owner: Issuer) -> str:
        source = self._elsewhere.sources.get(owner.id)
        if source is None:
            source = _IN_ARGUMENTS if self._from_environment is None else _IN_ENVIRONMENT
        return source

    def _info(self, issuer: str, entry: RingKey) -> KeyInfo:
        from ..keys.rotation import retires_from

        owner = self._issuers[issuer]
        from_then = retires_from(entry, self._longest_life)
        return KeyInfo(issuer, entry.id, entry.state, entry.algorithm, entry.since, from_then, self._source(owner))

    def _named(self, issuer: str | None) -> Issuer:
        if not self._issuers:
            raise ConfigurationError("this kit only verifies, and has no keys of its own")
        if issuer is None:
            return next(iter(self._issuers.values()))
        if issuer not in self._issuers:
            raise ConfigurationError(f"issuer is {shown_key(issuer)}; the kit's issuers are {', '.join(self._issuers)}")
        return self._issuers[issuer]

    def _life(self, given: float | timedelta | None) -> float:
        if given is None:
            return self._longest_life
        seconds = given.total_seconds() if isinstance(given, timedelta) else given
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
            raise ConfigurationError(f"longest_life is {shown(given)}; expected seconds, or a timedelta")
        return min(self._longest_life, seconds + self._state.rules.leeway)

    def _now(self) -> float:
        return int(self._state.clock())


def _shown_id(issuer: str) -> str:
    """The id of an issuer of the kit: a URL and a UUID as they are, because no secret has been taken for one."""
    return issuer if has_private_keys(issuer) else shown_key(issuer)


def _ring_file(path: object) -> RingFile:
    from ..keys.ring_file import RingFile

    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ConfigurationError(f"keys_file is {shown(path)}; expected the path of a ring file")
    return RingFile(path)
