"""The steps of a key's life: publish, sign, retire. Each makes the entries of the next ring, and refuses what hurts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from ..errors import InvalidKey
from ..wording import moment, shown
from .key import Key
from .states import RingKey, key_id

#: The seconds for which a secret is published before it signs: other workers read a ring file within one or two.
PUBLISHED_SECRET: Final = 10
#: The same for a key with a public half: verifiers elsewhere keep a key set for up to an hour.
PUBLISHED_KEY: Final = 3600
_SHORTEST_PREFIX: Final = 4


def added(entries: Sequence[RingKey], key: Key, now: float) -> tuple[RingKey, ...]:
    """The entries with a further key, which is published; the first key of all signs at once.

    :raises InvalidKey: for a key that is in the ring, or was in it.
    """
    known = next((one for one in entries if one.id == key_id(key)), None)
    if known is not None and known.state == "retired":
        raise InvalidKey(f"the key {known.id} was retired, and a retired key never comes back; make a new one")
    if known is not None:
        raise InvalidKey(f"the key {known.id} is in the ring already: it is {known.state}")
    return *entries, RingKey.of(key, "published" if entries else "signing", now)


def rotated(entries: Sequence[RingKey], id: str | None, now: float, *, force: bool = False) -> tuple[RingKey, ...]:
    """The entries with another key that signs; the one that signed until now verifies.

    :param id: the key to sign with, or the beginning of its id; None: the only one that is published.
    :param force: sign at once, though other workers and verifiers may not know the key yet.
    :raises InvalidKey: if there is no such key, or it is too early.
    """
    chosen = _only_published(entries) if id is None else named(entries, id)
    if chosen.state == "signing":
        raise InvalidKey(f"the key {chosen.id} is signing already; publish another one first")
    if chosen.state == "retired":
        raise InvalidKey(f"the key {chosen.id} was retired, and a retired key never comes back; publish a new one")
    signs_from = _signs_from(chosen)
    if not force and signs_from is None:
        raise InvalidKey(
            f"nobody knows how long the key {chosen.id} has been published; "
            "once all workers and verifiers know it, force the rotation"
        )
    if not force and signs_from is not None and now < signs_from:
        raise InvalidKey(
            f"the key {chosen.id} may sign from {moment(signs_from)} on: until then workers and verifiers may not know "
            "it, and would refuse its tokens; wait, or force the rotation"
        )
    changed = {chosen.id: chosen._replace(state="signing", since=now)}
    changed |= {one.id: one._replace(state="verifying", since=now) for one in entries if one.state == "signing"}
    return tuple(changed.get(one.id, one) for one in entries)


def retired(
    entries: Sequence[RingKey], id: str, now: float, longest_life: float, *, force: bool = False
) -> tuple[RingKey, ...]:
    """The entries with a key that verifies no more; its secret is left out.

    :param id: the key, or the beginning of its id.
    :param longest_life: how long a token of the key may be accepted, leeway included, in seconds.
    :param force: retire it at once, so that its tokens are refused, as for a leaked key.
    :raises InvalidKey: for the key that signs, and for one whose tokens may still be alive.
    """
    chosen = named(entries, id)
    if chosen.state == "retired":
        raise InvalidKey(f"the key {chosen.id} is retired already")
    if chosen.state == "signing":
        raise InvalidKey(f"the key {chosen.id} is signing; rotate to another one before this one is retired")
    may_from = retires_from(chosen, longest_life)
    if not force and may_from is None:
        raise InvalidKey(
            f"nobody knows since when the key {chosen.id} does not sign, so tokens of it may be alive; "
            "force its retirement to have them refused"
        )
    if not force and may_from is not None and now < may_from:
        raise InvalidKey(
            f"tokens of the key {chosen.id} may be alive until {moment(may_from)}; retire it then, say how long tokens "
            "live at most if that is shorter, or force its retirement to have them refused"
        )
    gone = chosen._replace(state="retired", since=now, key=None)
    return tuple(gone if one.id == chosen.id else one for one in entries)


def retires_from(entry: RingKey, longest_life: float) -> float | None:
    """The time from which a key can be retired without refusing a live token; None if unknown, or not foreseen.

    :param longest_life: see :func:`retired`.
    """
    if entry.since is None or entry.state not in ("published", "verifying"):
        return None
    return entry.since if entry.state == "published" else entry.since + longest_life


class Step(NamedTuple):
    """A step of the next rotation.

    :param what: which one.
    :param id: the key; None for one that is still to be made.
    :param from_then: the earliest time at which it refuses nothing that is good, in Unix seconds; None if nobody knows.
    """

    what: Literal["add", "rotate", "retire"]
    id: str | None
    from_then: float | None


def schedule(entries: Sequence[RingKey], longest_life: float, now: float) -> tuple[Step, ...]:
    """The steps from a ring to one with a new key that signs alone, each as early as it can be.

    :param longest_life: see :func:`retired`.
    """
    steps = [Step("retire", one.id, retires_from(one, longest_life)) for one in entries if one.state == "verifying"]
    signing = next(one for one in entries if one.state == "signing")
    published = [one for one in entries if one.state == "published"]
    chosen: str | None = None
    if published:
        chosen, signs_from = published[-1].id, _signs_from(published[-1])
    else:
        steps.append(Step("add", None, now))
        is_public = signing.key is not None and signing.key.public_jwk() is not None
        signs_from = now + (PUBLISHED_KEY if is_public else PUBLISHED_SECRET)
    steps.append(Step("rotate", chosen, signs_from))
    rotated_at = None if signs_from is None else max(now, signs_from)
    steps.append(Step("retire", signing.id, None if rotated_at is None else rotated_at + longest_life))
    return tuple(sorted(steps, key=lambda step: (step.from_then is None, step.from_then or 0)))


def named(entries: Sequence[RingKey], id: str) -> RingKey:
    """The key with this id, or whose id alone begins with it.

    :raises InvalidKey: if there is none, or more than one.
    """
    exact = [one for one in entries if one.id == id]
    found = exact or [one for one in entries if len(id) >= _SHORTEST_PREFIX and one.id.startswith(id)]
    if len(found) != 1:
        number = "no key" if not found else f"{len(found)} keys"
        ids = ", ".join(one.id for one in entries) or "none"
        raise InvalidKey(f"{number} of the ring has the id {shown(id)}; its keys are {ids}")
    return found[0]


def _signs_from(entry: RingKey) -> float | None:
    """The time from which all can be expected to know a key; a key that has signed before is known."""
    if entry.state == "verifying":
        return 0.0
    if entry.since is None:
        return None
    is_public = entry.key is not None and entry.key.public_jwk() is not None
    return entry.since + (PUBLISHED_KEY if is_public else PUBLISHED_SECRET)


def _only_published(entries: Sequence[RingKey]) -> RingKey:
    published = [one for one in entries if one.state == "published"]
    if len(published) == 1:
        return published[0]
    if published:
        raise InvalidKey(f"{len(published)} keys are published; say which one shall sign, by its id")
    raise InvalidKey("no key is published; add one, and rotate to it once all workers know it")
