"""Turns on an event loop: many tasks that begin at once let others run in between."""

from __future__ import annotations

import asyncio

import pytest

from rolecall.driver.turns import MOST, Turns


async def begun_when_another_runs(turns: Turns, number: int) -> list[int]:
    """How many of ``number`` tasks had begun, each time that another task had its turn."""
    begun, seen = 0, []

    async def begin() -> None:
        nonlocal begun
        await turns.take()
        begun += 1

    tasks = [asyncio.ensure_future(begin()) for _ in range(number)]
    while begun < number:
        await asyncio.sleep(0)
        seen.append(begun)
    await asyncio.gather(*tasks)
    return seen


def test_tasks_that_begin_at_once_let_others_run_in_between():
    seen = asyncio.run(begun_when_another_runs(Turns(), 10 * MOST))
    steps = [after - before for before, after in zip([0, *seen], seen, strict=False)]
    assert max(steps) <= MOST
    assert seen[-1] == 10 * MOST


def test_few_tasks_begin_at_once():
    assert asyncio.run(begun_when_another_runs(Turns(), MOST)) == [MOST]


def test_a_task_that_is_cancelled_while_it_waits_takes_nobodys_turn():
    async def use() -> list[int]:
        turns = Turns()
        for _ in range(MOST):
            await turns.take()
        waiting = [asyncio.ensure_future(turns.take()) for _ in range(3 * MOST)]
        await asyncio.sleep(0)
        for task in waiting[:-1]:
            task.cancel()
        await asyncio.wait_for(waiting[-1], 30)
        return await begun_when_another_runs(turns, MOST)

    assert asyncio.run(use())[-1] == MOST


def test_each_loop_has_turns_of_its_own():
    turns = Turns()
    for _ in range(2):
        assert asyncio.run(begun_when_another_runs(turns, 3 * MOST))[-1] == 3 * MOST


def test_without_a_loop_of_asyncio_nobody_waits():
    with pytest.raises(StopIteration):
        Turns().take().send(None)
