"""Checks of arguments that several policies have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TypeAlias

from ..errors import ConfigurationError, PolicyFault
from ..request import Actor
from ..roles import STANDARD_ROLES, Role, RoleTable
from ..wording import shown

#: The name of the actor's attribute with its groups, or a function that returns them.
Groups: TypeAlias = str | Callable[[Actor], Iterable[str]]


def checked_role(argument: str, value: object) -> Role:
    """The standard role of this name, or the :class:`Role` itself.

    :raises ConfigurationError: if it is neither.
    """
    if isinstance(value, Role):
        return value
    role = RoleTable().find(value) if isinstance(value, str) else None
    if role is None:
        raise ConfigurationError(
            f"{argument} is {shown(value)}; expected one of {', '.join(STANDARD_ROLES)}, or a Role"
        )
    return role


def checked_name(value: object) -> str:
    """Check a plugin's name, and return it.

    :raises ConfigurationError: if it is no text, or empty.
    """
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"name is {shown(value)}; expected the name that the policy is to go by in logs")
    return value


def checked_names(argument: str, values: object) -> frozenset[str]:
    """Check names, and return them as a set.

    :raises ConfigurationError: for one text instead of a list, and for names that are empty or no text.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{argument} is {shown(values)}; expected a list of names")
    names = list(values)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"{argument} holds {shown(name)}; expected names")
    return frozenset(names)


def checked_groups(value: Groups) -> Groups:
    """Check where an actor's groups come from, and return it.

    :raises ConfigurationError: if it is neither an attribute's name nor a plain function.
    """
    if isinstance(value, str) and value:
        return value
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise ConfigurationError(
            f"groups is {shown(value)}; expected the name of an attribute, or a plain function that takes an actor"
        )
    return value


def groups_of(actor: Actor, groups: Groups) -> frozenset[str]:
    """The groups of an actor; none if the attribute is missing or None.

    :raises PolicyFault: if they are not a collection of names.
    """
    value: object = actor.attributes.get(groups) if isinstance(groups, str) else groups(actor)
    if value is None and isinstance(groups, str):
        return frozenset()
    if inspect.iscoroutine(value):
        value.close()
    # A text would be split into its letters, and a mapping would lose its values.
    elif isinstance(value, list | tuple | set | frozenset) and all(isinstance(name, str) for name in value):
        return frozenset(value)
    raise PolicyFault(f"the groups of an actor are {shown(value)}; expected a list or set of names")
