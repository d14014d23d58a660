"""The app for ``INSTALLED_APPS``: its checks, and its command."""

from __future__ import annotations

from django.apps import AppConfig


class RolecallConfig(AppConfig):
    """Rolecall as an app of Django's: ``INSTALLED_APPS = ["rolecall_django", …]``."""

    name = "rolecall_django"
    label = "rolecall"
    verbose_name = "Rolecall"
    default_auto_field = "django.db.models.BigAutoField"
