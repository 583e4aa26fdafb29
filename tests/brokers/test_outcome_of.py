"""The outcome of a call to an adapter: whatever ends it, its caller learns that it has ended."""

import asyncio

import pytest

from brokers.base import CallCancelled, outcome_of


async def cancelled_meanwhile() -> None:
    """Await what another call cancels."""
    awaited = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(awaited.cancel)
    await awaited


def test_call_whose_awaited_future_is_cancelled_has_failed() -> None:
    assert isinstance(asyncio.run(_outcome()), CallCancelled)


async def _outcome() -> object:
    return await outcome_of(cancelled_meanwhile())


def test_cancelled_task_ends() -> None:
    async def cancel() -> None:
        begun = asyncio.Event()

        async def hang() -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(outcome_of(hang()))
        await begun.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())


def test_timeout_around_a_call_ends_it_and_counts_no_more_afterwards() -> None:
    async def ended() -> object:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await outcome_of(asyncio.Event().wait())
        return await _outcome()

    assert isinstance(asyncio.run(ended()), CallCancelled)
