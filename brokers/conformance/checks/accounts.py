"""C105–C109, C111: one id twice, two entries, the other side, another account, another clock."""

from datetime import datetime, timedelta

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.conformance.case import HAS, Ability, case, expect
from brokers.conformance.scene import Scene, new_id
from brokers.conformance.stage import NotApplicable, Offer, Trouble
from brokers.conformance.words import filled, kinds
from brokers.messages import (
    BrokerPosition,
    CheckResult,
    OrderReport,
    OrderRequest,
    PositionMode,
    Side,
)
from common.clocks import market_now
from common.codes import Code

A_POLL = timedelta(minutes=1)  # polls ask again for what was executed before the last one
NO_SHORTS = (
    Code.NO_MONEY, Code.NO_POSITION, Code.TRADING_DISABLED, Code.SIDE_NOT_ALLOWED,
    Code.SYMBOL_TRADING_DISABLED, Code.VOLUME_INVALID,
)  # fmt: skip


@case(105, "one id twice", Ability.MARKET, Ability.LOOKUP, Offer.JOURNAL)
async def one_id_twice(scene: Scene) -> None:
    """A second order under an id is not taken, or it is found: what is held is what is told."""
    entry = await scene.bought()
    try:
        await scene.submit(entry)
    except (Rejected, NotSent, OutcomeUnknown):
        pass
    times = await scene.stage.accepted(entry.client_order_id)
    expect(times in (1, 2), f"the broker accepted it {times} times")
    await scene.holds(entry.quantity * times)
    await scene.told(entry, lambda reports: filled(reports) == entry.quantity * times)


@case(106, "two entries", Ability.MARKET)
async def two_entries(scene: Scene) -> None:
    """Two entries are two positions on a hedging account and one on a netting account; closing the
    second's position leaves the first's."""
    first, second = await scene.bought(), await scene.bought()
    await scene.holds(first.quantity + second.quantity)
    mode = (await scene.ask(scene.stage.adapter.account(scene.spec))).position_mode
    held = await scene.positions()
    expect(len(held) == (2 if mode is PositionMode.HEDGING else 1), f"{len(held)} positions")
    last = max(held, key=lambda one: _number(one, second.client_order_id))
    request = scene.exit(second, last, quantity=second.quantity)
    told = await scene.sent(request)
    await scene.told(request, lambda reports: filled(reports) >= request.quantity, told)
    await scene.holds(first.quantity)
    if mode is PositionMode.HEDGING:
        [left] = await scene.positions()
        expect(left.broker_position_id != last.broker_position_id, "the first one was closed")


@case(107, "sold", Ability.MARKET)
async def sold(scene: Scene) -> None:
    """An entry can sell: the position is told as that, and closed by buying."""
    entry = scene.order(side=Side.SELL)
    try:
        told = await scene.sent(entry)
    except Rejected as error:
        if error.code in NO_SHORTS:
            raise NotApplicable("what is not held cannot be sold on this account") from error
        raise
    await scene.told(entry, lambda reports: filled(reports) >= entry.quantity, told)
    await scene.holds(-entry.quantity)
    expect((await scene.position()).side is Side.SELL, "the position is told as bought")
    await scene.close(entry)
    await scene.holds(entry.quantity * 0)


@case(108, "another account", Ability.MARKET, Ability.LOOKUP, Offer.SECOND)
async def another_account(scene: Scene) -> None:
    """What one account holds and ordered is not told of another at the same broker."""
    entry = await scene.bought()
    await scene.holds(entry.quantity)
    adapter, other = scene.stage.adapter, await scene.stage.second()
    held = await scene.ask(adapter.positions(other), other)
    expect(not [one for one in held if one.quantity], "the other account is told to hold it")
    try:
        found = await scene.ask(
            adapter.find_order(other, entry.client_order_id, entry.symbol), other
        )
    except BrokerError as error:
        expect(isinstance(error, ReadFailed), f"it says {type(error).__name__} {error}")
    else:
        expect(not found, f"the other account is told {kinds(found or [])}")
    await scene.holds(entry.quantity)


@case(109, "another clock", Ability.MARKET, Ability.LOOKUP, Trouble.SKEW)
async def another_clock(scene: Scene) -> None:
    """Where the broker's clock is ahead of ours the test says so, and what was done before and
    since is told, held, read, closed and found as ever."""
    began, first = market_now() - timedelta(minutes=2), await scene.bought()
    await scene.close(first)
    await scene.stage.begin(Trouble.SKEW)
    second = await _bought_after_a_jump(scene)
    await scene.holds(second.quantity)
    await scene.until(lambda: _tells_clock(scene), "the test does not tell that clocks are apart")
    if HAS[Ability.FILLS](scene.can):
        await scene.until(lambda: _reads(scene, began, first), "the first one is not read")
        await scene.until(lambda: _reads(scene, began, second), "the second one is not read")
    await scene.absent(new_id())
    await scene.close(second)
    await scene.holds(second.quantity * 0)


@case(111, "a clock behind", Ability.MARKET, Ability.LOOKUP, Ability.FILLS, Trouble.SLOW)
async def a_clock_behind(scene: Scene) -> None:
    """Where the broker's clock is behind ours, what is executed now is read by who asks for what
    was executed since a minute ago by our clock, as polls do."""
    if scene.can.event_stream:
        raise NotApplicable("executions are told by themselves: nobody polls them by our clock")
    await scene.stage.begin(Trouble.SLOW)
    entry = await _bought_after_a_jump(scene)
    since = market_now() - A_POLL
    await scene.until(lambda: _reads(scene, since, entry), "it is not read")
    await scene.close(entry)
    await scene.holds(entry.quantity * 0)


async def _bought_after_a_jump(scene: Scene) -> OrderRequest:
    """Buy. A broker may refuse the first order for its time, in words that prove nothing: then it
    is absent for sure, and the next one is taken."""
    request = scene.order()
    try:
        told = await scene.submit(request)
    except NotSent:
        return await scene.bought()
    except OutcomeUnknown:
        told = []
    known: list[OrderReport] | None = told

    async def sure() -> bool:
        nonlocal known
        try:
            known = told or await scene.find(request.client_order_id)
        except ReadFailed:
            return False
        return True

    await scene.until(sure, "an order is neither found nor absent", scene.stage.absence)
    if known is None:
        return await scene.bought()
    await scene.told(request, lambda reports: filled(reports) >= request.quantity, known)
    return request


async def _tells_clock(scene: Scene) -> bool:
    checks = await scene.ask(scene.stage.adapter.test(scene.spec))
    wrong = [one.name for one in checks if one.result is not CheckResult.OK]
    return any("clock" in name or "time" in name for name in wrong)


async def _reads(scene: Scene, since: datetime, entry: OrderRequest) -> bool:
    told = await scene.ask(scene.stage.adapter.fills_since(scene.spec, since))
    own = [one for one in told if one.client_order_id == entry.client_order_id]
    return filled([one for one in own if one.close_cause is None]) == entry.quantity


def _number(held: BrokerPosition, client_order_id: str) -> tuple[bool, int, str]:
    """Positions in the order in which they were opened, the one of an entry last."""
    name = held.broker_position_id
    return held.client_order_id == client_order_id, len(name), name
