"""The kit of the settings, and what each kit is under Django."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from django.conf import settings
from django.core.signals import setting_changed

from rolecall import Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import Api, shown
from rolecall.stores import Store

from .drivers import RequestsLoopDriver, RequestsThreadDriver
from .stores import open_store, place_in

#: The name of the setting.
SETTING: Final = "ROLECALL"
#: The name in it that is no argument of the kit: the guard around the whole site.
PROTECT: Final = "protect"


class SettingsKit(Rolecall):
    """The kit of the settings: hooks run on the request's thread also where the app's own code calls the kit."""

    _inline_driver = RequestsThreadDriver
    _loop_driver = RequestsLoopDriver


class Apis(NamedTuple):
    """A kit at the edge of HTTP, under Django's two ways to wait.

    :param thread: for code on a request's thread.
    :param loop: for code on the event loop.
    """

    thread: Api
    loop: Api


_making: Final = threading.RLock()
_made: dict[str, Rolecall] = {}
# Kits that the settings hold themselves.
_given: WeakSet[Rolecall] = WeakSet()
_apis: WeakKeyDictionary[Any, Apis] = WeakKeyDictionary()


def get_kit() -> Rolecall:
    """The kit that ``ROLECALL`` in the settings, and the environment, configure; it is made at the first call.

    ``ROLECALL`` is a dictionary of arguments of :class:`rolecall.Rolecall`, which take precedence over the variables of
    the environment; see :meth:`rolecall.Rolecall.from_env`. Its value may also be a kit.

    :raises ConfigurationError: says which setting or variable is missing, unknown or invalid.
    """
    kit = _made.get(SETTING)
    if kit is not None:
        return kit
    with _making:
        if SETTING not in _made:
            _made[SETTING] = make_kit()
        return _made[SETTING]


def make_kit(**further: Any) -> Rolecall:
    """Another kit of the settings; or the one that the settings hold.

    :param further: arguments of :class:`rolecall.Rolecall`, which take precedence.
    """
    given = getattr(settings, SETTING, None)
    if isinstance(given, Rolecall):
        _given.add(given)
        return given
    arguments = {name: value for name, value in options().items() if name != PROTECT} | further
    place = place_in(arguments.get("store", os.environ.get("ROLECALL_STORE")))
    if place is None:
        return SettingsKit.from_env(**arguments)
    store = open_store(*place)
    try:
        return SettingsKit.from_env(**arguments | {"store": store})
    except BaseException:
        store.close()
        raise


def store_alias() -> str | None:
    """The alias of the database in which the settings, or the environment, have the kit's store; None if in none.

    :raises ConfigurationError: if ``DATABASES`` has no such alias.
    """
    place = place_in(configured_store())
    return None if place is None else place.alias


def configured_store() -> object:
    """The store of the settings, or of the environment; None if neither names one."""
    given = getattr(settings, SETTING, None)
    if isinstance(given, Rolecall):
        return given.engine.state.store
    return options().get("store", os.environ.get("ROLECALL_STORE"))


def find_store(name: str | None) -> str | Store | None:
    """The store that the settings name, or the one in a database of theirs; for ``manage.py rolecall store``.

    :param name: such as ``"django"``; None for the store of the settings.
    :returns: a URL or a store; None for a name of another kind.
    """
    found: Any = configured_store() if name is None else name
    place = place_in(found)
    if place is not None:
        return open_store(*place)
    return found if name is None else None


def find_retention() -> Mapping[str, object]:
    """Those of the kit's arguments ``session_retention`` and ``max_session_age`` that the settings have."""
    given = getattr(settings, SETTING, None)
    if isinstance(given, Rolecall):
        kept = given.engine.state.retention
        return {"session_retention": kept.ended, "max_session_age": kept.age}
    return {name: value for name, value in options().items() if name in ("session_retention", "max_session_age")}


def options() -> Mapping[str, Any]:
    """The dictionary of the settings; empty if there is none.

    :raises ConfigurationError: if it is something else.
    """
    given = getattr(settings, SETTING, None)
    if given is None or isinstance(given, Rolecall):
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"the setting {SETTING} is {shown(given)}; expected a dictionary of a kit's arguments: "
            f'{SETTING} = {{"api_key": …, "api_secret": …}}'
        )
    return given


def apis_of(kit: Any) -> Apis:
    """What a kit is under Django."""
    found = _apis.get(kit)
    if found is None:
        with _making:
            found = Apis(kit.api_with(RequestsThreadDriver, blocks=True), kit.api_with(RequestsLoopDriver))
            found = _apis.setdefault(kit, found)
    return found


def _forget(*, setting: str, **_: Any) -> None:
    """Have a changed setting, in a test, make another kit."""
    if setting == SETTING:
        forget_kit()


def forget_kit() -> None:
    """Have the next call of :func:`get_kit` make another kit."""
    kit = _made.pop(SETTING, None)
    if kit is not None and kit not in _given:
        kit.close()


setting_changed.connect(_forget)
