"""Django's settings for all tests of a process: one set, which a test changes by ``override_settings``."""

from __future__ import annotations

import django
from django.conf import settings


def configure() -> None:
    """Set Django up, with the apps and the database that some tests need."""
    if settings.configured:
        return
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "rolecall_django",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
        ],
        LOGGING_CONFIG=None,
        MIDDLEWARE=[],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=(),
        SECRET_KEY="for tests alone",
        USE_TZ=True,
    )
    django.setup()
