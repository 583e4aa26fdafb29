"""C63–C76: reads say all or fail, and an execution is the same one wherever it is told."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from brokers.base import BrokerError, ReadFailed
from brokers.conformance.case import Ability, Failed, case, expect
from brokers.conformance.scene import Scene, new_id
from brokers.conformance.shapes import wrong_shapes
from brokers.conformance.stage import Offer, Trouble
from brokers.conformance.words import filled, kinds
from brokers.messages import OrderReport, OrderRequest, OrderType, Side
from common.clocks import market_now


@case(63, "account")
async def account(scene: Scene) -> None:
    """The account is read whole: its name, currency, numbers that are numbers, leverage, mode."""
    state = await scene.ask(scene.stage.adapter.account(scene.spec))
    expect(state.account == scene.spec.account, f"it is of account {state.account}")
    expect(state.currency.isalnum() and state.currency.isupper(), f"currency {state.currency!r}")
    expect(state.leverage > 0, f"leverage {state.leverage}")
    expect(state.position_mode in scene.can.position_modes, f"{state.position_mode} is not claimed")
    apart = abs((state.time - market_now()).total_seconds())
    expect(apart < 300, f"it is told {apart:.0f} s apart from now")


@case(64, "instruments")
async def instruments(scene: Scene) -> None:
    """Instruments have steps, limits and sizes that make sense, each once, in base units."""
    told = await scene.ask(scene.stage.adapter.instruments(scene.spec))
    names = [one.symbol for one in told]
    expect(len(set(names)) == len(names), "a symbol is told twice")
    for one in told:
        positive = (one.pip, one.quantity_min, one.quantity_step, one.contract_size)
        expect(all(value > 0 for value in positive), f"{one.symbol}: {positive}")
        expect(one.quantity_min <= one.quantity_max, f"{one.symbol}: minimum above maximum")
        expect(one.stops_level >= 0, f"{one.symbol}: negative distance")
        expect(one.margin_rate >= 0 and one.digits >= 0, f"{one.symbol}: negative margin or digits")
        base, slash, quote = one.pair.partition("/")
        expect(base and slash and quote, f"{one.symbol}: its pair is {one.pair!r}")
        expect(not one.quantity_min % one.quantity_step, f"{one.symbol}: minimum between steps")


@case(65, "positions", Ability.MARKET)
async def positions(scene: Scene) -> None:
    """A position is told with its symbol, side, quantity and entry price."""
    entry = await scene.bought()
    await scene.holds(entry.quantity)
    held = await scene.position()
    expect(held.side is Side.BUY, f"it is a {held.side}")
    expect(held.broker_position_id, "it has no id")
    found = await scene.found(entry.client_order_id)
    prices = [fill.price for report in found for fill in report.fills]
    near = min(prices) * (1 - scene.stage.far) < held.entry_price < max(prices) * 2
    expect(near, f"its entry price is {held.entry_price}, filled at {prices}")


@case(66, "positions, none")
async def no_positions(scene: Scene) -> None:
    """Where nothing is held and nothing rests, that is what is told."""
    expect(await scene.positions() == [], "a position is told")
    resting = await scene.ask(scene.stage.adapter.open_orders(scene.spec))
    expect(not [one for one in resting if one.symbol == scene.stage.symbol], "an order is told")


@case(67, "look-up", Ability.MARKET, Ability.LOOKUP)
async def find_known(scene: Scene) -> None:
    """An order is found by our id, with its executions and the broker's number."""
    entry = await scene.bought()
    found = await scene.found(entry.client_order_id)
    expect(filled(found) == entry.quantity, f"{filled(found)} is found")
    expect(any(report.broker_order_id for report in found), "the broker's number is not told")


@case(68, "look-up of an unknown order", Ability.LOOKUP)
async def find_unknown(scene: Scene) -> None:
    """An id that the broker never saw is certainly absent."""
    await scene.absent(new_id())


@case(69, "look-up after we began anew", Ability.MARKET, Ability.LOOKUP, Offer.ANEW)
async def find_anew(scene: Scene) -> None:
    """A process with an empty memory finds the order, with the same executions."""
    entry = await scene.bought()
    before = _fills(await scene.found(entry.client_order_id))
    await scene.stage.anew()
    after = _fills(await scene.found(entry.client_order_id))
    expect(before == after, f"other executions are found: {after}, not {before}")
    await scene.absent(new_id())


@case(70, "look-up of a resting order after we began anew", Ability.LIMIT, Ability.GTC,
      Ability.LOOKUP, Offer.ANEW)  # fmt: skip
async def resting_anew(scene: Scene) -> None:
    """A process with an empty memory sees what rests as ours, and can cancel it."""
    entry = await scene.rests()
    await scene.stage.anew()
    await scene.until(lambda: scene.is_open(entry), "it is not told under our id")
    told = await scene.cancel(entry)

    async def gone() -> bool:
        return not await scene.is_open(entry)

    await scene.until(gone, f"it still rests: {kinds(told)}")


@case(71, "reads in trouble", Trouble.READS)
async def reads_fail(scene: Scene) -> None:
    """Reads that get a part of their answer fail: none returns the part, or nothing."""
    adapter, spec = scene.stage.adapter, scene.spec
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "account": lambda: adapter.account(spec),
        "positions": lambda: adapter.positions(spec),
        "open_orders": lambda: adapter.open_orders(spec),
        "find_order": lambda: adapter.find_order(spec, new_id()),
        "fills_since": lambda: adapter.fills_since(spec, market_now() - timedelta(hours=1)),
    }
    for name, read in reads.items():
        if name == "fills_since" and scene.can.fills_horizon is None:
            continue
        await scene.stage.begin(Trouble.READS)
        try:
            told = await scene.ask(read())
        except ReadFailed:
            continue
        except BrokerError as error:
            raise Failed(f"{name} says {type(error).__name__} {error}") from error
        finally:
            await scene.stage.end()
        raise Failed(f"{name} returned {told}")


@case(72, "executions since", Ability.MARKET, Ability.FILLS)
async def fills_since(scene: Scene) -> None:
    """What was executed is read by time: all of it, with our id."""
    began = market_now()
    entries = [await scene.bought(), await scene.bought()]

    async def all_there() -> bool:
        told = await _since(scene, began - timedelta(minutes=2))
        return all(_of(told, one) == one.quantity for one in entries)

    await scene.until(all_there, "an order's executions are missing")


@case(73, "one execution, one id", Ability.MARKET, Ability.FILLS, Ability.LOOKUP)
async def same_ids(scene: Scene) -> None:
    """An execution has one id in the reply, the look-up, the events and the executions read."""
    began = market_now() - timedelta(minutes=2)
    entry = scene.order()
    reply = await scene.submit(entry)
    await scene.told(entry, lambda reports: filled(reports) >= entry.quantity, reply)
    found = await scene.told(entry, lambda reports: filled(reports) >= entry.quantity)
    ids = _fills(await scene.found(entry.client_order_id))

    async def read() -> bool:
        return _fills(_own(await _since(scene, began), entry)) == ids

    await scene.until(read, "the executions read have other ids than the look-up")
    expect(_fills(found) == ids, "the events have other ids than the look-up")
    expect(_fills(reply) <= ids, "the reply has other ids than the look-up")


@case(74, "executions told again", Ability.MARKET, Ability.LOOKUP, Trouble.REPLAY)
async def replay(scene: Scene) -> None:
    """Executions that the broker tells once more have the ids that they had."""
    if Offer.PRICES in scene.stage.lacks or OrderType.LIMIT not in scene.can.order_types:
        entry = await scene.bought()
    else:  # one that is told by an event, where there are any
        entry = await scene.rests()
        await scene.stage.move(1 - scene.stage.far * 2)
        await scene.told(entry, lambda reports: filled(reports) >= entry.quantity)
    before = _fills(await scene.found(entry.client_order_id))
    await scene.stage.begin(Trouble.REPLAY)
    await scene.bought()
    told = [*await scene.hear(), *await scene.found(entry.client_order_id)]
    after = _fills(_own(told, entry))
    expect(after == before, f"they are now {after}, not {before}")


@case(75, "two orders, two executions", Ability.MARKET, Ability.LOOKUP)
async def ids_apart(scene: Scene) -> None:
    """Executions of two like orders have ids of their own."""
    ids = []
    for _ in range(2):
        entry = await scene.bought()
        ids.append(_fills(await scene.found(entry.client_order_id)))
    expect(not ids[0] & ids[1], f"both have {ids[0] & ids[1]}")


@case(76, "clock")
async def clock(scene: Scene) -> None:
    """The broker's time, where it tells one, is aware UTC and about now."""
    await scene.ask(scene.stage.adapter.account(scene.spec))
    told = await scene.ask(scene.stage.adapter.clock())
    if told is not None:
        for wrong in wrong_shapes(told, "the time"):
            raise Failed(wrong)
        apart = abs((told - market_now()).total_seconds())
        expect(apart < 300, f"it is {apart:.0f} s apart from ours")


async def _since(scene: Scene, moment: datetime) -> list[OrderReport]:
    return await scene.ask(scene.stage.adapter.fills_since(scene.spec, moment))


def _own(reports: Sequence[OrderReport], entry: OrderRequest) -> list[OrderReport]:
    return [one for one in reports if one.client_order_id == entry.client_order_id]


def _of(reports: Sequence[OrderReport], entry: OrderRequest) -> object:
    return filled(_own(reports, entry))


def _fills(reports: Sequence[OrderReport]) -> set[str]:
    own = [one for one in reports if one.close_cause is None]
    return {fill.broker_fill_id for one in own for fill in one.fills}
