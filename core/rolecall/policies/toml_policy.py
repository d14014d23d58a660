"""A policy in a TOML file."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from ..errors import ConfigurationError, RolecallError
from ..hookspecs import SessionRequest, TokenRequest, hookimpl
from ..policy import Allow, Vote
from ..request import Actor
from ..roles import STANDARD_ROLES, Role, RoleTable
from ..sessions import ArchiveMode, MediaMode, SessionRecord
from ..tokens import MAX_LIFETIME
from ..wording import shown
from .arguments import Groups, checked_groups, checked_name, groups_of

#: The keys and indexes of a value in the file: ``("token", 0, "role")``.
_Path: TypeAlias = tuple[str | int, ...]

_EVERYBODY: Final = "*"
_ANONYMOUS: Final = "anonymous"
_LIFETIME: Final = re.compile(r"([0-9]{1,9}) ?([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_CHOICES: Final = {"media_mode": MediaMode, "archive_mode": ArchiveMode}
_PROPERTIES: Final = (*_CHOICES, "e2ee", "location", "media")
_FREE: Final = {"location": "an IP address", "media": "the name of a media service"}
_SYNTAX_LINE: Final = re.compile(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")


class TomlPolicy:
    """A TOML file that says who may create sessions and get tokens.

    The file has tables ``[[session]]`` (who may create sessions) and ``[[token]]`` (who may get tokens). The first
    table ``[[token]]`` that matches decides on a token; if none matches, the policy abstains. The file is read once;
    changes take effect when the app restarts. The policy abstains on requests of the server's own code for nobody, and
    on renewals of tokens without a login: it knows nobody's groups then.

    :param file: the path of the file.
    :param roles: the app's own roles that the file may name, besides the standard ones.
    :param groups: the actor's attribute with its groups (a list or set of names), or a function that takes the
        :class:`~rolecall.Actor` and returns them at once.
    :param name: the policy's name.
    :raises ConfigurationError: for a file that cannot be read or has an error; the message names its line.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        *,
        roles: Iterable[Role] = (),
        groups: Groups = "groups",
        name: str = "toml_policy",
    ) -> None:
        if not isinstance(file, str | os.PathLike):
            raise ConfigurationError(f"file is {shown(file)}; expected a path")
        self._groups = checked_groups(groups)
        self.name = checked_name(name)
        reader = _Reader(Path(file), RoleTable([*STANDARD_ROLES, *roles]))
        self._creators, self._rules = reader.read()

    @hookimpl
    def rolecall_vote_session(self, request: SessionRequest) -> Vote:
        if request.http is None and request.actor is None:
            return None
        if not any(who.holds(request.actor, self._groups) for who in self._creators):
            return None
        return Allow(reason="the policy file says so")

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if request.actor is None and (request.http is None or request.renewed is not None):
            return None
        for rule in self._rules:
            if rule.who.holds(request.actor, self._groups) and rule.concerns(request.session_id, request.session):
                return rule.vote
        return None


class _Who(NamedTuple):
    """The actors that a table applies to."""

    anonymous: bool = False
    everybody: bool = False
    actors: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    def holds(self, actor: Actor | None, groups: Groups) -> bool:
        if actor is None:
            return self.anonymous
        if self.everybody or actor.id in self.actors:
            return True
        return bool(self.groups) and not self.groups.isdisjoint(groups_of(actor, groups))


class _Rule(NamedTuple):
    """One table ``[[token]]``."""

    who: _Who
    vote: Allow
    sessions: frozenset[str] | None
    properties: tuple[tuple[str, str | bool], ...]

    def concerns(self, session_id: str, session: SessionRecord | None) -> bool:
        if self.sessions is not None and session_id not in self.sessions:
            return False
        return all(_fits(session, name, pattern) for name, pattern in self.properties)


def _fits(session: SessionRecord | None, name: str, pattern: str | bool) -> bool:
    value = None if session is None else getattr(session.properties, name)
    if isinstance(pattern, bool) or value is None:
        return value is pattern
    return fnmatchcase(value, pattern)


class _Wrong(Exception):
    """A problem with the value at ``path``."""

    def __init__(self, path: _Path, message: str) -> None:
        super().__init__(message)
        self.path = path


class _Reader:
    """Reads one file, and reports the line of an error."""

    def __init__(self, file: Path, roles: RoleTable) -> None:
        self._file = file
        self._roles = roles
        self._keys: dict[str, Callable[[object, _Path], object]] = {
            "who": _who,
            "role": self._role,
            "lifetime": _lifetime,
            "sessions": lambda value, path: frozenset(_texts(value, path)),
            "where": _properties,
        }

    def read(self) -> tuple[list[_Who], list[_Rule]]:
        text = self._text()
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise self._syntax_error(str(error), text) from None
        except (ValueError, RecursionError) as error:
            raise self._error(None, f"it cannot be read ({type(error).__name__})") from None
        try:
            _check_keys(document, ("session", "token"), ())
            creators = [self._table(table, path, ("who",)) for table, path in _tables(document, "session")]
            rules = [self._table(table, path, tuple(self._keys)) for table, path in _tables(document, "token")]
            for number, found in enumerate(rules):
                if "role" not in found:
                    raise _Wrong(("token", number), "the table has no role")
        except _Wrong as error:
            raise self._error(_line_of(text, error.path), str(error)) from None
        if not creators and not rules:
            raise self._error(None, "it has neither a [[session]] nor a [[token]], so it would allow nothing")
        return [found["who"] for found in creators], [_rule(found) for found in rules]

    def _text(self) -> str:
        try:
            content = self._file.read_bytes()
        except (OSError, ValueError) as error:
            raise self._error(None, f"it cannot be read: {getattr(error, 'strerror', None) or error}") from None
        try:
            return content.decode().replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise self._error(content.count(b"\n", 0, error.start) + 1, "it is not UTF-8") from None

    def _table(self, table: Mapping[str, object], path: _Path, known: tuple[str, ...]) -> dict[str, Any]:
        _check_keys(table, known, path)
        if "who" not in table:
            raise _Wrong(path, "the table does not say who; expected who = …")
        return {key: self._keys[key](value, (*path, key)) for key, value in table.items()}

    def _role(self, value: object, path: _Path) -> Role:
        role = self._roles.find(value) if isinstance(value, str) else None
        if role is None:
            raise _Wrong(path, f"role is {shown(value)}; the roles are {', '.join(self._roles)}")
        return role

    def _syntax_error(self, message: str, text: str) -> RolecallError:
        match = _SYNTAX_LINE.search(message)
        if match is None:
            return self._error(None, f"it is no TOML: {message}")
        line = int(match[1]) if match[1] else text.rstrip("\n").count("\n") + 1
        return self._error(line, f"it is no TOML: {message[: match.start()]}")

    def _error(self, line: int | None, message: str) -> ConfigurationError:
        place = "" if line is None else f", line {line}"
        return ConfigurationError(f"policy file {str(self._file)!r}{place}: {message}")


def _rule(table: Mapping[str, Any]) -> _Rule:
    vote = Allow(max_role=table["role"], max_lifetime=table.get("lifetime"), reason="the policy file says so")
    return _Rule(table["who"], vote, table.get("sessions"), table.get("where", ()))


def _tables(document: Mapping[str, object], name: str) -> Iterator[tuple[Mapping[str, object], _Path]]:
    tables = document.get(name, [])
    if not isinstance(tables, list):
        raise _Wrong((name,), f"{name} is {shown(tables)}; expected tables under [[{name}]]")
    for number, table in enumerate(tables):
        if not isinstance(table, dict):
            raise _Wrong((name,), f"{name} holds {shown(table)}; expected tables under [[{name}]]")
        yield table, (name, number)


def _check_keys(table: Mapping[str, object], known: tuple[str, ...], path: _Path) -> None:
    for key in table:
        if key not in known:
            raise _Wrong((*path, key), f"there is no key {shown(key)} here; expected {', '.join(known)}")


def _who(value: object, path: _Path) -> _Who:
    if value == _ANONYMOUS:
        return _Who(anonymous=True)
    if value == _EVERYBODY:
        return _Who(everybody=True)
    if not isinstance(value, dict) or not value:
        raise _Wrong(
            path,
            f"who is {shown(value)}; expected '*' (everybody identified), 'anonymous', "
            "or actors and groups: { actors = […], groups = […] }",
        )
    _check_keys(value, ("actors", "groups"), path)
    names = {key: frozenset(_texts(listed, (*path, key))) for key, listed in value.items()}
    return _Who(actors=names.get("actors", frozenset()), groups=names.get("groups", frozenset()))


def _texts(value: object, path: _Path) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) and text for text in value):
        raise _Wrong(path, f"{path[-1]} is {shown(value)}; expected a list of texts, and at least one")
    return value


def _lifetime(value: object, path: _Path) -> int:
    match = _LIFETIME.fullmatch(value) if isinstance(value, str) else None
    if match:
        value = int(match[1]) * _UNITS[match[2]]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_LIFETIME:
        raise _Wrong(path, f"lifetime is {shown(value)}; expected seconds, or for example '90m', '2h' or '30d' at most")
    return value


def _properties(value: object, path: _Path) -> tuple[tuple[str, str | bool], ...]:
    if not isinstance(value, dict) or not value:
        raise _Wrong(path, f"where is {shown(value)}; expected properties, for example {{ media_mode = 'routed' }}")
    _check_keys(value, _PROPERTIES, path)
    return tuple((key, _pattern(key, pattern, (*path, key))) for key, pattern in value.items())


def _pattern(key: str, value: object, path: _Path) -> str | bool:
    if key == "e2ee":
        if isinstance(value, bool):
            return value
        raise _Wrong(path, f"e2ee is {shown(value)}; expected true or false")
    if not isinstance(value, str) or not value or (key in _CHOICES and value not in list(_CHOICES[key])):
        expected = " or ".join(_CHOICES[key]) if key in _CHOICES else f"{_FREE[key]}, in which * stands for any text"
        raise _Wrong(path, f"{key} is {shown(value)}; expected {expected}")
    return value


def _line_of(text: str, path: _Path) -> int | None:
    """The line in which the statement that sets ``path`` begins.

    Found without a second TOML parser: each beginning of the file that tomllib accepts ends a statement.
    """
    lines = text.split("\n")
    begins = 1
    for number in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        if _has(document, path):
            return begins
        begins = number + 1
    return None


def _has(document: Any, path: _Path) -> bool:
    for step in path:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True
