"""The keys of a kit: listed, changed in their place, and read again when files, the store or plugins change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    from ..keys.ring_document import Change, RingPlace
    from .key_watch import KeyWatch

#: The rings of issuers whose keys are not in arguments, by their ids.
ReadRings = Callable[[], Mapping[str, KeyRing]]

_LOG: Final = logging.getLogger("rolecall")
_HOOK: Final = "rolecall_signing_keys"
_IN_ARGUMENTS: Final = "arguments"
_IN_ENVIRONMENT: Final = "files of the environment"
#: The purpose for which keys are derived that are only compared.
_COMPARING: Final = "comparing"


class KeyInfo(NamedTuple):
    """A key of a kit, without its secret.

    :param issuer: the API key, the application's id, or the issuer's URL.
    :param id: the key's id: the thumbprint (RFC 7638) of its public half, or 16 hexadecimal digits that a secret gives.
    :param state: ``"published"``, ``"signing"``, ``"verifying"`` or ``"retired"``.
    :param algorithm: the ``alg`` of its tokens.
    :param since: the time of its last change of state, in Unix seconds; None if it is unknown.
    :param retires_from: the time from which it can be retired without refusing a live token; None if it is unknown.
    :param source: where it comes from: ``"arguments"``, ``"ring file"``, ``"store"``, ``"files of the environment"``,
        or a plugin.
    """

    issuer: str
    id: str
    state: KeyState
    algorithm: str
    since: float | None
    retires_from: float | None
    source: str


class KeySources:
    """The keys that are no arguments of a kit: those in its ring file or store, and those of plugins.

    :param place: the ring file, or the rings in the store; None if there is neither.
    :param paths: the files to follow for it.
    :param change: a function whose answers differ when what is in the store has changed.
    """

    def __init__(
        self,
        plugins: Plugins,
        place: RingPlace | None = None,
        paths: Iterable[str] = (),
        change: Callable[[], object] | None = None,
    ) -> None:
        self.place, self.paths, self.change = place, tuple(paths), change
        self._plugins = plugins
        self._rings: Callable[[str], KeyRing | None] | None = None
        self.asks_plugins = plugins.has(_HOOK)
        #: By issuer, where its keys come from.
        self.sources: dict[str, str] = {}

    def __call__(self, issuer: str, *, needed: bool = False) -> KeyRing | None:
        """The ring of an issuer, as of the last call of :meth:`renew`; None if none of them has one.

        :param needed: whether the issuer has no other keys.
        :raises ConfigurationError: for a ring that is wrong, for two of them, and if one that is needed is not there.
        """
        found = self._of_plugins(issuer)
        ring = self._in_place(issuer)
        if ring is None or self.place is None:
            if needed and found is None and self.place is not None:
                raise InvalidKey(
                    f"{self.place.described} has no keys of {_shown_id(issuer)}; make the first one with: "
                    "rolecall keys add"
                )
            return found
        if found is not None:
            raise ConfigurationError(
                f"the keys of {shown_key(issuer)} are in the {self.place.source}, and {self.sources[issuer]} has some, "
                "too; leave one of the two out"
            )
        self.sources[issuer] = self.place.source
        return ring

    def renew(self) -> None:
        """Read the ring file, or the store, again at the next question."""
        self._rings = None

    def _in_place(self, issuer: str) -> KeyRing | None:
        if self.place is None:
            return None
        if self._rings is None:
            self._rings = self.place.rings()
        return self._rings(issuer)

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

    Iterating over it yields a :class:`KeyInfo` for each key. Its methods may read and write the ring file, or the
    store, so async code calls them on a thread.
    """

    def __init__(self, state: State, issuers: tuple[Issuer, ...], sources: KeySources, longest_life: float) -> None:
        self._state = state
        self._issuers = {issuer.id: issuer for issuer in issuers}
        self._elsewhere = sources
        self._longest_life = longest_life
        self._from_environment: ReadRings | None = None
        self._lock = threading.Lock()
        self._watch: KeyWatch | None = None
        # By issuer, the ids of keys of which this process knows that they were retired.
        self._retired: dict[str, set[str]] = {}
        sources.renew()
        from_elsewhere = {*sources.sources.values()}
        if sources.place is not None:
            from_elsewhere.discard(sources.place.source)
        changes = [] if sources.change is None else [sources.change]
        asks = bool(from_elsewhere or changes)
        if sources.paths or asks:
            self._follow(sources.paths, changes, asks_each_minute=asks)

    def __iter__(self) -> Iterator[KeyInfo]:
        for issuer in self._issuers.values():
            for entry in issuer.ring.entries:
                yield self._info(issuer.id, entry)

    def weak(self, least: float) -> Iterator[tuple[KeyInfo, float]]:
        """The secrets that may be guessed, each with its entropy: in bits, the most that it has by its look.

        :param least: the entropy from which on a secret is strong enough, in bits.
        """
        from ..keys import HMACKey

        for issuer in self._issuers.values():
            for entry in issuer.ring.entries:
                if isinstance(entry.key, HMACKey) and (bits := entry.key.strength()) < least:
                    yield self._info(issuer.id, entry), bits

    def holds(self, key: Key) -> bool:
        """Whether a key of something else is the same as one of these: each is to have a secret of its own."""
        print_of = key.derive(_COMPARING)
        return any(own.derive(_COMPARING) == print_of for issuer in self._issuers.values() for own in issuer.ring)

    def __repr__(self) -> str:
        return f"<Keys {[(one.issuer, one.id, one.state) for one in self]}>"

    def add(self, key: Key | str | bytes | None = None, *, issuer: str | None = None) -> KeyInfo:
        """Publish a further key: from now on it verifies, and :meth:`rotate` has it sign.

        With a ring file, or keys in the store, it is written there, and all workers know it within two seconds.
        Otherwise this process alone knows it.

        :param key: a secret, the PEM text of a private key, or a key; with a ring file, or keys in the store, a new one
            unless given.
        :param issuer: the API key, the application's id, or the issuer's URL; the first one unless given.
        :raises InvalidKey: for a key that is wrong, or known already.
        """
        from ..keys.making import key_of, new_key
        from ..keys.rotation import added

        owner = self._named(issuer)
        try:
            if key is None and not self._is_in_place(owner):
                raise InvalidKey(
                    "pass the key, too: a new one would be gone with this process; or use a ring file, or keys in the "
                    "store"
                )
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
        """Read the ring file or the store, the files of the environment, and the keys of plugins again, and use what
        has changed.

        A thread of the kit does so by itself: for files and the store within two seconds of a change, for plugins each
        minute.

        :raises ConfigurationError: if they cannot be read, or a retired key is back; then all keys stay as they were.
        :raises StoreUnavailable: if the store does not answer; likewise.
        """
        with self._lock:
            rings = self._read()
            for issuer in self._issuers.values():
                if issuer.id in rings:
                    self._refuse_retired(issuer, rings[issuer.id].entries)
            for issuer in self._issuers.values():
                ring = rings.get(issuer.id)
                if ring is not None and ring.entries != issuer.ring.entries:
                    self._state.replace_ring(issuer, ring)
                    _LOG.info("the keys of %s have changed", _shown_id(issuer.id))

    def follow_environment(self, paths: Iterable[str], read: ReadRings) -> None:
        """Follow the files that variables of the environment name.

        :param read: reads the rings in them.
        """
        self._from_environment = read
        self._follow(paths)

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

    def _refuse_retired(self, issuer: Issuer, entries: Sequence[RingKey]) -> None:
        """Refuse entries among which a retired key is back, as in a backup: it may have leaked."""
        retired = self._retired.setdefault(issuer.id, set())
        retired.update(one.id for one in issuer.ring.entries if one.state == "retired")
        back = next((one.id for one in entries if one.state != "retired" and one.id in retired), None)
        if back is not None:
            raise InvalidKey(
                f"the key {back} of {_shown_id(issuer.id)} was retired, and verifies again by the "
                f"{self._source(issuer)}: an older state was put back there; put the newest one back, or retire the "
                "key there once more"
            )

    def _read(self) -> dict[str, KeyRing]:
        self._elsewhere.renew()
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

        def checked(before: Sequence[RingKey]) -> tuple[RingKey, ...]:
            after = change(before)
            self._refuse_retired(owner, after)
            return after

        source, place = self._source(owner), self._elsewhere.place
        if place is not None and source == place.source:
            entries = place.change(owner.id, checked)
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

    def _follow(
        self, paths: Iterable[str], changes: Iterable[Callable[[], object]] = (), *, asks_each_minute: bool = False
    ) -> None:
        from .key_watch import KeyWatch

        if self._watch is None:
            self._watch = KeyWatch(self)
        self._watch.follow(paths, changes, asks_each_minute=asks_each_minute)

    def _is_in_place(self, owner: Issuer) -> bool:
        return self._elsewhere.place is not None and self._source(owner) == self._elsewhere.place.source

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
