"""A kit's configuration in environment variables, or in a mapping such as Flask's ``app.config``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from ..clock import read_duration_with_unit
from ..encoding import strict_json
from ..errors import ConfigurationError
from ..http.web import Web, problem_with_origin
from ..media import BACKENDS
from ..wording import nearest, shown, wrapping
from .media_variables import collected, nearest_setting, split_name

_PREFIX: Final = "ROLECALL_"
_PLUGIN: Final = "ROLECALL_PLUGIN_"
_FILE: Final = "_FILE"
_MEDIA: Final = "ROLECALL_MEDIA"
#: How many bytes of a variable's file are read at most.
_MAX_FILE: Final = 65_536
# The variables that Kubernetes and Docker set in every container for a service called "rolecall" or "rolecall-…". None
# of them resembles a variable of the kit.
_SERVICE_LINK: Final = (
    r"ROLECALL_(?:\w+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?)?)"
)


def read_environment(environ: Mapping[str, object]) -> dict[str, Any]:
    """The arguments of a kit in the environment; an empty variable, or None, counts as unset.

    Text is parsed. Other types, as in ``app.config``, are passed on unchanged, except that a number may stand for an
    API key, and 1 or 0 for a switch.

    :raises ConfigurationError: for an unknown variable, an invalid value, and a file that cannot be read; no value is
        quoted.
    """
    try:
        return _read(environ)
    except ConfigurationError as error:
        problem = str(error)
    finally:
        del environ
    raise ConfigurationError(problem)  # raised here, so that no frame of its traceback holds a variable


def key_variables(environ: Mapping[str, object], without: Collection[str]) -> dict[str, object]:
    """The variables with keys, and those that name files with keys.

    :param without: arguments that come from elsewhere.
    """
    wanted = {
        name for name, (argument, _) in _VARIABLES.items() if argument in KEY_ARGUMENTS and argument not in without
    }
    return {
        name: value
        for name, value in environ.items()
        if isinstance(name, str) and name.removesuffix(_FILE) in wanted and _is_set(name, value)
    }


def key_files(variables: Mapping[str, object]) -> list[str]:
    """The paths of the files with keys that these variables name."""
    return [os.fspath(path) for name, path in variables.items() if name.endswith(_FILE)]  # type: ignore[call-overload]


def _read(environ: Mapping[str, object]) -> dict[str, Any]:
    given = {name: value for name, value in environ.items() if _is_set(name, value)}
    options: dict[str, Any] = {}
    configs: dict[str, Any] = {}
    settings: dict[tuple[str, str], object] = {}
    media = {*BACKENDS, *_media_in(given.get(_MEDIA))}
    for name, value in given.items():
        variable = name.removesuffix(_FILE)
        is_other = variable in _VARIABLES or re.fullmatch(_SERVICE_LINK, name)
        setting = None if is_other else split_name(variable, media)
        if variable != name and (variable in _FROM_FILES or variable.startswith(_PLUGIN) or setting is not None):
            if variable in given:
                raise ConfigurationError(
                    f"the environment variables {variable} and {name} are both set; leave one of them out"
                )
            place, value = f"the file that the environment variable {name} names", _text_of_file(name, value)
        else:
            variable, place = name, f"the environment variable {name}"
        if setting is not None:
            settings[setting] = _SETTINGS.get(setting[1], _bare)(place, value)
        elif variable.startswith(_PLUGIN) and variable != _PLUGIN:
            configs[variable.removeprefix(_PLUGIN)] = _config(place, value)
        elif variable in _VARIABLES:
            argument, read = _VARIABLES[variable]
            options[argument] = read(place, value)
        elif not re.fullmatch(_SERVICE_LINK, name):
            raise ConfigurationError(_unknown(name, media))
    web = {argument: options.pop(argument) for argument in _OF_WEB if argument in options}
    grouped = {"plugin_config": configs, "media_config": collected(settings), "web": Web(**web) if web else None}
    return {**options, **{argument: value for argument, value in grouped.items() if value}}


def _is_set(name: object, value: object) -> bool:
    """Whether this is one of the kit's variables, and not empty."""
    if not isinstance(name, str) or value is None or (isinstance(value, str) and not value):
        return False
    # In another case only names that exactly match a variable: lower-case names may belong to others.
    return name.startswith(_PREFIX) or name.upper().removesuffix(_FILE) in _VARIABLES


def _media_in(value: object) -> list[str]:
    """The names of the media services in ``ROLECALL_MEDIA``."""
    named = _names(_MEDIA, value)
    return [name for name in named if isinstance(name, str)] if isinstance(named, Collection) else []


def _unknown(name: str, media: Iterable[str]) -> str:
    known = [variable.removeprefix(_PREFIX) for variable in _VARIABLES]
    if name.upper().endswith(_FILE):
        known = [variable.removeprefix(_PREFIX) + _FILE for variable in _FROM_FILES]
    close = nearest_setting(name[len(_PREFIX) :], media) or nearest(name[len(_PREFIX) :], known)
    hint = f"did you mean {_PREFIX}{close}?" if close else f"there are {_LISTED}"
    return f"the environment variable {shown(name, 80)} is unknown to Rolecall; {hint}"


def _text_of_file(variable: str, path: object) -> str:
    """The content of a variable's file, without the line end that editors and mounted secrets append."""
    if not isinstance(path, str | os.PathLike):
        raise ConfigurationError(f"the environment variable {variable} is {shown(path)}; expected the path of a file")
    around = wrapping(path) if isinstance(path, str) else None
    if around is not None:
        raise ConfigurationError(f"the environment variable {variable} has {around}; take it off")
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_FILE + 1)
        text = content.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"the file that the environment variable {variable} names is no text in UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path"
        raise ConfigurationError(
            f"the environment variable {variable} names no file that can be read: {reason}; expected a path"
        ) from None
    if len(content) > _MAX_FILE:
        raise ConfigurationError(
            f"the file that the environment variable {variable} names has more than {_MAX_FILE} bytes"
        )
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigurationError(f"the file that the environment variable {variable} names is empty")
    return text


# Each of these parses a value; their errors name its place.


def _bare(place: str, value: object) -> object:
    around = wrapping(value) if isinstance(value, str) else None
    if around is not None:
        raise ConfigurationError(f"{place} has {around}; take it off")
    return value


def _api_key(place: str, value: object) -> object:
    # Flask's from_prefixed_env turns a key of digits into a number.
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else _bare(place, value)


def _pem_or_path(_: str, value: object) -> object:
    return value  # checked later, because the rules for PEM differ from those for a path


def _unquoted(place: str, value: str) -> str:
    """``value`` without the white space around it."""
    text = value.strip()
    around = wrapping(text)
    if around is not None:
        raise ConfigurationError(f"{place} has {around}; take it off")
    return text


def _names(place: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    return [name.strip() for name in _unquoted(place, value).split(",") if name.strip()]


def _entry_points(place: str, value: object) -> object:
    named = value.strip().lower() if isinstance(value, str) else ""
    if named == "all":
        raise ConfigurationError(
            f"{place} is 'all'; plugins of installed packages load when they are named: "
            "expected names, separated by commas, or none"
        )
    return False if named == "none" else _names(place, value)


def _origins(place: str, value: object) -> object:
    origins = _names(place, value)
    for number, origin in enumerate(origins if isinstance(origins, Collection) else (), 1):
        problem = problem_with_origin(origin) if isinstance(origin, str) else None
        if problem is not None:
            # A text that is no URL may be another variable's value; a URL with a user may hold a password.
            quoted = f" ({shown(origin, 80)})" if re.match("(?i)https?://[^@]*$", origin) else ""
            raise ConfigurationError(
                f"{place}: origin number {number}{quoted} is no origin that browsers send: {problem}"
            )
    return origins


def _switch(place: str, value: object) -> object:
    if isinstance(value, int):
        return bool(value) if value in (0, 1) else value
    if not isinstance(value, str):
        return value
    switches = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    text = _unquoted(place, value).lower()
    if text not in switches:
        raise ConfigurationError(f"{place} is neither 1 nor 0")
    return switches[text]


def _seconds(place: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return float(_unquoted(place, value))
    except ValueError:
        raise ConfigurationError(f"{place} is no number; expected seconds") from None


def _duration(place: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    found = read_duration_with_unit(_unquoted(place, value))
    if found is None:
        raise ConfigurationError(f"{place} is not a duration with its unit; write for example 90d, 12h or 90s")
    return found


def _whole(place: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return int(_unquoted(place, value))
    except ValueError:
        raise ConfigurationError(f"{place} is no whole number") from None


def _object(place: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    text = _unquoted(place, value)
    try:
        return strict_json.loads(text.encode())
    except ValueError as error:
        raise ConfigurationError(f"{place} is not one strict JSON object: {error}") from None


def _config(place: str, value: object) -> Mapping[str, Any]:
    config = _object(place, value)
    if not isinstance(config, Mapping):
        raise ConfigurationError(f"{place} is {shown(config)}; expected a JSON object, or a mapping")
    return config


def _list(place: str, value: object) -> object:
    """A JSON list of texts, such as secrets: they may have any character, so nothing else separates them."""
    if not isinstance(value, str):
        return value
    try:
        document = strict_json.loads(b'{"":' + value.strip().encode() + b"}")
        listed = document[""] if len(document) == 1 else None
        del document
    except (ValueError, KeyError):
        listed = None
    finally:
        del value
    if not isinstance(listed, tuple) or not all(isinstance(one, str) for one in listed):
        del listed
        raise ConfigurationError(f'{place} is not a JSON list of texts: ["…"]')
    return listed


#: The kit's variables: the argument of each, and its parser.
_VARIABLES: Final[Mapping[str, tuple[str, Callable[[str, Any], object]]]] = {
    "ROLECALL_API_KEY": ("api_key", _api_key),
    "ROLECALL_API_SECRET": ("api_secret", _bare),
    "ROLECALL_VERIFY_SECRETS": ("verify_secrets", _list),
    "ROLECALL_APPLICATION_ID": ("application_id", _bare),
    "ROLECALL_PRIVATE_KEY": ("private_key", _pem_or_path),
    "ROLECALL_VERIFY_KEYS": ("verify_keys", _list),
    "ROLECALL_ISSUER": ("issuer", _bare),
    "ROLECALL_AUDIENCE": ("audience", _bare),
    "ROLECALL_PROJECTS": ("projects", _object),
    "ROLECALL_KEYS_FILE": ("keys_file", _bare),
    "ROLECALL_KEYS_KEY": ("keys_key", _names),
    "ROLECALL_FORMAT": ("format", _bare),
    "ROLECALL_ACCEPT": ("accept", _names),
    "ROLECALL_STORE": ("store", _bare),
    "ROLECALL_REVOCATION": ("revocation", _bare),
    "ROLECALL_PLUGINS": ("plugins", _names),
    "ROLECALL_ENTRY_POINTS": ("entry_points", _entry_points),
    "ROLECALL_BLOCKED_PLUGINS": ("blocked_plugins", _names),
    "ROLECALL_SESSION_RETENTION": ("session_retention", _duration),
    "ROLECALL_MAX_SESSION_AGE": ("max_session_age", _duration),
    "ROLECALL_MAX_TOTAL_LIFE": ("max_total_life", _seconds),
    "ROLECALL_ORIGINS": ("origins", _origins),
    "ROLECALL_OPENAPI": ("openapi", _switch),
    "ROLECALL_ACTOR_CLAIM": ("actor_claim", _switch),
    "ROLECALL_LEDGER": ("ledger", _switch),
    "ROLECALL_SESSION_NAMES": ("session_names", _bare),
    _MEDIA: ("media", _names),
    "ROLECALL_TRACE": ("trace", _switch),
}
#: The parsers of those settings of media services that are no plain text; the names are common to all services.
_SETTINGS: Final[Mapping[str, Callable[[str, Any], object]]] = {
    "verify_secrets": _list,
    "ticket_life": _seconds,
    "timeout": _seconds,
    "accept_unexpiring": _switch,
    "accept_wider": _names,
    "accept_emulated": _names,
    "cohost_authentication": _switch,
    "eject_at_expiry": _switch,
    "roles": _object,
    "features": _names,
    "key": _pem_or_path,
    "private_key": _pem_or_path,
    "verify_keys": _list,
    "meeting_life": _seconds,
    "room_options": _object,
    "projects": _object,
    "retries": _whole,
    "turn_urls": _names,
    "turn_verify_secrets": _list,
}
_LISTED: Final = f"{', '.join(_VARIABLES)}, {_PLUGIN}<NAME> and, of each media service, {_PREFIX}<SERVICE>_<SETTING>"
# Arguments of Web, and not of the kit itself.
_OF_WEB: Final = ("origins", "openapi")
#: Variables with a form ``…_FILE`` for a file with the value; each plugin's has one, too.
_FROM_FILES: Final = (
    "ROLECALL_API_KEY",
    "ROLECALL_API_SECRET",
    "ROLECALL_VERIFY_SECRETS",
    "ROLECALL_APPLICATION_ID",
    "ROLECALL_PRIVATE_KEY",
    "ROLECALL_VERIFY_KEYS",
    "ROLECALL_PROJECTS",
    "ROLECALL_KEYS_KEY",
    "ROLECALL_STORE",
)
#: The arguments with keys, and with the ids of their issuers.
KEY_ARGUMENTS: Final = (
    "api_key",
    "api_secret",
    "verify_secrets",
    "application_id",
    "private_key",
    "verify_keys",
    "issuer",
    "audience",
    "projects",
)
