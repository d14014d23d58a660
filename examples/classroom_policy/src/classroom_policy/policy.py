"""The rule, and nothing else."""

from __future__ import annotations

from rolecall import Actor, Allow, Deny, Request, Rolecall, TokenRequest, Vote, hookimpl

from .timetable import Timetable


class ClassroomPolicy:
    """Only the teacher of a class may moderate it, and only while it runs; its pupils may publish.

    Its configuration (``ROLECALL_PLUGIN_CLASSROOM``, a JSON object) has ``database``, the SQLite file with the
    classes, and may have ``user_header``, the header in which a trusted proxy names the user.
    """

    name = "classroom"

    @hookimpl
    def rolecall_startup(self, kit: Rolecall) -> None:
        config = dict(kit.plugin_config(self.name))
        database, user_header = config.pop("database", None), config.pop("user_header", "")
        if not isinstance(database, str) or not isinstance(user_header, str) or config:
            raise ValueError('expected ROLECALL_PLUGIN_CLASSROOM=\'{"database": "…", "user_header": "…"}\'')
        self._timetable = Timetable(database)
        self._user_header = user_header.lower()

    @hookimpl
    def rolecall_identify(self, request: Request) -> Actor | None:
        if self._user_header:
            user = request.headers.get(self._user_header)
        else:
            user = flask_user() if request.framework == "flask" else None
        return Actor(user) if user else None

    @hookimpl
    async def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if request.actor is None:
            return None  # from outside that means no; the server's own code is not bound by this rule
        lesson = await self._timetable.lesson(request.session_id, request.actor.id)
        if lesson is None:
            return None  # no class of ours: another policy may know what it is
        if lesson.part is None:
            return Deny("you are not in this class", code="not_in_class")
        if not lesson.starts_at <= request.now < lesson.ends_at:
            return Deny("this class does not run now", code="class_not_running")
        return Allow(
            max_role="moderator" if lesson.part == "teacher" else "publisher",
            latest_expiry=lesson.ends_at,
            data=request.actor.id,  # whatever was asked for, so that others can rely on it
        )


def flask_user() -> str | None:
    """Who is logged in to the Flask app that handles this request."""
    import flask  # only there if the app uses it

    user: str | None = flask.session.get("user")
    return user
