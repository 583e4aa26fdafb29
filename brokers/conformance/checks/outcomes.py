"""C13–C28, C110: the three outcomes, and what is known after each of them."""

import asyncio
import contextlib

from brokers.base import BrokerError, Guard, NotSent, OutcomeUnknown, Rejected
from brokers.conformance.case import Ability, Failed, case, expect
from brokers.conformance.scene import Scene, free
from brokers.conformance.stage import Offer, Trouble
from brokers.conformance.words import ended, filled, kinds
from brokers.messages import OrderReport, OrderRequest
from common.clocks import market_now
from common.codes import Code

JOURNAL = Offer.JOURNAL
ARRIVAL_SECONDS = 3.0  # how long what has left may take


@case(13, "refused", Ability.MARKET, Trouble.REFUSED, JOURNAL)
async def refused(scene: Scene) -> None:
    """The broker's refusal is told with a code of ours and its own words; nothing was accepted."""
    await scene.stage.begin(Trouble.REFUSED)
    entry = scene.order()
    code, detail = await scene.refusal(entry)
    expect(code is not None, "the refusal has no code")
    expect(detail, "the refusal has none of the broker's own words")
    await scene.stage.end()
    await scene.accepted(entry, 0)
    expect(await scene.held() == 0, "something is held")


@case(14, "lost on the way", Ability.MARKET, Ability.LOOKUP, Trouble.LOST, JOURNAL)
async def lost(scene: Scene) -> None:
    """A time-out before acceptance is unknown; the look-up then proves that it never arrived."""
    entry = await _unknown(scene, Trouble.LOST)
    await scene.absent(entry.client_order_id)
    await scene.accepted(entry, 0)


@case(15, "taken without an answer", Ability.MARKET, Ability.LOOKUP, Trouble.MUTE, JOURNAL)
async def mute(scene: Scene) -> None:
    """A time-out after acceptance is unknown; the look-up finds the order, accepted once."""
    entry = await _unknown(scene, Trouble.MUTE)
    await _is_there_once(scene, entry)


@case(16, "the line breaks", Ability.MARKET, Ability.LOOKUP, Trouble.CUT, JOURNAL)
async def cut(scene: Scene) -> None:
    """A line that breaks after the order was taken is unknown; it is found again, accepted once."""
    entry = await _unknown(scene, Trouble.CUT)
    await _is_there_once(scene, entry)


@case(17, "a late answer", Ability.MARKET, Ability.LOOKUP, Trouble.LATE, JOURNAL)
async def late(scene: Scene) -> None:
    """An answer after our time-out belongs to no other order: the next one gets its own."""
    first = await _unknown(scene, Trouble.LATE)
    second = await scene.bought()
    await _is_there_once(scene, first)
    await scene.accepted(second, 1)


@case(18, "half an answer", Ability.MARKET, Ability.LOOKUP, Trouble.HALF, JOURNAL)
async def half(scene: Scene) -> None:
    """Half an answer is unknown, with words that say what happened; the order is found again."""
    entry = await _unknown(scene, Trouble.HALF)
    expect(scene.errors[-1].detail, "nothing is said of it")
    await _is_there_once(scene, entry)


@case(110, "half an answer is kept", Ability.MARKET, Ability.LOOKUP, Trouble.HALF)
async def half_kept(scene: Scene) -> None:
    """What came of half an answer stands in the words of its outcome, as people can read it."""
    await _unknown(scene, Trouble.HALF)
    words = scene.errors[-1].detail
    for piece in await scene.stage.half():
        expect(piece in words, f"{piece!r} came, and its owner reads {words!r}")


@case(19, "an unlisted code", Ability.MARKET, Ability.LOOKUP, Trouble.UNLISTED, JOURNAL)
async def unlisted(scene: Scene) -> None:
    """A code that is in no list is never believed: the order is live, and is not told as ended."""
    await scene.stage.begin(Trouble.UNLISTED)
    entry = scene.order()
    try:
        told = await scene.submit(entry)
    except OutcomeUnknown as error:
        expect(error.detail, "the broker's own words are not kept")
    except BrokerError as error:
        raise Failed(f"it was believed: {type(error).__name__} {error}") from error
    else:
        expect(not ended(told), f"it was believed: {kinds(told)}")
    await scene.stage.end()
    await _is_there_once(scene, entry)


@case(20, "the guard refuses", Ability.MARKET, JOURNAL)
async def guard(scene: Scene) -> None:
    """What the guard refuses is NotSent with the guard's code, and is not in the journal."""
    entry = scene.order()

    def no(_: OrderRequest) -> None:
        raise NotSent(Code.SEND_DEADLINE)

    error = await _not_sent(scene, entry, no)
    expect(error.code is Code.SEND_DEADLINE, f"it says {error.code}")
    await scene.accepted(entry, 0)
    expect(await scene.held() == 0, "something is held")


@case(21, "the guard is asked", Ability.MARKET)
async def guard_asked(scene: Scene) -> None:
    """The guard is asked about the very order that leaves."""
    entry, asked = scene.order(), list[OrderRequest]()
    await scene.submit(entry, asked.append)
    expect(asked, "nobody asked the guard")
    expect(all(one == entry for one in asked), "the guard was asked about something else")


@case(22, "a repeated id", Ability.MARKET, Ability.UNIQUE_IDS, JOURNAL)
async def repeated_id(scene: Scene) -> None:
    """Where repeated ids are said to be refused, a second order under one id is never accepted."""
    entry = await scene.bought()
    try:
        await scene.submit(entry)
    except (Rejected, OutcomeUnknown):
        pass
    await scene.accepted(entry, 1)
    await scene.holds(entry.quantity)


@case(23, "given up", Ability.MARKET, JOURNAL)
async def given_up(scene: Scene) -> None:
    """An order whose caller gives up as it leaves arrives then or never: nothing is sent later."""
    entry, asked = scene.order(), asyncio.Event()

    def note(_: OrderRequest) -> None:
        asked.set()

    call = asyncio.ensure_future(scene.submit(entry, note))
    waiting = asyncio.ensure_future(asked.wait())
    await asyncio.wait({call, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    times = await _arrivals(scene, entry)
    expect(times <= 1, f"the broker accepted it {times} times")
    for _ in range(2):
        await scene.bought()
    await scene.accepted(entry, times)


async def _arrivals(scene: Scene, entry: OrderRequest) -> int:
    """How often an order arrived, as soon as it did or as it has had the time to."""
    with contextlib.suppress(Failed):
        await scene.until(lambda: scene.stage.accepted(entry.client_order_id), "", ARRIVAL_SECONDS)
    return await scene.stage.accepted(entry.client_order_id)


@case(24, "a time-out ends the call", Ability.MARKET, Trouble.LOST, JOURNAL)
async def time_out(scene: Scene) -> None:
    """After a time-out nothing of the order arrives later, when the broker hears again."""
    entry = await _unknown(scene, Trouble.LOST)
    await scene.bought()
    await scene.accepted(entry, 0)
    expect(await scene.held() == scene.quantity, "more is held than the second order")


@case(25, "ten at once", Ability.MARKET, JOURNAL)
async def ten_at_once(scene: Scene) -> None:
    """Ten orders at the same time are accepted once each, and each has its own answer."""
    step = scene.instrument.quantity_step
    least = max(scene.on_step(scene.quantity / 10), scene.instrument.quantity_min)
    entries = [scene.order(quantity=least + step * (n % 2)) for n in range(10)]
    answers = await asyncio.gather(*(scene.submit(entry) for entry in entries))
    for entry, told in zip(entries, answers, strict=True):
        await scene.told(entry, lambda got, of=entry: filled(got) == of.quantity, told)  # type: ignore[misc]
        await scene.accepted(entry, 1)
    await scene.holds(sum((entry.quantity for entry in entries), start=step * 0))


@case(26, "many in one call", Ability.MARKET, Ability.SUBMIT_MANY)
async def submit_many(scene: Scene) -> None:
    """Of many orders in one call each is told once, the refused one among them as refused."""
    entries = [scene.order(), scene.order(symbol="NOSUCHSYMBOL"), scene.order()]
    scene.placed += entries
    told: dict[str, list[list[OrderReport] | BrokerError]] = {}

    def tell(request: OrderRequest, outcome: list[OrderReport] | BrokerError) -> None:
        told.setdefault(request.client_order_id, []).append(outcome)

    pairs = [(scene.spec, entry) for entry in entries]
    await scene.ask(scene.stage.adapter.submit_many(pairs, free, tell))
    for entry in entries:
        answers = told.get(entry.client_order_id, [])
        expect(len(answers) == 1, f"one was told {len(answers)} times")
        refused = entry.symbol == "NOSUCHSYMBOL"
        expect(isinstance(answers[0], BrokerError) == refused, f"it was told {answers[0]}")


@case(27, "many in one call, some guarded", Ability.MARKET, Ability.SUBMIT_MANY, JOURNAL)
async def many_guarded(scene: Scene) -> None:
    """Of many orders in one call those that the guard refuses stay here, and the others leave."""
    entries = [scene.order() for _ in range(4)]
    scene.placed += entries
    barred = {entries[1].client_order_id, entries[2].client_order_id}
    told: dict[str, list[OrderReport] | BrokerError] = {}

    def some(request: OrderRequest) -> None:
        if request.client_order_id in barred:
            raise NotSent(Code.KILL_SWITCH)

    def tell(request: OrderRequest, outcome: list[OrderReport] | BrokerError) -> None:
        told[request.client_order_id] = outcome

    pairs = [(scene.spec, entry) for entry in entries]
    await scene.ask(scene.stage.adapter.submit_many(pairs, some, tell))
    for entry in entries:
        stays = entry.client_order_id in barred
        expect(
            isinstance(told.get(entry.client_order_id), NotSent) == stays,
            "the wrong ones were told as not sent",
        )
        await scene.accepted(entry, 0 if stays else 1)


@case(28, "it says its time", Ability.MARKET)
async def execution_time(scene: Scene) -> None:
    """Executions carry the broker's time, which is about now."""
    before = market_now()
    entry = await scene.bought()
    fills = [fill for report in await scene.found(entry.client_order_id) for fill in report.fills]
    apart = max(abs((fill.time - before).total_seconds()) for fill in fills)
    expect(apart < 120, f"an execution is told {apart:.0f} s apart from now")


async def _unknown(scene: Scene, trouble: Trouble) -> OrderRequest:
    """Place an order in such trouble: it must end as OutcomeUnknown. The trouble is over then."""
    await scene.stage.begin(trouble)
    entry = scene.order()
    try:
        told = await scene.submit(entry)
    except OutcomeUnknown:
        pass
    except BrokerError as error:
        raise Failed(f"it was told as {type(error).__name__} {error}") from error
    else:
        raise Failed(f"it was told as {kinds(told)}")
    await scene.stage.end()
    return entry


async def _not_sent(scene: Scene, entry: OrderRequest, guard: Guard) -> NotSent:
    try:
        told = await scene.submit(entry, guard)
    except NotSent as error:
        return error
    except BrokerError as error:
        raise Failed(f"it was told as {type(error).__name__} {error}") from error
    raise Failed(f"it was sent: {kinds(told)}")


async def _is_there_once(scene: Scene, entry: OrderRequest) -> None:
    """It is found, filled, and was accepted once."""
    await scene.accepted(entry, 1)
    await scene.told(entry, lambda reports: filled(reports) == entry.quantity)
