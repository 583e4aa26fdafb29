"""C77–C83: prices, and the margin of an order before it is sent."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from brokers.base import BrokerError, ReadFailed, Rejected
from brokers.types import Quote
from common.clocks import market_now
from conformance.harness import HarnessFeature, NotApplicable
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario


@check(77, "quote", Capability.QUOTES)
async def quote(scenario: Scenario) -> None:
    """A quote has a bid not above its ask, both positive, the pair's name, and a current time."""
    answer = await scenario.call(
        scenario.harness.adapter.quote(scenario.spec, scenario.harness.symbol)
    )
    _expect_valid(scenario, answer)
    apart = abs((answer.time - market_now()).total_seconds())
    expect(apart < 600, f"its time differs from now by {apart:.0f} s")


@check(78, "quote of an unknown symbol", Capability.QUOTES)
async def quote_unknown(scenario: Scenario) -> None:
    """The quote of a symbol that the broker does not list is an error, not a price."""
    try:
        answer = await scenario.call(scenario.harness.adapter.quote(scenario.spec, "NOSUCHSYMBOL"))
    except ReadFailed:
        return
    raise CheckFailed(f"it returned {answer}")


@check(79, "stream of prices", Capability.PRICE_STREAM, HarnessFeature.PRICES)
async def stream(scenario: Scenario) -> None:
    """The stream delivers a price that has moved."""
    stream = scenario.harness.adapter.stream_quotes(scenario.spec, [scenario.harness.symbol])
    first = (await scenario.harness.quote()).bid
    waiting = asyncio.ensure_future(_changed_quote(scenario, stream, first))
    try:
        async with asyncio.timeout(scenario.harness.read_seconds):
            while not waiting.done():
                await scenario.harness.move(1 + scenario.harness.far_fraction / 2)
                await asyncio.wait({waiting}, timeout=0.05)
            _expect_valid(scenario, waiting.result())
    except TimeoutError as error:
        raise CheckFailed("no moved price was delivered") from error
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


@check(80, "stream of prices, not claimed")
async def no_stream(scenario: Scenario) -> None:
    """On an account that claims no stream of prices, the first read of it fails."""
    if scenario.can.price_stream:
        raise NotApplicable("the account claims a stream of prices: C79 tests it")
    try:
        async with asyncio.timeout(scenario.harness.read_seconds):
            await anext(
                aiter(
                    scenario.harness.adapter.stream_quotes(scenario.spec, [scenario.harness.symbol])
                )
            )
    except ReadFailed:
        return
    except (StopAsyncIteration, TimeoutError) as error:
        raise CheckFailed(f"it ended with {type(error).__name__}") from error
    raise CheckFailed("it delivered a price")


@check(81, "what if", Capability.WHAT_IF, Capability.MARKET)
async def what_if(scenario: Scenario) -> None:
    """What-if returns a margin and sends no order."""
    request = scenario.order()
    answer = await scenario.call(scenario.harness.adapter.what_if(scenario.spec, request))
    expect(answer.initial_margin >= 0, f"a margin of {answer.initial_margin}")
    expect(answer.currency, "the margin has no currency")
    if HarnessFeature.JOURNAL not in scenario.harness.unavailable:
        await scenario.expect_accepted(request, 0)
    expect(await scenario.held() == 0, "a position is open")
    expect(not await scenario.is_open(request), "an order is open")


@check(82, "what if, of an unknown symbol", Capability.WHAT_IF)
async def what_if_unknown(scenario: Scenario) -> None:
    """What-if of a symbol that the broker does not list is refused."""
    try:
        answer = await scenario.call(
            scenario.harness.adapter.what_if(scenario.spec, scenario.order(symbol="NOSUCHSYMBOL"))
        )
    except (Rejected, ReadFailed):
        return
    raise CheckFailed(f"it returned {answer}")


@check(83, "what if, not claimed")
async def no_what_if(scenario: Scenario) -> None:
    """An account that claims no what-if raises an error and sends no order."""
    if scenario.can.what_if:
        raise NotApplicable("the account claims what-if: C81 tests it")
    request = scenario.order()
    try:
        answer = await scenario.call(scenario.harness.adapter.what_if(scenario.spec, request))
    except BrokerError:
        if HarnessFeature.JOURNAL not in scenario.harness.unavailable:
            await scenario.expect_accepted(request, 0)
        return
    raise CheckFailed(f"it returned {answer}")


def _expect_valid(scenario: Scenario, answer: Quote) -> None:
    expect(0 < answer.bid <= answer.ask, f"bid {answer.bid}, ask {answer.ask}")
    expect(answer.symbol == scenario.instrument.pair, f"it is of {answer.symbol}")


async def _changed_quote(scenario: Scenario, stream: AsyncIterator[Quote], price: object) -> Quote:
    async for answer in stream:
        _expect_valid(scenario, answer)
        if answer.bid != price:
            return answer
    raise CheckFailed("the stream ended")
