"""The app for ``INSTALLED_APPS``: its checks, its command, and the tables of its store."""

from __future__ import annotations

import sys
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import Tags, register
from django.db.models.signals import post_migrate


class RolecallConfig(AppConfig):
    """Rolecall as an app of Django's: ``INSTALLED_APPS = ["rolecall_django", …]``."""

    name = "rolecall_django"
    label = "rolecall"
    verbose_name = "Rolecall"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks. No kit is made, and no database is asked."""
        from . import checks, stores

        register(checks.check_kit, Tags.security)
        register(checks.check_middleware, Tags.security)
        register(checks.check_deployment, Tags.security, deploy=True)
        stores.remember_databases()
        post_migrate.connect(_migrate_store, sender=self)
        if apps.is_installed("drf_spectacular"):
            from . import rest_schema  # noqa: F401, which tells it of the authentication class


def _migrate_store(*, using: str, verbosity: int = 1, stdout: Any = None, **_: Any) -> None:
    """Make or extend the tables of ``store="django"``, whenever ``manage.py migrate`` ran on its database."""
    from . import kits, stores

    if kits.store_alias() != using:
        return
    if stores.is_of_another(using):  # of a kit that was made before a test run began, as a module was imported
        kits.forget_kit()
    versions = stores.migrate(using)
    if verbosity > 0 and versions is not None and versions[0] != versions[1]:
        (stdout or sys.stdout).write(f"  Rolecall's tables: from version {versions[0]} to {versions[1]}\n")
