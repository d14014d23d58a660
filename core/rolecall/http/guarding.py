"""What every adapter's guards have in common: the session that a route names, and the kit that verifies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..kit import Rolecall

#: The part of a route's path that names the session, unless a guard is told otherwise.
SESSION_PARAM: Final = "session_id"


def bound_session(name: str | None, params: Mapping[str, Any], path: str) -> str | None:
    """The session that a route is about, to which the token must belong; None where it is about none.

    :param name: of the path parameter that names it; None where the guard looks at no session.
    :param params: the variable parts of the route, by name.
    :param path: for the message.
    :raises ConfigurationError: if the route has no such part, and the guard was told the name.
    """
    if name is not None and name in params:
        return str(params[name])
    if name is None or name == SESSION_PARAM:
        return None
    raise ConfigurationError(
        f"the guard of {path!r} binds the session by the path parameter {name!r}, which the route does not have"
    )


def only_kit(kits: Sequence[Rolecall], advice: str) -> Rolecall:
    """The one kit that an app has.

    :param advice: how an app of this framework gets one.
    :raises ConfigurationError: if there is none, or several to choose from.
    """
    if len(kits) == 1:
        return kits[0]
    if kits:
        raise several_kits()
    raise ConfigurationError(f"this app has no kit; {advice}, or tell the guard: require_role(…, kit=kit)")


def several_kits() -> ConfigurationError:
    """The refusal to choose between kits."""
    return ConfigurationError(
        "this app has several kits; tell each guard which one it is for: require_role(…, kit=kit)"
    )
