"""C13–C28, C110: rejected, not sent and unknown, and what is known after each of them."""

import asyncio
import contextlib

from brokers.base import BrokerError, Guard, NotSent, OutcomeUnknown, Rejected
from brokers.types import OrderReport, OrderRequest
from common.clocks import market_now
from common.reason_codes import Code
from conformance.assertions import describe_kinds, ended, filled
from conformance.harness import HarnessFeature, InjectedFault
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario, allow

JOURNAL = HarnessFeature.JOURNAL
ARRIVAL_SECONDS = 3.0  # time for a sent order to arrive


@check(13, "refused", Capability.MARKET, InjectedFault.REFUSED, JOURNAL)
async def refused(scenario: Scenario) -> None:
    """The broker's refusal has a reason code and the broker's message; nothing was accepted."""
    await scenario.harness.begin(InjectedFault.REFUSED)
    entry = scenario.order()
    code, detail = await scenario.refusal(entry)
    expect(code is not None, "the refusal has no code")
    expect(detail, "the refusal does not have the broker's message")
    await scenario.harness.end()
    await scenario.expect_accepted(entry, 0)
    expect(await scenario.held() == 0, "a position is open")


@check(14, "lost on the way", Capability.MARKET, Capability.LOOKUP, InjectedFault.LOST, JOURNAL)
async def lost_request(scenario: Scenario) -> None:
    """A time-out before acceptance is unknown; the look-up then proves the order absent."""
    entry = await _unknown(scenario, InjectedFault.LOST)
    await scenario.absent(entry.client_order_id)
    await scenario.expect_accepted(entry, 0)


@check(
    15,
    "taken without an answer",
    Capability.MARKET,
    Capability.LOOKUP,
    InjectedFault.NO_ANSWER,
    JOURNAL,
)
async def no_answer(scenario: Scenario) -> None:
    """A time-out after acceptance is unknown; the look-up finds the order, accepted once."""
    entry = await _unknown(scenario, InjectedFault.NO_ANSWER)
    await _is_there_once(scenario, entry)


@check(
    16,
    "the line breaks",
    Capability.MARKET,
    Capability.LOOKUP,
    InjectedFault.CONNECTION_LOST,
    JOURNAL,
)
async def connection_lost(scenario: Scenario) -> None:
    """A connection that breaks after acceptance is unknown; the look-up finds the order, accepted
    once."""
    entry = await _unknown(scenario, InjectedFault.CONNECTION_LOST)
    await _is_there_once(scenario, entry)


@check(17, "a late answer", Capability.MARKET, Capability.LOOKUP, InjectedFault.LATE, JOURNAL)
async def late_answer(scenario: Scenario) -> None:
    """A reply after our time-out is not taken for another order's: the next order gets its own."""
    first = await _unknown(scenario, InjectedFault.LATE)
    second = await scenario.buy()
    await _is_there_once(scenario, first)
    await scenario.expect_accepted(second, 1)


@check(
    18, "half an answer", Capability.MARKET, Capability.LOOKUP, InjectedFault.HALF_REPLY, JOURNAL
)
async def half_answer(scenario: Scenario) -> None:
    """Half a reply is unknown, with a message that explains it; the look-up finds the order."""
    entry = await _unknown(scenario, InjectedFault.HALF_REPLY)
    expect(scenario.errors[-1].detail, "the outcome has no message")
    await _is_there_once(scenario, entry)


@check(
    110, "half an answer is kept", Capability.MARKET, Capability.LOOKUP, InjectedFault.HALF_REPLY
)
async def half_answer_quoted(scenario: Scenario) -> None:
    """The outcome's message contains the received part of half a reply, in readable form."""
    await _unknown(scenario, InjectedFault.HALF_REPLY)
    detail = scenario.errors[-1].detail
    for piece in await scenario.harness.half_reply():
        expect(piece in detail, f"{piece!r} was received, but the message is {detail!r}")


@check(
    19, "an unlisted code", Capability.MARKET, Capability.LOOKUP, InjectedFault.UNLISTED, JOURNAL
)
async def unlisted(scenario: Scenario) -> None:
    """An undocumented code proves nothing: the order is live, and is not reported as ended."""
    await scenario.harness.begin(InjectedFault.UNLISTED)
    entry = scenario.order()
    try:
        answer = await scenario.submit(entry)
    except OutcomeUnknown as error:
        expect(error.detail, "the broker's message is missing")
    except BrokerError as error:
        raise CheckFailed(f"it was taken as proof: {type(error).__name__} {error}") from error
    else:
        expect(not ended(answer), f"it was taken as proof: {describe_kinds(answer)}")
    await scenario.harness.end()
    await _is_there_once(scenario, entry)


@check(20, "the guard refuses", Capability.MARKET, JOURNAL)
async def guard(scenario: Scenario) -> None:
    """An order that the guard refuses is NotSent with the guard's code, and not in the journal."""
    entry = scenario.order()

    def refuse(_: OrderRequest) -> None:
        raise NotSent(Code.SEND_DEADLINE)

    error = await _not_sent(scenario, entry, refuse)
    expect(error.code is Code.SEND_DEADLINE, f"its code is {error.code}")
    await scenario.expect_accepted(entry, 0)
    expect(await scenario.held() == 0, "a position is open")


@check(21, "the guard is called", Capability.MARKET)
async def guard_gets_the_order(scenario: Scenario) -> None:
    """The guard is called with exactly the order that is sent."""
    entry, seen_by_guard = scenario.order(), list[OrderRequest]()
    await scenario.submit(entry, seen_by_guard.append)
    expect(seen_by_guard, "the guard was not called")
    expect(all(one == entry for one in seen_by_guard), "the guard was called with another order")


@check(22, "a repeated id", Capability.MARKET, Capability.UNIQUE_IDS, JOURNAL)
async def repeated_id(scenario: Scenario) -> None:
    """If the account claims to refuse repeated ids, a second order with one is not accepted."""
    entry = await scenario.buy()
    try:
        await scenario.submit(entry)
    except (Rejected, OutcomeUnknown):
        pass
    await scenario.expect_accepted(entry, 1)
    await scenario.wait_until_held(entry.quantity)


@check(23, "given up", Capability.MARKET, JOURNAL)
async def cancelled_by_caller(scenario: Scenario) -> None:
    """An order whose caller is cancelled while it is sent arrives then or never, not later."""
    entry, seen_by_guard = scenario.order(), asyncio.Event()

    def note(_: OrderRequest) -> None:
        seen_by_guard.set()

    call = asyncio.ensure_future(scenario.submit(entry, note))
    waiting = asyncio.ensure_future(seen_by_guard.wait())
    await asyncio.wait({call, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    times = await _arrivals(scenario, entry)
    expect(times <= 1, f"the broker accepted it {times} times")
    for _ in range(2):
        await scenario.buy()
    await scenario.expect_accepted(entry, times)


async def _arrivals(scenario: Scenario, entry: OrderRequest) -> int:
    """Return how often an order arrived, once it did or ARRIVAL_SECONDS have passed."""
    with contextlib.suppress(CheckFailed):
        await scenario.until(
            lambda: scenario.harness.accepted(entry.client_order_id), "", ARRIVAL_SECONDS
        )
    return await scenario.harness.accepted(entry.client_order_id)


@check(24, "a time-out ends the call", Capability.MARKET, InjectedFault.LOST, JOURNAL)
async def time_out(scenario: Scenario) -> None:
    """After a time-out the order does not arrive later, when the broker is reachable again."""
    entry = await _unknown(scenario, InjectedFault.LOST)
    await scenario.buy()
    await scenario.expect_accepted(entry, 0)
    expect(
        await scenario.held() == scenario.quantity, "the position is larger than the second order"
    )


@check(25, "ten at once", Capability.MARKET, JOURNAL)
async def ten_at_once(scenario: Scenario) -> None:
    """Ten concurrent orders are accepted once each, and each gets its own reply."""
    step = scenario.instrument.quantity_step
    minimum = max(scenario.on_step(scenario.quantity / 10), scenario.instrument.quantity_min)
    entries = [scenario.order(quantity=minimum + step * (n % 2)) for n in range(10)]
    answers = await asyncio.gather(*(scenario.submit(entry) for entry in entries))
    for entry, answer in zip(entries, answers, strict=True):
        await scenario.reports_of(entry, lambda got, of=entry: filled(got) == of.quantity, answer)  # type: ignore[misc]
        await scenario.expect_accepted(entry, 1)
    await scenario.wait_until_held(sum((entry.quantity for entry in entries), start=step * 0))


@check(26, "many in one call", Capability.MARKET, Capability.SUBMIT_MANY)
async def submit_many(scenario: Scenario) -> None:
    """Of many orders in one call each outcome is reported once; a refused one as refused."""
    entries = [scenario.order(), scenario.order(symbol="NOSUCHSYMBOL"), scenario.order()]
    scenario.placed += entries
    answer: dict[str, list[list[OrderReport] | BrokerError]] = {}

    def on_outcome(request: OrderRequest, outcome: list[OrderReport] | BrokerError) -> None:
        answer.setdefault(request.client_order_id, []).append(outcome)

    pairs = [(scenario.spec, entry) for entry in entries]
    await scenario.call(scenario.harness.adapter.submit_many(pairs, allow, on_outcome))
    for entry in entries:
        answers = answer.get(entry.client_order_id, [])
        expect(len(answers) == 1, f"an outcome was reported {len(answers)} times")
        refused = entry.symbol == "NOSUCHSYMBOL"
        expect(isinstance(answers[0], BrokerError) == refused, f"it was reported as {answers[0]}")


@check(27, "many in one call, some guarded", Capability.MARKET, Capability.SUBMIT_MANY, JOURNAL)
async def many_guarded(scenario: Scenario) -> None:
    """Of many orders in one call only those that the guard allows are sent."""
    entries = [scenario.order() for _ in range(4)]
    scenario.placed += entries
    barred = {entries[1].client_order_id, entries[2].client_order_id}
    answer: dict[str, list[OrderReport] | BrokerError] = {}

    def some(request: OrderRequest) -> None:
        if request.client_order_id in barred:
            raise NotSent(Code.KILL_SWITCH)

    def on_outcome(request: OrderRequest, outcome: list[OrderReport] | BrokerError) -> None:
        answer[request.client_order_id] = outcome

    pairs = [(scenario.spec, entry) for entry in entries]
    await scenario.call(scenario.harness.adapter.submit_many(pairs, some, on_outcome))
    for entry in entries:
        stays = entry.client_order_id in barred
        expect(
            isinstance(answer.get(entry.client_order_id), NotSent) == stays,
            "the wrong orders were reported as not sent",
        )
        await scenario.expect_accepted(entry, 0 if stays else 1)


@check(28, "execution time", Capability.MARKET)
async def execution_time(scenario: Scenario) -> None:
    """Executions carry the broker's time, which is about now."""
    before = market_now()
    entry = await scenario.buy()
    fills = [
        fill for report in await scenario.found(entry.client_order_id) for fill in report.fills
    ]
    apart = max(abs((fill.time - before).total_seconds()) for fill in fills)
    expect(apart < 120, f"an execution's time differs from now by {apart:.0f} s")


async def _unknown(scenario: Scenario, fault: InjectedFault) -> OrderRequest:
    """Place an order with a fault: it must raise OutcomeUnknown. Ends the fault."""
    entry = scenario.order()
    await scenario.left_unknown(entry, fault)
    return entry


async def _not_sent(scenario: Scenario, entry: OrderRequest, guard: Guard) -> NotSent:
    try:
        answer = await scenario.submit(entry, guard)
    except NotSent as error:
        return error
    except BrokerError as error:
        raise CheckFailed(f"it was reported as {type(error).__name__} {error}") from error
    raise CheckFailed(f"it was sent: {describe_kinds(answer)}")


async def _is_there_once(scenario: Scenario, entry: OrderRequest) -> None:
    """Check that it was accepted once and is found as filled."""
    await scenario.expect_accepted(entry, 1)
    await scenario.reports_of(entry, lambda reports: filled(reports) == entry.quantity)
