"""The clock of a loop for tests: it stands with its process, and goes on while nothing happens."""

import asyncio
import time

import pytest

from tests.steady_loop import run


def test_pause_of_the_process_lets_nothing_time_out() -> None:
    async def pause() -> float:
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(0.2):
            time.sleep(0.5)  # noqa: ASYNC251 (the machine does something else)
            await asyncio.sleep(0.01)
        return asyncio.get_running_loop().time() - began

    assert 0.01 <= run(pause()) < 0.2


def test_silence_times_out() -> None:
    async def wait() -> None:
        async with asyncio.timeout(0.05):
            await asyncio.Event().wait()

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(wait())
    assert time.monotonic() - began >= 0.05
