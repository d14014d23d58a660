"""The guard around the whole site, by the settings."""

from __future__ import annotations

from typing import Any, Final

from rolecall.errors import ConfigurationError
from rolecall.http.adapter import ANY_TOKEN, shown

from .guards import Guard
from .kits import PROTECT, SETTING, options

# The modules of Django's own views of files.
_FILES: Final = frozenset({"django.views.static", "django.contrib.staticfiles.views"})


def guard_of_site() -> Guard | None:
    """The guard around the whole site, by the settings; None if there is none.

    :raises ConfigurationError: if the settings name something else.
    """
    given = options().get(PROTECT, False)
    if given is False or given is None:
        return None
    if given is True:
        return Guard(ANY_TOKEN)
    if not isinstance(given, Guard):
        raise ConfigurationError(
            f'{SETTING}["{PROTECT}"] is {shown(given)}; expected True, or a guard of rolecall_django: '
            'require_role("moderator")'
        )
    return given


def is_of_files(view: Any) -> bool:
    """Whether a view is Django's own for files, which belong to no session; not a function around it."""
    return getattr(view, "__module__", None) in _FILES and not hasattr(view, "__wrapped__")
