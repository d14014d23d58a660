"""``manage.py rolecall``: the commands of ``rolecall``, with the kit of the settings, and the site's own URLs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from django.core.management.base import BaseCommand

from rolecall.cli import Framework, run
from rolecall_django.kits import find_retention, find_store, make_kit

# The commands that take an app, and the options of theirs that are no app.
_OF_APPS: Final = frozenset({"routes", "doctor"})
_PROJECT: Final = "rolecall_django.listing:project"
_SETTINGS: Final = Framework(make_kit, find_store, find_retention)


class Command(BaseCommand):
    """Runs a command of ``rolecall``."""

    help = "Sessions, tokens, keys and routes; see manage.py rolecall --help"
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Run with the arguments as they are: Django's own options are none of these commands'."""
        run(f"{argv[0].rpartition('/')[2]} {argv[1]}", with_project(argv[2:]), _SETTINGS)

    def handle(self, *_: Any, **__: Any) -> None:
        """Run for ``call_command("rolecall")``, which has no arguments."""
        self.run_from_argv([sys.argv[0], "rolecall", "--help"])


def with_project(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command, with this project as the app, if the command takes one and none is named."""
    if not arguments or arguments[0] not in _OF_APPS or any(one in ("-h", "--help") for one in arguments):
        return list(arguments)
    named = [
        one for place, one in enumerate(arguments[1:]) if not one.startswith("-") and arguments[place] != "--store"
    ]
    return list(arguments) if named else [arguments[0], _PROJECT, *arguments[1:]]
