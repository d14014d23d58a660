"""Sessions as a kit hands them out: a record, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..roles import Role
from ..sessions import SessionRecord, record_fields
from ..tokens import ExpireTime

if TYPE_CHECKING:
    from . import AsyncRolecall, Rolecall


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Session(SessionRecord):
    """A session of a kit. What is pickled of it is its :class:`SessionRecord`: its kit holds keys, and stays."""

    kit: Rolecall = field(kw_only=True)

    def __reduce__(self) -> Any:
        return SessionRecord, tuple(record_fields(self).values())

    def __copy__(self) -> Session:
        return self  # it does not change

    def __deepcopy__(self, memo: object) -> Session:
        return self  # nor does its kit belong to a copy

    @property
    def api_key(self) -> str:
        """The API key of the project that it is of."""
        return self.kit.api_key_of(self.session_id)

    def generate_token(
        self,
        role: str = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
    ) -> str:
        """A token for this session; see :meth:`Rolecall.generate_token`."""
        return self.kit.generate_token(self.session_id, role, expire_time, data, initial_layout_class_list)

    def end(self) -> None:
        """End this session; see :meth:`Rolecall.end_session`."""
        self.kit.end_session(self.session_id)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AsyncSession(SessionRecord):
    """A session of a kit, as ``kit.aio`` gives it; see :class:`Session`."""

    kit: AsyncRolecall = field(kw_only=True)

    def __reduce__(self) -> Any:
        return SessionRecord, tuple(record_fields(self).values())

    def __copy__(self) -> AsyncSession:
        return self

    def __deepcopy__(self, memo: object) -> AsyncSession:
        return self

    @property
    def api_key(self) -> str:
        """The API key of the project that it is of."""
        return self.kit.api_key_of(self.session_id)

    async def generate_token(
        self,
        role: str = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
    ) -> str:
        """A token for this session; see :meth:`Rolecall.generate_token`."""
        return await self.kit.generate_token(self.session_id, role, expire_time, data, initial_layout_class_list)

    async def end(self) -> None:
        """End this session; see :meth:`Rolecall.end_session`."""
        await self.kit.end_session(self.session_id)
