"""The app for ``INSTALLED_APPS``: its checks, and its command."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Tags, register


class RolecallConfig(AppConfig):
    """Rolecall as an app of Django's: ``INSTALLED_APPS = ["rolecall_django", …]``."""

    name = "rolecall_django"
    label = "rolecall"
    verbose_name = "Rolecall"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks. No kit is made, and no database is asked."""
        from . import checks

        register(checks.check_kit, Tags.security)
        register(checks.check_middleware, Tags.security)
        register(checks.check_deployment, Tags.security, deploy=True)
