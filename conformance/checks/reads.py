"""C63–C76: reads are complete or fail, and an execution has the same id everywhere."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from brokers.base import BrokerError, ReadFailed
from brokers.types import OrderReport, OrderRequest, OrderType, Side
from common.clocks import market_now
from conformance.assertions import describe_kinds, filled
from conformance.harness import HarnessFeature, InjectedFault
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario, new_id
from conformance.value_checks import wrong_shapes


@check(63, "account")
async def account(scenario: Scenario) -> None:
    """The account is read completely: name, currency, valid numbers, leverage, position mode."""
    state = await scenario.call(scenario.harness.adapter.account(scenario.spec))
    expect(state.account == scenario.spec.account, f"it names account {state.account}")
    expect(state.currency.isalnum() and state.currency.isupper(), f"currency {state.currency!r}")
    expect(state.leverage > 0, f"leverage {state.leverage}")
    expect(
        state.position_mode in scenario.can.position_modes, f"{state.position_mode} is not claimed"
    )
    apart = abs((state.time - market_now()).total_seconds())
    expect(apart < 300, f"its time differs from now by {apart:.0f} s")


@check(64, "instruments")
async def instruments(scenario: Scenario) -> None:
    """Instruments have valid steps, limits and sizes in base units, and each is listed once."""
    answer = await scenario.call(scenario.harness.adapter.instruments(scenario.spec))
    names = [one.symbol for one in answer]
    expect(len(set(names)) == len(names), "a symbol is listed twice")
    for one in answer:
        positive = (one.pip, one.quantity_min, one.quantity_step, one.contract_size)
        expect(all(value > 0 for value in positive), f"{one.symbol}: {positive}")
        expect(one.quantity_min <= one.quantity_max, f"{one.symbol}: minimum above maximum")
        expect(one.stops_level >= 0, f"{one.symbol}: negative distance")
        expect(one.margin_rate >= 0 and one.digits >= 0, f"{one.symbol}: negative margin or digits")
        base, slash, quote = one.pair.partition("/")
        expect(base and slash and quote, f"{one.symbol}: its pair is {one.pair!r}")
        expect(not one.quantity_min % one.quantity_step, f"{one.symbol}: minimum between steps")


@check(65, "positions", Capability.MARKET)
async def positions(scenario: Scenario) -> None:
    """A position is reported with its symbol, side, quantity and entry price."""
    entry = await scenario.buy()
    await scenario.wait_until_held(entry.quantity)
    held = await scenario.position()
    expect(held.side is Side.BUY, f"its side is {held.side}")
    expect(held.broker_position_id, "it has no id")
    found = await scenario.found(entry.client_order_id)
    prices = [fill.price for report in found for fill in report.fills]
    near = min(prices) * (1 - scenario.harness.far_fraction) < held.entry_price < max(prices) * 2
    expect(near, f"its entry price is {held.entry_price}, filled at {prices}")


@check(66, "positions, none")
async def no_positions(scenario: Scenario) -> None:
    """Without positions and orders, none are reported."""
    expect(await scenario.positions() == [], "a position is reported")
    working = await scenario.call(scenario.harness.adapter.open_orders(scenario.spec))
    expect(
        not [one for one in working if one.symbol == scenario.harness.symbol],
        "an order is reported",
    )


@check(67, "look-up", Capability.MARKET, Capability.LOOKUP)
async def find_known(scenario: Scenario) -> None:
    """An order is found by our id, with its executions and the broker's number."""
    entry = await scenario.buy()
    found = await scenario.found(entry.client_order_id)
    expect(filled(found) == entry.quantity, f"{filled(found)} is found")
    expect(any(report.broker_order_id for report in found), "the broker's order number is missing")


@check(68, "look-up of an unknown order", Capability.LOOKUP)
async def find_unknown(scenario: Scenario) -> None:
    """The look-up of an id that the broker never received proves it absent."""
    await scenario.absent(new_id())


@check(
    69,
    "look-up after our restart",
    Capability.MARKET,
    Capability.LOOKUP,
    HarnessFeature.NEW_PROCESS,
)
async def find_after_restart(scenario: Scenario) -> None:
    """A restarted process finds the order, with the same executions."""
    entry = await scenario.buy()
    before = _fill_ids(await scenario.found(entry.client_order_id))
    await scenario.harness.new_process()
    after = _fill_ids(await scenario.found(entry.client_order_id))
    expect(before == after, f"other executions are found: {after}, not {before}")
    await scenario.absent(new_id())


@check(70, "look-up of a working order after our restart", Capability.LIMIT, Capability.GTC,
      Capability.LOOKUP, HarnessFeature.NEW_PROCESS)  # fmt: skip
async def working_order_after_restart(scenario: Scenario) -> None:
    """A restarted process finds a working order under our id and can cancel it."""
    entry = await scenario.place_working()
    await scenario.harness.new_process()
    await scenario.until(lambda: scenario.is_open(entry), "it is not listed under our id")
    answer = await scenario.cancel(entry)

    async def gone() -> bool:
        return not await scenario.is_open(entry)

    await scenario.until(gone, f"it is still open: {describe_kinds(answer)}")


@check(71, "incomplete reads", InjectedFault.READS)
async def reads_fail(scenario: Scenario) -> None:
    """Reads that get only a part of their reply fail: none returns that part or an empty result."""
    adapter = scenario.harness.adapter
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "account": lambda: adapter.account(scenario.spec),
        "positions": lambda: adapter.positions(scenario.spec),
        "open_orders": lambda: adapter.open_orders(scenario.spec),
        "find_order": lambda: adapter.find_order(scenario.spec, new_id()),
        "fills_since": lambda: adapter.fills_since(
            scenario.spec, market_now() - timedelta(hours=1)
        ),
    }
    for name, read in reads.items():
        if name == "fills_since" and scenario.can.fills_horizon is None:
            continue
        await scenario.harness.begin(InjectedFault.READS)
        try:
            answer = await scenario.call(read())
        except ReadFailed:
            continue
        except BrokerError as error:
            raise CheckFailed(f"{name} raised {type(error).__name__} {error}") from error
        finally:
            await scenario.harness.end()
        raise CheckFailed(f"{name} returned {answer}")


@check(72, "executions since", Capability.MARKET, Capability.FILLS)
async def fills_since(scenario: Scenario) -> None:
    """A read of the executions since a time returns all of them, with our ids."""
    began = market_now()
    entries = [await scenario.buy(), await scenario.buy()]

    async def all_there() -> bool:
        answer = await _executions_since(scenario, began - timedelta(minutes=2))
        return all(_filled_quantity(answer, one) == one.quantity for one in entries)

    await scenario.until(all_there, "an order's executions are missing")


@check(73, "one execution, one id", Capability.MARKET, Capability.FILLS, Capability.LOOKUP)
async def same_ids(scenario: Scenario) -> None:
    """An execution has one id in the reply, the look-up, the events and the executions read."""
    began = market_now() - timedelta(minutes=2)
    entry = scenario.order()
    reply = await scenario.submit(entry)
    await scenario.reports_of(entry, lambda reports: filled(reports) >= entry.quantity, reply)
    found = await scenario.reports_of(entry, lambda reports: filled(reports) >= entry.quantity)
    ids = _fill_ids(await scenario.found(entry.client_order_id))

    async def read() -> bool:
        return _fill_ids(_own_reports(await _executions_since(scenario, began), entry)) == ids

    await scenario.until(read, "the executions read have other ids than the look-up")
    expect(_fill_ids(found) == ids, "the events have other ids than the look-up")
    expect(_fill_ids(reply) <= ids, "the reply has other ids than the look-up")


@check(74, "repeated executions", Capability.MARKET, Capability.LOOKUP, InjectedFault.REPLAY)
async def replay(scenario: Scenario) -> None:
    """Executions that the broker reports again keep their ids."""
    if (
        HarnessFeature.PRICES in scenario.harness.unavailable
        or OrderType.LIMIT not in scenario.can.order_types
    ):
        entry = await scenario.buy()
    else:  # reported by an event, if there are events
        entry = await scenario.place_working()
        await scenario.harness.move(1 - scenario.harness.far_fraction * 2)
        await scenario.reports_of(entry, lambda reports: filled(reports) >= entry.quantity)
    before = _fill_ids(await scenario.found(entry.client_order_id))
    await scenario.harness.begin(InjectedFault.REPLAY)
    await scenario.buy()
    answer = [*await scenario.receive_events(), *await scenario.found(entry.client_order_id)]
    after = _fill_ids(_own_reports(answer, entry))
    expect(after == before, f"they are now {after}, not {before}")


@check(75, "two orders, two executions", Capability.MARKET, Capability.LOOKUP)
async def ids_apart(scenario: Scenario) -> None:
    """Executions of two equal orders have different ids."""
    ids = []
    for _ in range(2):
        entry = await scenario.buy()
        ids.append(_fill_ids(await scenario.found(entry.client_order_id)))
    expect(not ids[0] & ids[1], f"both have {ids[0] & ids[1]}")


@check(76, "clock")
async def clock(scenario: Scenario) -> None:
    """The broker's time, if it has one, is aware UTC and about now."""
    await scenario.call(scenario.harness.adapter.account(scenario.spec))
    answer = await scenario.call(scenario.harness.adapter.clock())
    if answer is not None:
        for wrong in wrong_shapes(answer, "the time"):
            raise CheckFailed(wrong)
        apart = abs((answer - market_now()).total_seconds())
        expect(apart < 300, f"it differs from ours by {apart:.0f} s")


async def _executions_since(scenario: Scenario, moment: datetime) -> list[OrderReport]:
    return await scenario.call(scenario.harness.adapter.fills_since(scenario.spec, moment))


def _own_reports(reports: Sequence[OrderReport], entry: OrderRequest) -> list[OrderReport]:
    return [one for one in reports if one.client_order_id == entry.client_order_id]


def _filled_quantity(reports: Sequence[OrderReport], entry: OrderRequest) -> object:
    return filled(_own_reports(reports, entry))


def _fill_ids(reports: Sequence[OrderReport]) -> set[str]:
    own = [one for one in reports if one.close_cause is None]
    return {fill.broker_fill_id for one in own for fill in one.fills}
