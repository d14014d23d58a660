"""A kit's configuration in environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from . import strict_json
from .errors import ConfigurationError
from .http.web import Web

_TEXTS: Final = {
    "ROLECALL_API_KEY": "api_key",
    "ROLECALL_API_SECRET": "api_secret",
    "ROLECALL_APPLICATION_ID": "application_id",
    "ROLECALL_PRIVATE_KEY": "private_key",
    "ROLECALL_STORE": "store",
}
_LISTS: Final = {"ROLECALL_PLUGINS": "plugins", "ROLECALL_BLOCKED_PLUGINS": "blocked_plugins"}
_PLUGIN: Final = "ROLECALL_PLUGIN_"


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of a kit that the environment gives; a variable that is empty counts as not set.

    :raises ConfigurationError: for a variable that says nothing that can be meant; its value is not quoted.
    """
    try:
        return _read(environ)
    except ConfigurationError as error:
        problem = str(error)
    finally:
        del environ
    raise ConfigurationError(problem)  # from here, so that no frame of its traceback holds a variable


def _read(environ: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for variable, argument in _TEXTS.items():
        if environ.get(variable):
            options[argument] = environ[variable]
    for variable, argument in _LISTS.items():
        if environ.get(variable):
            options[argument] = _names(environ[variable])
    if environ.get("ROLECALL_ENTRY_POINTS"):
        options["entry_points"] = _entry_points(environ["ROLECALL_ENTRY_POINTS"])
    if environ.get("ROLECALL_ORIGINS"):
        options["web"] = _web(environ["ROLECALL_ORIGINS"])
    if environ.get("ROLECALL_TRACE"):
        options["trace"] = _switch("ROLECALL_TRACE", environ["ROLECALL_TRACE"])
    if environ.get("ROLECALL_PROJECTS"):
        options["projects"] = _object("ROLECALL_PROJECTS", environ["ROLECALL_PROJECTS"])
    configs = {name.removeprefix(_PLUGIN): text for name, text in environ.items() if name.startswith(_PLUGIN)}
    if configs:
        options["plugin_config"] = {name: _object(_PLUGIN + name, text) for name, text in configs.items() if text}
    return options


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _entry_points(text: str) -> bool | list[str]:
    named = text.strip().lower()
    return named == "all" if named in ("all", "none") else _names(text)


def _web(origins: str) -> Web:
    try:
        return Web(origins=_names(origins))
    except ConfigurationError:
        raise ConfigurationError(
            "the environment variable ROLECALL_ORIGINS is no list of origins as browsers send them; expected "
            "https://app.example,http://localhost:3000"
        ) from None


def _switch(variable: str, text: str) -> bool:
    switches = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.strip().lower() not in switches:
        raise ConfigurationError(f"the environment variable {variable} is neither 1 nor 0")
    return switches[text.strip().lower()]


def _object(variable: str, text: str) -> Mapping[str, Any]:
    try:
        return strict_json.loads(text.strip().encode())
    except ValueError as error:
        raise ConfigurationError(
            f"the environment variable {variable} is not one strict JSON object: {error}"
        ) from None
