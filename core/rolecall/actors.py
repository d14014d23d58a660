"""The ids of actors: which texts may be one, wherever it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .errors import InvalidActor
from .request import Actor
from .wording import shown

#: The longest id of an actor, in characters.
MAX_ACTOR_ID: Final = 255
# Control and format characters, halves of pairs, and separators of lines and paragraphs.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def problem_with_actor_id(actor_id: object) -> str | None:
    """The reason why a value cannot be an actor's id, to follow the value's name; None if it can.

    Ids are compared exactly, so a text that looks like another one, and is not the same, would be a second actor whom
    nobody sees. What is refused, and never changed: characters that do not show, white space at an end, and texts that
    are not in the composed form (NFC, Unicode Standard Annex 15).
    """
    if type(actor_id) is not str:
        return f"is {shown(actor_id)}; expected text"
    if not 0 < len(actor_id) <= MAX_ACTOR_ID:
        return f"has {len(actor_id)} characters; expected 1 to {MAX_ACTOR_ID}"
    if actor_id.isascii() and actor_id.isprintable() and " " not in actor_id:
        return None  # as most ids are
    if actor_id[0].isspace() or actor_id[-1].isspace():
        return f"is {shown(actor_id)}, with white space at an end; take it off where the id is stored"
    return _problem_with_characters(actor_id)


def _problem_with_characters(text: str) -> str | None:
    from unicodedata import category, is_normalized  # most ids need neither

    # Every printable character shows.
    invisible = None if text.isprintable() else next((one for one in text if category(one) in _INVISIBLE), None)
    if invisible is not None:
        return f"holds the character U+{ord(invisible):04X}, which does not show"
    if not is_normalized("NFC", text):
        return "is not in the composed form of Unicode (NFC); store ids in that form, and pass them as stored"
    return None


def problem_with_actor(actor: Actor) -> str | None:
    """The reason why nobody can be this actor, as a sentence; None if somebody can."""
    problem = problem_with_actor_id(actor.id)
    if problem is not None:
        return f"the actor's id {problem}"
    if not isinstance(actor.attributes, Mapping):
        return f"the actor's attributes are {shown(actor.attributes)}; expected a mapping"
    return None


def checked_actor(actor: object) -> Actor:
    """The actor that an argument names: itself, or one by its id.

    :raises InvalidActor: for anything else, and for an id that cannot be one.
    """
    if type(actor) is not Actor and type(actor) is not str:
        raise InvalidActor(f"actor is {shown(actor)}; expected an actor's id as text, or a rolecall.Actor")
    named = actor if type(actor) is Actor else Actor(actor)  # type: ignore[arg-type]
    problem = problem_with_actor(named)
    if problem is not None:
        raise InvalidActor(problem)
    return named
