"""What takes the grant of Ada's token back: each way that a kit has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rolecall import Rolecall

#: By name: each takes back what is granted by a token of a session, whose actor is "ada".
RUNGS: dict[str, Callable[[Rolecall, Any, str], object]] = {
    "revoke_token": lambda kit, session, token: kit.revoke_token(token),
    "exclude": lambda kit, session, token: kit.exclude(session.session_id, "ada"),
    "reset_session": lambda kit, session, token: kit.reset_session(session.session_id),
    "end_session": lambda kit, session, token: kit.end_session(session.session_id),
    "revoke_actor": lambda kit, session, token: kit.revoke_actor("ada"),
    "revoke_before": lambda kit, session, token: kit.revoke_before(),
}
