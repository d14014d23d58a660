"""The class app, as its teacher and its pupils see it: ``manage.py test``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.test import TestCase, override_settings


@override_settings(ROLECALL={**settings.ROLECALL, "store": "memory://"})
class SchoolTests(TestCase):
    """A lesson of Ada's, with two pupils."""

    @classmethod
    def setUpTestData(cls) -> None:
        User.objects.create_user("ada", is_staff=True)
        User.objects.create_user("ben", password="learns")
        User.objects.create_user("cleo")

    def setUp(self) -> None:
        self.log_in("ada")
        self.room = self.post("/video/sessions").json()["session_id"]

    def log_in(self, name: str) -> None:
        self.client.force_login(User.objects.get(username=name))

    def post(self, path: str, headers: dict[str, str] | None = None, **body: object) -> Any:
        return self.client.post(path, body, content_type="application/json", headers=headers)

    def token(self, name: str, role: str = "publisher") -> dict[str, str]:
        self.log_in(name)
        answer = self.post(f"/video/sessions/{self.room}/tokens", role=role)
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    def test_a_stranger_cannot_log_in(self) -> None:
        answer = self.client.post("/login/", {"name": "mallory", "password": "guessed"})
        self.assertEqual(answer.status_code, 403)

    def test_a_pupil_logs_in_and_opens_no_lesson(self) -> None:
        self.assertEqual(self.client.post("/login/", {"name": "ben", "password": "learns"}).json(), {"name": "ben"})
        self.assertEqual(self.post("/video/sessions").json()["detail"], "only teachers open a lesson")

    def test_the_lesson_knows_its_people(self) -> None:
        answer = self.client.get(f"/lessons/{self.room}/", headers=self.token("ben", "moderator"))
        self.assertEqual(answer.json(), {"lesson": self.room, "you": "ben", "role": "publisher"})

    def test_a_subscriber_asks_no_questions(self) -> None:
        questions = f"/lessons/{self.room}/questions/"
        self.assertEqual(self.post(questions, self.token("ben")).status_code, 201)
        self.assertEqual(self.post(questions, self.token("ben", "subscriber")).json()["code"], "insufficient_role")

    def test_a_teacher_sends_a_pupil_out_who_then_stays_out(self) -> None:
        ada, ben, cleo = self.token("ada", "moderator"), self.token("ben"), self.token("cleo")
        send_out = f"/lessons/{self.room}/sent-out/ben/"
        self.assertEqual(self.post(send_out, cleo).status_code, 403)
        self.assertEqual(self.post(send_out, ada).status_code, 204)
        self.assertEqual(self.client.get(f"/lessons/{self.room}/", headers=ben).json()["code"], "sent_out")
        self.assertEqual(self.client.get(f"/lessons/{self.room}/", headers=cleo).status_code, 200)

    async def test_it_is_the_same_under_asgi(self) -> None:
        answer = await self.async_client.get(f"/lessons/{self.room}/")
        self.assertEqual((answer.status_code, answer.json()["code"]), (401, "missing_token"))

    def test_what_is_not_there_needs_a_token_too(self) -> None:
        self.assertEqual(self.client.get("/nothing/").status_code, 401)
