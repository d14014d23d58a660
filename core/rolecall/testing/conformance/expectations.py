"""The checks of an answer against the table alone, whoever gave the answer."""

from __future__ import annotations

import json
import re
from typing import Any, Final
from urllib.parse import parse_qsl

from ... import Web
from .driving import Answer, without_chance
from .kits import KITS
from .sites import MOUNTED
from .table import Case
from .traits import Trait

#: The error of a challenge (RFC 6750, section 3.1), by the code of the problem.
CHALLENGES: Final = {
    "malformed_credential": "invalid_request",
    "wrong_session": "insufficient_scope",
    "insufficient_role": "insufficient_scope",
} | dict.fromkeys(
    (
        "malformed_token",
        "wrong_token_kind",
        "unknown_key",
        "bad_signature",
        "invalid_claim",
        "expired_token",
        "token_not_yet_valid",
        "revoked_token",
    ),
    "invalid_token",
)


def check(case: Case, answer: Answer) -> None:
    """Assert that an answer is the table's, and that it meets the rules for all answers."""
    media_type, body = answer.header("content-type"), answer.body
    problem = problem_of(answer)
    assert (answer.status, problem.get("code")) == (case.status, None if case.method == "HEAD" else case.code)
    for name, value in case.has.items():
        assert answer.header(name) == value, name
    if case.says:
        assert problem["detail"] == case.says if problem else case.says in body.decode()
    if case.code is None:
        assert media_type != "application/problem+json"
    else:
        assert media_type == ("application/json" if case.is_of_oauth else "application/problem+json")
    assert problem.get("status", case.status) == case.status
    assert answer.header("www-authenticate") == challenge(case, problem)
    _check_length(case, answer)
    if case.code is not None or (not case.is_own and case.method in ("POST", "DELETE")):
        assert answer.header("cache-control") == "no-store"
    assert answer.header("referrer-policy") == ("no-referrer" if holds_token(case) else None)


def problem_of(answer: Answer) -> dict[str, Any]:
    """The problem document of an answer, or what stands for it in an error of OAuth's; empty for any other answer."""
    media_type = answer.header("content-type")
    is_error = answer.status >= 400 and media_type == "application/json"
    if not answer.body or not (is_error or media_type == "application/problem+json"):
        return {}
    problem: dict[str, Any] = json.loads(answer.body)
    return {"code": problem["error"], "detail": problem["error_description"]} if is_error else problem


def _check_length(case: Case, answer: Answer) -> None:
    length = answer.header("content-length")
    if case.status in (204, 304):
        assert (answer.body, answer.header("content-type"), length) == (b"", None, None)
    elif case.method == "HEAD":
        assert (answer.body, int(length or "0") > 0) == (b"", True)
    else:
        assert length == str(len(answer.body))


def holds_token(case: Case) -> bool:
    """Whether the URL has a token, or an attempt at one, where the kit reads it."""
    names = (name for name, _ in parse_qsl(case.target.partition("?")[2], keep_blank_values=True, errors="replace"))
    web: Web = KITS[case.kit].get("web", Web())
    return web.query is not None and web.query in names


def challenge(case: Case, problem: dict[str, Any]) -> str | None:
    """The ``WWW-Authenticate`` of a refusal."""
    if case.code == "missing_token":
        return 'Bearer realm="rolecall"'
    if case.code == "invalid_client":
        return f'{"Bearer" if case.kit == "application-alone" else "Basic"} realm="rolecall"'
    if case.code not in CHALLENGES:
        return None
    if case.method == "HEAD":
        raise AssertionError(
            "the table asks with HEAD only where the answer challenges nobody, or has no detail to tell"
        )
    detail = re.sub(r"[^ -~]|\\", "?", problem["detail"].replace('"', "'"))
    said = f'Bearer realm="rolecall", error="{CHALLENGES[case.code]}", error_description="{detail}"'
    if case.code != "insufficient_role":
        return said
    scope = problem["detail"].partition(" is required")[0]
    return f'{said}, scope="{scope}"'


def comparable(case: Case, answer: Answer, prefix: str = "") -> Answer:
    """An answer without the parts that may differ: random ones, the mount path, and the spelling of odd bytes.

    :param prefix: the prefix of the app that answered.
    """
    return _with_any_rendering(case, without_chance(_unmounted(case, answer, prefix)))


def _unmounted(case: Case, answer: Answer, prefix: str) -> Answer:
    """The answer with the only part restored that a prefix changes: the path of the routes in the description."""
    if not (prefix and case.target == "/video/openapi.json" and answer.status == 200):
        return answer
    assert case.method == "HEAD" or f'"url":"{MOUNTED}/video"'.encode() in answer.body
    body = answer.body.replace(f'"url":"{MOUNTED}/video"'.encode(), b'"url":"/video"')
    return _resized(answer, body, int(answer.header("content-length") or "0") - len(MOUNTED))


def _with_any_rendering(case: Case, answer: Answer) -> Answer:
    """The answer with ``%FF`` for each byte of the path that is no UTF-8; other frameworks show U+FFFD."""
    if Trait.UNDECODABLE_PATH not in case.traits or answer.status < 400:
        return answer
    body = re.sub(rb"\xef\xbf\xbd|\\\\ufffd", b"%FF", answer.body)
    return _resized(answer, body, len(body)) if body != answer.body else answer


def _resized(answer: Answer, body: bytes, length: int) -> Answer:
    headers = [(name, str(length) if name == "content-length" else value) for name, value in answer.headers]
    return Answer(answer.status, tuple(headers), body)
