"""Watching a grant until it ends: for connections that stay open, and for work that goes on for longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from ..driver import event_loops
from .revisions import INTERVAL

if TYPE_CHECKING:
    from ..tokens import Grant
    from . import Engine


class GrantWatch:
    """Checks a grant again and again: when this process learns that it was revoked, when it expires, and at intervals.

    :param recheck: the seconds between two checks while nothing is learned.
    """

    def __init__(self, engine: Engine, grant: Grant, recheck: float) -> None:
        self._engine = engine
        #: The grant after the last check.
        self.grant = grant
        self._recheck = recheck
        # By both clocks, so that setting a clock back makes no grant longer.
        self._opened = engine.state.clock(), monotonic()
        # When it was last checked: never, so that the first check comes at once.
        self._looked = -inf
        # The revision as of which the next one is known.
        self._revision: object = None
        self._is_revoked = False
        self._woken: event_loops.Signal | None = None

    @property
    def due(self) -> float:
        """The seconds until the next check."""
        with suppress(Exception):  # a store that cannot tell is asked again when the time has come
            if self.is_revoked():
                return 0.0
        return max(0.0, min(self._looked + self._recheck - monotonic(), self._lasts))

    def is_revoked(self) -> bool:
        """Whether this process has learned that the grant was revoked. It takes microseconds, and asks nobody.

        :raises StoreUnavailable: if the store cannot tell.
        """
        revision = self._engine.state.revisions.current()
        if revision is not None and revision != self._revision:
            self._is_revoked = self._engine.is_revoked(self.grant)
            self._revision = revision
        return self._is_revoked

    async def look(self) -> None:
        """Check now.

        :raises RolecallError: if the grant has ended.
        """
        self._begin_look()
        await self._engine.check_again(self.grant, self._time_by_now())
        self._looked = monotonic()

    async def look_in_time(self) -> None:
        """:meth:`look`, which waits no longer than until the grant expires."""
        grant = self.grant
        try:
            async with event_loops.running().timeout(max(0.0, self._lasts)):
                await self.look()
        except TimeoutError:
            if grant is self.grant:  # unless it was renewed meanwhile
                self._engine.check_expiry(grant, grant.expires_at)

    def told(self, tell: Callable[[], None]) -> AbstractContextManager[None]:
        """Have ``tell`` called, on the running event loop, when this process learns that the grant was revoked."""
        return self._engine.state.revisions.told(partial(self._tell_if_revoked, tell))

    async def until_the_end(self, looked: Callable[[], None] | None = None) -> Exception:
        """Wait, on the running event loop, until the grant ends; return why.

        :param looked: is called after each check.
        """
        self._woken = event_loops.running().signal()
        with self.told(self._wake):
            try:
                while True:
                    await self._pause()
                    await self.look_in_time()
                    if looked is not None:
                        looked()
            except Exception as error:
                return error

    async def wait(self, seconds: float | None) -> Exception | None:
        """Wait, as the engine does, until the grant ends; return why, or None if it still lasts after ``seconds``."""
        if self._engine.blocks:
            return await self._wait_in_place(inf if seconds is None else seconds)
        if seconds is None:
            return await self.until_the_end()
        try:
            async with event_loops.running().timeout(max(0.0, seconds)):
                return await self.until_the_end()
        except TimeoutError:
            return None

    async def _wait_in_place(self, seconds: float) -> Exception | None:
        until = monotonic() + seconds
        while True:
            if self.due <= 0:
                try:
                    await self.look()
                except Exception as error:
                    return error
            left = until - monotonic()
            if left <= 0:
                return None
            time.sleep(min(INTERVAL, left, self.due))

    def replace(self, grant: Grant) -> None:
        """Watch another grant from now on, which was checked just now."""
        self.grant = grant
        self._revision, self._is_revoked = None, False  # it may have been revoked meanwhile
        self._looked = monotonic()
        self._wake()

    def _tell_if_revoked(self, tell: Callable[[], None]) -> bool:
        is_revoked = self.is_revoked()
        if is_revoked:
            tell()
        return is_revoked

    def _wake(self) -> None:
        """Have :meth:`until_the_end` see when the next check is due."""
        if self._woken is not None:
            self._woken.give()

    async def _pause(self) -> None:
        """Wait until the next check is due."""
        loop = event_loops.running()
        while (due := self.due) > 0:
            assert self._woken is not None
            with suppress(TimeoutError):
                async with loop.timeout(due):
                    await self._woken.wait()
            self._woken = loop.signal()

    def _begin_look(self) -> None:
        # At the beginning: what is learned during a look calls for another one.
        self._is_revoked = False

    @property
    def _lasts(self) -> float:
        """The seconds until the grant expires."""
        return self.grant.expires_at - max(self._engine.state.clock(), self._time_by_now())

    def _time_by_now(self) -> float:
        opened, started = self._opened
        return opened + monotonic() - started
