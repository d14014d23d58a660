"""The app's own table."""

from __future__ import annotations

from django.db import models


class SentOut(models.Model):
    """Who was sent out of which lesson."""

    session_id: models.CharField[str, str] = models.CharField(max_length=255)
    username: models.CharField[str, str] = models.CharField(max_length=150)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["session_id", "username"], name="sent_out_once"),)
