"""What the admin shows of a kit. No model has a table: the kit's store keeps the rows, whichever store it is."""

from __future__ import annotations

from typing import TypeVar

from django.db import models

Row = TypeVar("Row", bound=models.Model)


class NoRows(models.Manager[Row]):
    """Finds nothing, so that ``dumpdata`` and others ask no table that is not there."""

    def get_queryset(self) -> models.QuerySet[Row]:
        """An empty set."""
        return super().get_queryset().none()


class Session(models.Model):
    """A session of the kit."""

    session_id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=255)

    objects = NoRows["Session"]()

    class Meta:
        managed = False
        default_permissions = ("view", "change")
        base_manager_name = "objects"

    def __str__(self) -> str:
        return self.session_id


class IssuedToken(models.Model):
    """A token that the kit has issued, as its ledger has it; never the token itself."""

    token_id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=255)

    objects = NoRows["IssuedToken"]()

    class Meta:
        managed = False
        default_permissions = ("view", "change")
        base_manager_name = "objects"
        verbose_name = "live token"

    def __str__(self) -> str:
        return self.token_id


class Exclusion(models.Model):
    """An actor that is excluded from a session."""

    session_id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=255)

    objects = NoRows["Exclusion"]()

    class Meta:
        managed = False
        default_permissions = ("view", "change")
        base_manager_name = "objects"

    def __str__(self) -> str:
        return self.session_id
