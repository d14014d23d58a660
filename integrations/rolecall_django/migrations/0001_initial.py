"""The models of the admin, none of which has a table."""

from typing import Any, ClassVar

from django.db import migrations, models


def _model(name: str, key: str, **options: Any) -> migrations.CreateModel:
    fields: list[tuple[str, models.Field[Any, Any]]] = [
        (key, models.CharField(max_length=255, primary_key=True, serialize=False))
    ]
    shared = {"managed": False, "default_permissions": ("view", "change"), "base_manager_name": "objects"}
    return migrations.CreateModel(name, fields, shared | options)


class Migration(migrations.Migration):
    """The first one."""

    initial = True
    dependencies: ClassVar = []
    operations: ClassVar = [
        _model("Session", "session_id"),
        _model("IssuedToken", "token_id", verbose_name="live token"),
        _model("Exclusion", "session_id"),
    ]
