"""A wait that fails states what it waited for and what it saw last."""

import asyncio
from types import SimpleNamespace

import pytest

from tests.until import came_true, until, until_async


def failure_of(*arguments: object, **options: object) -> list[str]:
    with pytest.raises(AssertionError) as failed:
        until(*arguments, seconds=0, **options)  # type: ignore[arg-type]
    return str(failed.value).splitlines()


def test_failure_of_a_wait_has_each_side_of_its_comparison() -> None:
    order, wanted = SimpleNamespace(status="PENDING"), "FILLED"
    assert failure_of(lambda: order.status == wanted, "not filled") == [
        "not filled: waited 0 s for `order.status == wanted`",
        "  order.status is 'PENDING'",
        "  wanted is 'FILLED'",
    ]


def test_failure_of_a_wait_has_each_part_and_what_a_part_raises() -> None:
    rows: list[int] = []
    lines = failure_of(lambda: not rows and any(rows) and rows[0] == 1, seen=lambda: "a row")
    assert lines == [
        "It did not come to that: waited 0 s for `not rows and any(rows) and (rows[0] == 1)`",
        "  rows is []",
        "  any(rows) is False",
        "  rows[0] is an error: IndexError('list index out of range')",
        "  seen: 'a row'",
    ]


def test_failure_of_a_wait_names_a_function_and_its_last_value() -> None:
    def is_there() -> list[int]:
        return []

    first, last = failure_of(is_there)
    assert first.endswith(".is_there`")
    assert last == "  at last: []"


def test_wait_returns_the_value_and_drives_what_it_waits_for() -> None:
    found: list[int] = []
    assert until(lambda: found[2:], meanwhile=lambda: found.append(len(found))) == [2]
    assert came_true(lambda: found, 0)
    assert not came_true(lambda: not found, 0)


def test_wait_of_a_task_lets_the_others_run() -> None:
    async def wait() -> bool:
        done = asyncio.Event()
        asyncio.get_running_loop().call_soon(done.set)
        return await until_async(done.is_set)

    assert asyncio.run(wait())
