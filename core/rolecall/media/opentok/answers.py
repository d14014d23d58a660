"""Bodies of a service's answers, read strictly: JSON, and the XML of older services."""

from __future__ import annotations

import json
import re
from typing import Any, Final
from xml.parsers import expat

from ...moderation import problem_with_connections, problem_with_streams

#: The longest body that is read, in bytes.
MAX_ANSWER: Final = 65_536
#: The media type of a refusal with a code (RFC 9457).
PROBLEM: Final = "application/problem+json"
_CODE: Final = re.compile("[a-z][a-z0-9_]{0,63}")
_MAX_XML_DEPTH: Final = 8
_XML_TYPES: Final = ("application/xml", "text/xml")


class Unreadable(ValueError):
    """An answer in an unexpected form; the message says how it differs, and never quotes it."""


def media_type(content_type: str) -> str:
    """The media type alone, in lower case."""
    return content_type.partition(";")[0].strip(" \t").lower()


def session_id(content_type: str, body: bytes) -> object:
    """The id of the created session, unchecked.

    :raises Unreadable: if the answer has none.
    """
    if media_type(content_type) in _XML_TYPES:
        return _session_id_in_xml(body)
    sessions = read_json(content_type, body, expected="JSON or XML")
    if not (isinstance(sessions, list) and len(sessions) == 1 and isinstance(sessions[0], dict)):
        raise Unreadable("the JSON is not a list of one session")
    if "session_id" not in sessions[0]:
        raise Unreadable("the JSON has no session_id")
    return sessions[0]["session_id"]


def streams(content_type: str, body: bytes) -> list[dict[str, Any]]:
    """The streams of a session, in the service's own form.

    :raises Unreadable: for anything else.
    """
    items = _items(content_type, body)
    if problem_with_streams(items):
        raise Unreadable("the JSON has no list of streams, 'items', each with an 'id'")
    streams: list[dict[str, Any]] = items
    return streams


def connections(content_type: str, body: bytes) -> list[dict[str, Any]]:
    """The connections to a session, in the service's own form.

    :raises Unreadable: for anything else.
    """
    items = _items(content_type, body)
    if problem_with_connections(items):
        raise Unreadable("the JSON has no list of connections, 'items', each with a 'connectionId'")
    connections: list[dict[str, Any]] = items
    return connections


def nothing(content_type: str, body: bytes) -> None:
    """Accept an answer of which only the status matters: without a body, or with JSON.

    :raises Unreadable: for any other answer, such as a gateway's in place of the service's.
    """
    if body:
        read_json(content_type, body)


def problem_code(content_type: str, body: bytes) -> str | None:
    """The ``code`` of a refusal by another kit; None if it has none. Nothing else in it is read."""
    if media_type(content_type) != PROBLEM:
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    code = value.get("code") if isinstance(value, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def read_json(content_type: str, body: bytes, expected: str = "JSON") -> Any:
    """The JSON value in ``body``.

    :raises Unreadable: for anything else.
    """
    if media_type(content_type) != "application/json":
        raise Unreadable(f"its Content-Type is {_quoted(content_type)}; expected {expected}")
    try:
        return json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except Unreadable:
        raise
    except (ValueError, RecursionError):
        raise Unreadable("the body is not JSON, although its Content-Type says so") from None


def _items(content_type: str, body: bytes) -> Any:
    value = read_json(content_type, body)
    return value.get("items") if isinstance(value, dict) else None


def _quoted(content_type: str) -> str:
    # Short and without parameters: nothing that the service echoes is shown.
    kind = media_type(content_type)
    if not kind:
        return "missing"
    return ascii(kind) if len(kind) <= 40 and "/" in kind else "no media type"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unreadable("a name stands twice in one object of the JSON")
    return members


def _constant(_: str) -> Any:
    raise Unreadable("NaN and Infinity are not JSON")


def _session_id_in_xml(body: bytes) -> str:
    reader = _XmlReader()
    try:
        reader.read(body.decode())
    except (UnicodeDecodeError, expat.ExpatError):
        raise Unreadable("the body is not XML, although its Content-Type says so") from None
    if reader.says_error:
        raise Unreadable("the XML says that there was an error")
    if len(reader.session_ids) != 1:
        raise Unreadable("the XML has no session_id" if not reader.session_ids else "the XML has several sessions")
    return reader.session_ids[0].strip()


class _XmlReader:
    """Collects the text of each ``sessions/Session/session_id``. No document types, so only XML's five entities."""

    def __init__(self) -> None:
        self.session_ids: list[str] = []
        self.says_error = False
        self._path: list[str] = []

    def read(self, text: str) -> None:
        if "\0" in text:
            raise Unreadable("the XML is not UTF-8")  # its first bytes would make the parser read UTF-16
        parser = expat.ParserCreate("utf-8")  # overrides the document's declaration
        parser.StartDoctypeDeclHandler = self._refuse
        parser.ProcessingInstructionHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.Parse(text, True)

    def _refuse(self, *_: object) -> None:
        raise Unreadable("the XML holds a document type or a processing instruction, which are not read")

    def _start(self, name: str, _: dict[str, str]) -> None:
        if len(self._path) == _MAX_XML_DEPTH:
            raise Unreadable(f"the XML has more than {_MAX_XML_DEPTH} levels")
        self._path.append(name)
        self.says_error = self.says_error or name == "error"
        if self._is_in_session_id():
            self.session_ids.append("")

    def _end(self, _: str) -> None:
        self._path.pop()

    def _text(self, text: str) -> None:
        if self._is_in_session_id():
            self.session_ids[-1] += text

    def _is_in_session_id(self) -> bool:
        return self._path == ["sessions", "Session", "session_id"]
