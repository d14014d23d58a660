"""What a kit answers when it has taken grants back."""

from __future__ import annotations

from typing import NamedTuple


class Exclusion(NamedTuple):
    """An exclusion, as it stands.

    :param session_id: the session.
    :param actor_id: the id of the actor that is excluded.
    :param until: its end in Unix seconds; None if it is for good.
    :param disconnected: whether the session's media service has ended the actor's connections, by its method
        ``disconnect_actor``. A service that has none does not know which connections are whose: end them by their ids.
    """

    session_id: str
    actor_id: str
    until: float | None
    disconnected: bool = False


class Reset(NamedTuple):
    """The reset of a session, as it stands.

    :param session_id: the session.
    :param epoch: the session's epoch: the time of its last reset, in milliseconds since 1970; 0 before the first one.
    :param not_before: the second from which on tokens are good that do not say in which epoch they were minted, such as
        those of SDKs, in Unix seconds.
    """

    session_id: str
    epoch: int
    not_before: int
