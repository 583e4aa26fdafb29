"""C77–C83: prices, and asking what an order would cost."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from brokers.base import BrokerError, ReadFailed, Rejected
from brokers.conformance.case import Ability, Failed, case, expect
from brokers.conformance.scene import Scene
from brokers.conformance.stage import NotApplicable, Offer
from brokers.messages import Quote
from common.clocks import market_now


@case(77, "quote", Ability.QUOTES)
async def quote(scene: Scene) -> None:
    """A price has a bid not above its ask, both positive, the pair's name, and a time of now."""
    told = await scene.ask(scene.stage.adapter.quote(scene.spec, scene.stage.symbol))
    _is_sane(scene, told)
    apart = abs((told.time - market_now()).total_seconds())
    expect(apart < 600, f"it is told {apart:.0f} s apart from now")


@case(78, "quote of an unknown symbol", Ability.QUOTES)
async def quote_unknown(scene: Scene) -> None:
    """The price of a symbol that the broker does not list is an error, not a number."""
    try:
        told = await scene.ask(scene.stage.adapter.quote(scene.spec, "NOSUCHSYMBOL"))
    except ReadFailed:
        return
    raise Failed(f"it is {told}")


@case(79, "stream of prices", Ability.PRICE_STREAM, Offer.PRICES)
async def stream(scene: Scene) -> None:
    """The stream tells a price that has moved."""
    stream = scene.stage.adapter.stream_quotes(scene.spec, [scene.stage.symbol])
    first = (await scene.stage.quote()).bid
    waiting = asyncio.ensure_future(_other_than(scene, stream, first))
    try:
        async with asyncio.timeout(scene.stage.patience):
            while not waiting.done():
                await scene.stage.move(1 + scene.stage.far / 2)
                await asyncio.wait({waiting}, timeout=0.05)
            _is_sane(scene, waiting.result())
    except TimeoutError as error:
        raise Failed("no moved price was told") from error
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


@case(80, "stream of prices, not claimed")
async def no_stream(scene: Scene) -> None:
    """An account that claims no stream of prices fails at its first step."""
    if scene.can.price_stream:
        raise NotApplicable("the account claims a stream of prices: C79 is about it")
    try:
        async with asyncio.timeout(scene.stage.patience):
            await anext(aiter(scene.stage.adapter.stream_quotes(scene.spec, [scene.stage.symbol])))
    except ReadFailed:
        return
    except (StopAsyncIteration, TimeoutError) as error:
        raise Failed(f"it ended in {type(error).__name__}") from error
    raise Failed("it told a price")


@case(81, "what if", Ability.WHAT_IF, Ability.MARKET)
async def what_if(scene: Scene) -> None:
    """What-if tells a margin and sends nothing."""
    request = scene.order()
    told = await scene.ask(scene.stage.adapter.what_if(scene.spec, request))
    expect(told.initial_margin >= 0, f"a margin of {told.initial_margin}")
    expect(told.currency, "the margin has no currency")
    if Offer.JOURNAL not in scene.stage.lacks:
        await scene.accepted(request, 0)
    expect(await scene.held() == 0, "something is held")
    expect(not await scene.is_open(request), "an order rests")


@case(82, "what if, of an unknown symbol", Ability.WHAT_IF)
async def what_if_unknown(scene: Scene) -> None:
    """What-if of a symbol that the broker does not list is refused."""
    try:
        told = await scene.ask(
            scene.stage.adapter.what_if(scene.spec, scene.order(symbol="NOSUCHSYMBOL"))
        )
    except (Rejected, ReadFailed):
        return
    raise Failed(f"it says {told}")


@case(83, "what if, not claimed")
async def no_what_if(scene: Scene) -> None:
    """An account that claims no what-if says so and sends nothing."""
    if scene.can.what_if:
        raise NotApplicable("the account claims what-if: C81 is about it")
    request = scene.order()
    try:
        told = await scene.ask(scene.stage.adapter.what_if(scene.spec, request))
    except BrokerError:
        if Offer.JOURNAL not in scene.stage.lacks:
            await scene.accepted(request, 0)
        return
    raise Failed(f"it says {told}")


def _is_sane(scene: Scene, told: Quote) -> None:
    expect(0 < told.bid <= told.ask, f"bid {told.bid}, ask {told.ask}")
    expect(told.symbol == scene.instrument.pair, f"it is of {told.symbol}")


async def _other_than(scene: Scene, stream: AsyncIterator[Quote], price: object) -> Quote:
    async for told in stream:
        _is_sane(scene, told)
        if told.bid != price:
            return told
    raise Failed("the stream ended")
