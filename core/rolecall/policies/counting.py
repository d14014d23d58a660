"""Policies that count, by leases in the kit's store."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..hookspecs import hookimpl
from .arguments import checked_name

if TYPE_CHECKING:
    from ..kit import Rolecall
    from ..kit.leases import Leases


class Counting:
    """A policy whose counts are in the store of its kit: shared by all workers, as durable as the sessions.

    :param name: the policy's name. Policies with the same name, on the same store, share their counts.
    """

    def __init__(self, name: object) -> None:
        self.name = checked_name(name)
        self._kit: Rolecall | None = None

    @hookimpl
    def rolecall_startup(self, kit: Rolecall) -> None:
        if self._kit is not None:
            raise ConfigurationError(
                f"the policy {self.name!r} counts in the store of another kit already; make one for each kit"
            )
        kit.leases.check_supported()
        self._kit = kit

    @property
    def _leases(self) -> Leases:
        assert self._kit is not None, "the kit starts its plugins"
        return self._kit.leases

    def _key(self, unit: str, value: str) -> str:
        """The key of a count. Ids of actors may be long, odd and personal, so only their hash is stored."""
        return f"{self.name} {unit} {sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
