"""Stands for the API of Amazon Chime SDK meetings, as AWS's model of the service describes it; it checks signatures."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .stand_in import Answer, Asked, StandIn

KEY, SECRET, TOKEN = "AKIATHROWAWAY0000001", "throwaway/aws+secret0123456789abcdefABCD", "throwaway-session-token=="
REGION = "eu-central-1"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w+)/\d{8}/(?P<region>[\w-]+)/chime/aws4_request, "
    r"SignedHeaders=(?P<names>[\w;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)
_EXTERNAL = re.compile(r"(?!aws:)[-_&@+=,(){}\[\]/«».:|'\"#a-zA-Z0-9À-ÿ\s]{2,64}")


class ChimeServer(StandIn):
    """Meetings by their idempotency token; attendees by their id."""

    page = 100

    def __init__(self, session_token: str | None = None) -> None:
        super().__init__()
        self.meetings: dict[str, dict[str, Any]] = {}
        self.attendees: dict[str, dict[str, dict[str, Any]]] = {}
        #: Answers in place of the service, if it gives one.
        self.instead: Callable[[Asked], Answer | None] = lambda _: None
        self._session_token = session_token
        self._lock = Lock()

    def present(self, meeting_id: str) -> dict[str, list[str]]:
        """The attendees of a meeting, each with what it may do with sound, video and content."""
        attendees = self.attendees.get(meeting_id, {}).values()
        return {one["ExternalUserId"]: [*one["Capabilities"].values()] for one in attendees}

    def answer(self, asked: Asked) -> Answer:
        """See :meth:`StandIn.answer`."""
        instead = self.instead(asked)
        if instead is not None:
            return instead
        with self._lock:
            return self._answer(asked)

    def _answer(self, call: Asked) -> Answer:
        if not self._is_signed(call):
            return 403, {"message": f"The security token included in the request is invalid. {call.headers}"}
        match call.method, urlsplit(call.path).path.strip("/").split("/"):
            case "POST", ["meetings"]:
                return self._create_meeting(call.said)
            case "DELETE", ["meetings", meeting_id]:
                known = [token for token, one in self.meetings.items() if one["MeetingId"] == meeting_id]
                for token in known:
                    del self.meetings[token], self.attendees[meeting_id]
                return (204, None) if known else _not_found()
            case method, ["meetings", meeting_id, "attendees", *rest] if meeting_id in self.attendees:
                return self._attendees(method, self.attendees[meeting_id], rest, call)
        return _not_found()

    def _attendees(self, method: str, found: dict[str, dict[str, Any]], rest: list[str], call: Asked) -> Answer:
        match method, rest:
            case "POST", []:
                return self._create_attendee(found, call.said)
            case "GET", []:
                query = dict(parse_qsl(urlsplit(call.path).query, strict_parsing=True))
                first = int(query.get("next-token", "0").removesuffix("/="))
                size = min(self.page, int(query["max-results"]))
                listed = [*found.values()][first : first + size]
                more = {"NextToken": f"{first + size}/="} if first + size < len(found) else {}
                return 200, {"Attendees": listed, **more}
            case "DELETE", [attendee_id] if attendee_id in found:
                del found[attendee_id]
                return 204, None
            case "PUT", [attendee_id, "capabilities"] if attendee_id in found:
                found[attendee_id]["Capabilities"] = call.said["Capabilities"]
                return 200, {"Attendee": found[attendee_id]}
        return _not_found()

    def _create_meeting(self, asked: dict[str, str]) -> Answer:
        token, external = asked["ClientRequestToken"], asked["ExternalMeetingId"]
        assert re.fullmatch(r"[-_a-zA-Z0-9]{2,64}", token)
        assert _EXTERNAL.fullmatch(external)
        if token not in self.meetings:
            meeting_id = str(uuid4())
            self.attendees[meeting_id] = {}
            self.meetings[token] = {
                "MeetingId": meeting_id,
                "MeetingHostId": None,
                "ExternalMeetingId": external,
                "MediaRegion": asked["MediaRegion"],
                "MediaPlacement": {
                    "AudioHostUrl": f"{meeting_id}.k.m1.ec1.app.chime.aws:3478",
                    "SignalingUrl": f"wss://signal.m1.ec1.app.chime.aws/control/{meeting_id}",
                },
                "MeetingArn": f"arn:aws:chime:{REGION}:123456789012:meeting/{meeting_id}",
            }
        return 201, {"Meeting": self.meetings[token]}

    def _create_attendee(self, found: dict[str, dict[str, Any]], asked: dict[str, Any]) -> Answer:
        name = asked["ExternalUserId"]
        assert _EXTERNAL.fullmatch(name)
        for one in found.values():
            if one["ExternalUserId"] == name:  # which is an idempotency token
                return 201, {"Attendee": one}
        made = {
            "ExternalUserId": name,
            "AttendeeId": str(uuid4()),
            "JoinToken": f"join-{uuid4()}",
            "Capabilities": asked["Capabilities"],
        }
        found[made["AttendeeId"]] = made
        return 201, {"Attendee": made}

    def _is_signed(self, call: Asked) -> bool:
        """Whether the signature is what botocore computes for what was received."""
        read = _AUTHORIZATION.fullmatch(call.headers.get("authorization", ""))
        if read is None or read["key"] != KEY or read["region"] != REGION:
            return False
        names = read["names"].split(";")
        needed = {"host", "x-amz-date", *(["x-amz-security-token"] if self._session_token else [])}
        if not needed <= {*names} or call.headers.get("x-amz-security-token") != self._session_token:
            return False
        at = call.headers["x-amz-date"]
        age = datetime.now(UTC) - datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        request = AWSRequest(call.method, f"http://{call.headers['host']}{call.path}", data=call.body)
        for name in names:
            if name != "host":
                request.headers[name] = call.headers[name]
        request.context["timestamp"] = at
        auth = SigV4Auth(Credentials(KEY, SECRET, self._session_token), "chime", REGION)
        expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        return abs(age.total_seconds()) < 300 and bool(expected == read["signature"])


def _not_found() -> Answer:
    return 404, {"Code": "NotFound", "Message": "SECRET"}
