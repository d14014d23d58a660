"""The kit's own OpenAPI document in FastAPI's terms, so that its operations stand in the app's description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import new_class
from typing import Any, ClassVar, Final

from fastapi import Response, Security
from fastapi.params import Depends
from fastapi.responses import JSONResponse
from fastapi.security.base import SecurityBase
from pydantic import RootModel

from .openapi import SCHEME

_JSON: Final = "application/json"
_COMPONENT: Final = "#/components/schemas/"


class Description:
    """Makes FastAPI's arguments for the kit's operations from their description.

    :param document: the kit's OpenAPI document.
    :param name: the beginning of the names of models and security schemes.
    """

    def __init__(self, document: Mapping[str, Any], name: str) -> None:
        self._paths = document["paths"]
        self._schemas = document["components"]["schemas"]
        prefix = "".join(part.capitalize() for part in name.replace("-", "_").split("_"))
        self._models = {key: _model(f"{prefix}{key}", self._inlined(value)) for key, value in self._schemas.items()}
        self._schemes: dict[str, Any] = {
            key: KitScheme(f"{name}_{key}", scheme) for key, scheme in document["components"]["securitySchemes"].items()
        }
        self._parameters = {key: scheme.model for key, scheme in self._schemes.items()}
        self._schemes["bearer"] = SCHEME
        # The models that some operation hands to FastAPI, which thereby puts them into the app's components.
        self._native = {
            self._name_of(content["schema"])
            for operation in self._operations()
            for response in operation["responses"].values()
            for media_type, content in response.get("content", {}).items()
            if media_type == _media_type(operation)
        }

    def arguments(self, path: str, method: str) -> dict[str, Any] | None:
        """The arguments of an operation for ``add_api_route``; None if the kit does not describe it."""
        item = self._paths.get(path, {})
        operation = item.get(method.lower())
        if operation is None:
            return None
        status, granted = next(iter(operation["responses"].items()))
        schema = granted.get("content", {}).get(_JSON, {}).get("schema")
        return {
            "status_code": int(status),
            "response_model": None if schema is None else self._models[self._name_of(schema)],
            "response_class": _response_class(operation),
            "response_description": granted["description"],
            "summary": operation["summary"],
            "description": operation.get("description"),
            "dependencies": [*self._security(operation)],
            "responses": {
                int(status): self._response(response, _media_type(operation))
                for status, response in operation["responses"].items()
            },
            "openapi_extra": self._further(item, operation),
        }

    def _operations(self) -> Iterator[Mapping[str, Any]]:
        for item in self._paths.values():
            yield from (operation for method, operation in item.items() if method != "parameters")

    def _security(self, operation: Mapping[str, Any]) -> Iterator[Depends]:
        for alternative in operation.get("security", ()):
            for name, scopes in [*alternative.items()][:1]:
                yield Security(self._schemes[name], scopes=scopes)

    def _further(self, item: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, Any]:
        """What FastAPI learns of an operation from no signature, since the kit reads all of it itself."""
        alternatives = operation.get("security", ())
        # FastAPI knows no scheme that goes with another one.
        beside = {name: self._parameters[name] for alternative in alternatives for name in [*alternative][1:]}
        parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
        parameters += [
            {
                "name": scheme["name"],
                "in": scheme["in"],
                "required": False,
                "schema": {"type": "string"},
                "description": "goes with the cookie, which is no proof by itself",
            }
            for scheme in beside.values()
        ]
        further = {"parameters": parameters, "security": [{} for alternative in alternatives if not alternative]}
        body = {"requestBody": operation["requestBody"]} if "requestBody" in operation else {}
        return {key: value for key, value in further.items() if value} | body

    def _response(self, response: Mapping[str, Any], native: str | None) -> dict[str, Any]:
        others = {name: value for name, value in response.items() if name != "content"}
        content = {}
        for media_type, described in response.get("content", {}).items():
            name = self._name_of(described["schema"])
            if name is None:
                content[media_type] = described
            elif media_type == native:
                others["model"] = self._models[name]
            else:
                content[media_type] = {"schema": self._reference(name)}
        return {**others, "content": content} if content else others

    def _reference(self, name: str) -> Any:
        if name in self._native:
            return {"$ref": f"{_COMPONENT}{self._models[name].__name__}"}
        return self._inlined(self._schemas[name])

    def _name_of(self, schema: Mapping[str, Any]) -> str | None:
        reference: str | None = schema.get("$ref")
        return None if reference is None else reference.removeprefix(_COMPONENT)

    def _inlined(self, schema: Any) -> Any:
        """A schema without references to others."""
        if isinstance(schema, list | tuple):
            return [self._inlined(one) for one in schema]
        if not isinstance(schema, Mapping):
            return schema
        if (name := self._name_of(schema)) is not None:
            return self._inlined(self._schemas[name])
        return {key: self._inlined(value) for key, value in schema.items()}


class KitScheme(SecurityBase):
    """One of the kit's security schemes: ``model`` is its definition."""

    def __init__(self, name: str, model: Mapping[str, Any]) -> None:
        self.scheme_name = name
        self.model: Any = model  # FastAPI only turns it to JSON

    async def __call__(self) -> None:
        """Do nothing: the kit finds the credential itself."""


class ProblemAnswer(Response):
    """The type of refusals, for an operation whose answer has no content."""

    media_type = "application/problem+json"


def _response_class(operation: Mapping[str, Any]) -> type[Response]:
    granted = next(iter(operation["responses"].values()))
    if "content" in granted:
        return JSONResponse
    return ProblemAnswer if _media_type(operation) == ProblemAnswer.media_type else Response


def _media_type(operation: Mapping[str, Any]) -> str | None:
    """The one type whose schemas FastAPI takes as models: that of the answer, or else of the refusals."""
    for response in operation["responses"].values():
        for media_type in response.get("content", {}):
            return str(media_type)
    return None


class _Model(RootModel[Any]):
    @classmethod
    def __get_pydantic_json_schema__(cls, *_: Any) -> dict[str, Any]:
        return {"title": cls.__name__, **cls.described}

    described: ClassVar[Any]


def _model(name: str, schema: Any) -> type[_Model]:
    """A model with a schema of the kit's; FastAPI describes answers by models alone."""
    return new_class(name, (_Model,), exec_body=lambda namespace: namespace.update(described=schema))
