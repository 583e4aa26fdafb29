"""A closed session stays closed: nothing would close it again."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from brokers.base import NotSent, ReadFailed
from common.reason_codes import Code
from tests.ibkr.factories import QUICK, WAIT_SECONDS, Environment, adapter, order, with_environment


@with_environment
async def test_price_stream_ends_with_its_session_and_opens_none(stage: Environment) -> None:
    async with aclosing(stage.adapter.stream_quotes(stage.spec, ["EURUSD"])) as quotes:
        await anext(quotes)
        await stage.adapter.disconnect(stage.spec)
        with pytest.raises(ReadFailed) as ended:
            await anext(quotes)
    assert ended.value.code is Code.NOT_CONNECTED
    assert len(stage.tws.connects) == 1
    assert not stage.adapter._state().sessions


@with_environment
async def test_waiting_price_stream_ends_with_its_session(stage: Environment) -> None:
    stage.adapter = adapter(timing=replace(QUICK, first_delay=0.01))
    async with aclosing(stage.adapter.stream_quotes(stage.spec, ["EURUSD"])) as quotes:
        await anext(quotes)
        await stage.tws.close()
        waiting = asyncio.ensure_future(anext(quotes))
        await stage.wait_until(lambda: not stage.session.usable)
        await stage.adapter.disconnect(stage.spec)
        await stage.tws.open(stage.tws.port)
        with pytest.raises(ReadFailed):
            await asyncio.wait_for(waiting, WAIT_SECONDS)
    assert not stage.tws.sessions


@with_environment
async def test_closed_session_is_not_reopened_by_an_old_reference(stage: Environment) -> None:
    await stage.adapter.connect(stage.spec)
    held = stage.session
    await stage.adapter.disconnect(stage.spec)
    with pytest.raises(ReadFailed) as failed:
        await held.ready()
    assert failed.value.code is Code.NOT_CONNECTED
    await stage.wait_until(lambda: not stage.tws.sessions)
    await stage.submit(order())  # the next call opens a new session
    assert len(stage.tws.connects) == 2


@with_environment
async def test_order_whose_session_is_closed_is_not_sent(stage: Environment) -> None:
    """Its settings changed, and the account is disconnected while the old session ends."""
    await stage.adapter.connect(stage.spec)
    old = stage.session
    changed = replace(stage.spec, settings={**stage.spec.settings, "client_id": 8})
    sending = asyncio.ensure_future(stage.adapter.submit(changed, order(), lambda _: None))
    while stage.session is old:  # noqa: ASYNC110 (the new one is there before the old has ended)
        await asyncio.sleep(0)
    await stage.adapter.disconnect(changed)
    with pytest.raises(NotSent) as refused:
        await sending
    assert refused.value.code is Code.NOT_CONNECTED
    assert not stage.venue.orders
