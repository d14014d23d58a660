"""A reader of tokens by the rules of a Galène server, as measured; it shares nothing with the kit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import jwt

#: The leeway of its clock, in seconds.
LEEWAY = 5


class Refused(Exception):
    """The server answers "not authorised"."""


class GaleneGroup:
    """A group with keys in its file.

    :param name: the name of the group.
    :param auth_keys: JWKs, each with its ``alg``.
    """

    def __init__(self, name: str, auth_keys: Sequence[Mapping[str, Any]]) -> None:
        self._name = name
        self._keys = auth_keys

    def join(self, token: str, now: float) -> tuple[str, list[str]]:
        """The user name and the permissions with which a token joins.

        :raises Refused: if it does not.
        """
        claims = self._verified(token)
        if type(claims.get("exp")) not in (int, float) or now > claims["exp"] + LEEWAY:
            raise Refused("exp")
        if claims.get("iat", 0) > now + LEEWAY or claims.get("nbf", 0) > now + LEEWAY:
            raise Refused("iat")
        audiences = [claims["aud"]] if isinstance(claims.get("aud"), str) else claims.get("aud", [])
        if not any(self._is_here(urlsplit(one).path, claims.get("include-subgroups") is True) for one in audiences):
            raise Refused("aud")
        permissions = claims.get("permissions") or []
        if not isinstance(permissions, list):
            raise Refused("permissions")
        return claims.get("sub", ""), permissions

    def _is_here(self, path: str, subgroups: bool) -> bool:
        own = f"/group/{self._name}/"
        return own.startswith(path) and path.endswith("/") if subgroups else own == path

    def _verified(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        unchecked: Any = dict.fromkeys(["verify_exp", "verify_iat", "verify_nbf", "verify_aud", "verify_sub"], False)
        for key in self._keys:
            if key["alg"] != header["alg"] or header.get("kid", key.get("kid")) != key.get("kid"):
                continue
            try:
                read: dict[str, Any] = jwt.decode(
                    token, jwt.PyJWK({**key}, key["alg"]), algorithms=[key["alg"]], options=unchecked
                )
            except jwt.InvalidTokenError:
                continue
            return read
        raise Refused("signature")
