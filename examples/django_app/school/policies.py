"""The rules of the school. They ask Django's database, on the connection of the request."""

from __future__ import annotations

from rolecall import AccessRequest, Allow, Deny, SessionRequest, TokenRequest, Vote, hookimpl

from .models import SentOut

#: How many seconds after its start a lesson is over, for pupils.
LESSON = 45 * 60


class SchoolPolicy:
    """Staff teaches; everybody else who is logged in is a pupil."""

    @hookimpl
    def rolecall_vote_session(self, request: SessionRequest) -> Vote:
        if request.actor is None:
            return None  # from outside that means no, and the app's own code may
        return Allow() if request.actor.attributes["is_staff"] else Deny("only teachers open a lesson")

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if request.actor is None or request.session is None:
            return None
        data = request.actor.attributes["username"]
        if request.actor.attributes["is_staff"]:
            return Allow(max_role="moderator", data=data)
        return Allow(max_role="publisher", data=data, latest_expiry=request.session.created_at + LESSON)

    @hookimpl
    def rolecall_vote_access(self, request: AccessRequest) -> Vote:
        sent_out = SentOut.objects.filter(session_id=request.grant.session_id, username=request.grant.data or "")
        return Deny("you were sent out", code="sent_out") if sent_out.exists() else None
