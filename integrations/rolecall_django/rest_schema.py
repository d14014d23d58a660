"""The guards in the OpenAPI description that drf-spectacular makes of an app."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import spectacular_settings

from rolecall.http.adapter import ANY_TOKEN, PROBLEMS, guard_refusals

from .rest import demanded

_SCHEME: Final = "rolecall"
_PROBLEM: Final = "RolecallProblem"
_ABOUT: Final = (
    "A Rolecall token. What it must be enough for stands with each operation, as `role:…` or `capability:…`; all of it "
    "is required."
)


class RolecallScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes ``RolecallAuthentication``, with what the permissions of a view require.

    OpenAPI 3.0 has no place for what a bearer's token must be enough for; 3.1 has one: ``"OAS_VERSION": "3.1.1"``.
    """

    target_class = "rolecall_django.rest.RolecallAuthentication"
    match_subclasses = True
    name = _SCHEME

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """See drf-spectacular."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": _ABOUT}

    def get_security_requirement(self, auto_schema: AutoSchema) -> dict[str, list[str]]:
        """See drf-spectacular."""
        requirements = [guard.requirement for guard in demanded(auto_schema.view.get_permissions())]
        scopes = dict.fromkeys(requirement.scope for requirement in requirements if requirement != ANY_TOKEN)
        return {self.name: [] if _is_old() else [*scopes]}


def document_refusals(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the refusals to every guarded operation of a description; for ``POSTPROCESSING_HOOKS``.

    An operation's own description of a status is kept.
    """
    guarded = [operation for path in result["paths"].values() for operation in path.values() if _is_guarded(operation)]
    if not guarded:
        return result
    schema: Any = PROBLEMS.answer.schema
    result["components"].setdefault("schemas", {}).setdefault(_PROBLEM, {"title": _PROBLEM, **_written(schema)})
    content = {PROBLEMS.media_type: {"schema": {"$ref": f"#/components/schemas/{_PROBLEM}"}}}
    for operation in guarded:
        for status, described in guard_refusals().items():
            operation["responses"].setdefault(str(status), {**_written(described), "content": content})
    return result


def _written(part: Any) -> Any:
    """A part of a description, as the version of the whole has it: 3.0 knows no constants."""
    if isinstance(part, list):
        return [_written(one) for one in part]
    if not isinstance(part, dict):
        return part
    if "const" in part and _is_old():
        return {**_written({name: one for name, one in part.items() if name != "const"}), "enum": [part["const"]]}
    return {name: _written(one) for name, one in part.items()}


def _is_old() -> bool:
    return str(spectacular_settings.OAS_VERSION).startswith("3.0")


def _is_guarded(operation: Any) -> bool:
    security = operation.get("security", ()) if isinstance(operation, dict) else ()
    return any(_SCHEME in one for one in security)
