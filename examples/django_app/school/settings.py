"""The settings. The environment has ``ROLECALL_API_KEY``, ``ROLECALL_API_SECRET`` and ``SECRET_KEY`` (Django's own).

With ``ROLECALL_STORE=sqlite:///rolecall.db`` the app runs under any number of workers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "school.urls"
WSGI_APPLICATION = "school.wsgi.application"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "rolecall_django",
    "school",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "rolecall_django.RolecallMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SCHOOL_DATABASE", Path(__file__).parents[1] / "school.sqlite3"),
    }
}

ROLECALL: dict[str, Any] = {
    "plugins": ["rolecall_django.identity:RequestUser", "school.policies:SchoolPolicy"],
    # Every view needs a token, but for those that are marked as public.
    "protect": True,
}
