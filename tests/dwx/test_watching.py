"""What is told without asking: prices, and what happens at the terminal; and whose it is."""

import asyncio
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.dwx import watch
from brokers.dwx.adapter import create
from brokers.dwx.ages import Ages
from brokers.messages import CloseCause, ConnectionSpec, OrderReport, OrderType, Quote, ReportKind
from brokers.registry import capabilities_of, form_of
from common.codes import Code
from common.errors import InvalidInputError
from tests.doubles.dwx.terminal import until
from tests.dwx.cast import Owner, failing, run

SOON = 10.0


async def soon(is_so: Callable[[], bool]) -> None:
    await asyncio.to_thread(until, is_so)


def price(owner: Owner, bid: str, ask: str, symbol: str = "EURUSD") -> None:
    owner.terminal.wish("price", symbol=symbol, bid=float(bid), ask=float(ask))


# ---- connect and disconnect -----------------------------------------------------------------
def test_a_folder_is_held_from_connect_to_disconnect(owner: Owner) -> None:
    run(owner.adapter.connect(owner.spec))
    other = create(str(owner.root))
    with failing(ReadFailed, Code.NOT_CONNECTED) as caught:
        run(other.connect(owner.spec))
    assert "Another process" in caught[0].detail
    run(owner.adapter.disconnect(owner.spec))
    run(other.connect(owner.spec))
    with failing(NotSent):
        owner.buy()
    run(other.disconnect())
    assert owner.buy().kind is ReportKind.FILLED


def test_one_account_that_ends_ends_no_other(owner: Owner) -> None:
    run(owner.adapter.connect(owner.spec))
    owner.says(folder="nobody")
    run(owner.adapter.disconnect(ConnectionSpec("c2", "1")))
    owner.says(folder="alice")
    with failing(ReadFailed):
        run(create(str(owner.root)).connect(owner.spec))


@pytest.mark.parametrize(
    ("said", "code"),
    [({"folder": "bob"}, Code.UNKNOWN_ACCOUNT), ({"server_zone": "Mars"}, Code.NOT_CONNECTED)],
)
def test_connecting_says_what_is_wrong(owner: Owner, said: dict[str, Any], code: Code) -> None:
    owner.says(**said)
    with failing(ReadFailed, code):
        run(owner.adapter.connect(owner.spec))


def test_connecting_to_another_account(owner: Owner) -> None:
    owner.terminal.wish("account", number="999")
    with failing(ReadFailed, Code.UNKNOWN_ACCOUNT):
        run(owner.adapter.connect(owner.spec))


# ---- prices ---------------------------------------------------------------------------------
def quote(owner: Owner, symbol: str = "EURUSD") -> Quote:
    return run(owner.adapter.quote(owner.spec, symbol))


def test_a_price_that_stands_still_ages_beside_one_that_moves(owner: Owner) -> None:
    assert quote(owner, "XAUUSD.m").symbol == "XAU/USD"
    price(owner, "1.2", "1.2001")
    for symbol in ("EURUSD", "XAUUSD.m"):
        quote(owner, symbol)
    [terminal] = owner.adapter._terminals.values()
    now = time.monotonic()
    assert terminal.ages.of("XAUUSD.m", now) > terminal.ages.of("EURUSD", now)


def test_ages_of_prices() -> None:
    one, other, ages = (D(1), D(2)), (D(3), D(4)), Ages()
    assert ages.of("A", 5) == math.inf
    ages.see({"A": one, "B": one}, 10)
    ages.see({"A": other, "B": one}, 20)
    ages.see({"A": other, "B": one}, 30)
    assert (ages.of("A", 40), ages.of("B", 40)) == (20, 30)
    ages.see({"A": other}, 50)  # the expert advisor began anew
    ages.see({"A": other, "B": one}, 60)
    assert (ages.of("A", 70), ages.of("B", 70)) == (50, 10)


def test_a_price(owner: Owner) -> None:
    told = quote(owner)
    assert (told.symbol, told.bid, told.ask) == ("EUR/USD", D("1.1"), D("1.1001"))
    assert abs(told.time - datetime.now(UTC)) < timedelta(seconds=5)
    price(owner, "1.2", "1.2001")
    assert quote(owner).bid == D("1.2")
    asked = [content for command, content in owner.terminal.commands() if "SUBSCRIBE" in command]
    assert asked == ["EURUSD,XAUUSD.m"]  # once: then it is in the file
    assert quote(owner, "XAUUSD.m").symbol == "XAU/USD"
    other = create(str(owner.root))  # who does not hold the folder may read it
    assert run(other.quote(owner.spec, "EURUSD")).bid == D("1.2")
    with failing(ReadFailed):
        run(other.quote(owner.spec, "USDJPY"))
    assert quote(owner, "USDJPY").ask == D("150.02")
    assert quote(owner).bid == D("1.2")  # and the earlier ones are still told


@pytest.mark.parametrize(
    ("symbol", "code"),
    [("GBPUSD", Code.UNKNOWN_SYMBOL_AT_BROKER), ("DAX", Code.UNKNOWN_SYMBOL_AT_BROKER)],
)
def test_symbols_without_a_price(owner: Owner, symbol: str, code: Code) -> None:
    with failing(ReadFailed, code):
        quote(owner, symbol)
    assert quote(owner).bid == D("1.1")
    last = owner.terminal.commands()[-1][1]
    assert symbol not in last.split(",")  # a hole in its list would have it complain at each tick


def test_a_market_without_prices_is_closed(owner: Owner) -> None:
    price(owner, "0", "0")
    with failing(ReadFailed, Code.MARKET_CLOSED):
        quote(owner)


def test_prices_of_a_dead_terminal_are_none(owner: Owner) -> None:
    quote(owner)
    owner.terminal.kill()
    owner.hurries()
    with failing(ReadFailed, Code.NOT_CONNECTED):
        while True:
            quote(owner)


def test_prices_as_they_come(owner: Owner) -> None:
    async def listen() -> list[tuple[str, D]]:
        told, begun, moved = [], asyncio.Event(), asyncio.Event()

        async def change() -> None:
            await begun.wait()
            await asyncio.to_thread(price, owner, "1.3", "1.3001")
            await moved.wait()
            await asyncio.to_thread(owner.terminal.close)  # the terminal is started anew
            await asyncio.to_thread(owner.terminal.start)
            await asyncio.to_thread(price, owner, "1.4", "1.4001")

        changes = asyncio.create_task(change())
        async with asyncio.timeout(SOON):
            async for one in owner.adapter.stream_quotes(owner.spec, ["EURUSD", "XAUUSD.m"]):
                told.append((one.symbol, one.bid))
                if len(told) == 2:
                    begun.set()
                if one.bid == D("1.3"):
                    moved.set()
                if one.bid == D("1.4"):
                    break
        await changes
        return told

    owner.says(stale_seconds=5)
    told = run(listen())
    assert told[:3] == [("EUR/USD", D("1.1")), ("XAU/USD", D(1900)), ("EUR/USD", D("1.3"))]
    assert [one for one in told if one[0] == "XAU/USD"] == [("XAU/USD", D(1900))]


def test_a_stream_of_a_dead_terminal_ends(owner: Owner) -> None:
    async def listen() -> None:
        async with asyncio.timeout(SOON):
            async for _ in owner.adapter.stream_quotes(owner.spec, ["EURUSD"]):
                owner.hurries()
                owner.terminal.kill()

    owner.says(stale_seconds=0.5)
    with failing(ReadFailed, Code.NOT_CONNECTED):
        run(listen())


def test_what_an_order_costs_is_not_offered(owner: Owner) -> None:
    with failing(ReadFailed, Code.NOT_OFFERED):
        run(owner.adapter.what_if(owner.spec, owner.order()))
    assert not owner.adapter.capabilities(owner.spec).what_if


# ---- events ---------------------------------------------------------------------------------
async def told(owner: Owner, is_it: Callable[[OrderReport], bool]) -> OrderReport:
    """Listen to the bell until an event of this kind waits."""
    async with asyncio.timeout(SOON):
        async for _ in owner.adapter.stream_events():
            for one in await owner.adapter.events(100):
                if is_it(one):
                    return one
    raise AssertionError("the bell ended")


def during(
    owner: Owner, act: Callable[[], object], is_it: Callable[[OrderReport], bool]
) -> OrderReport:
    """The event that follows an act of somebody else's, while we are connected."""

    async def listen() -> OrderReport:
        await owner.adapter.connect(owner.spec)
        await soon(lambda: owner.adapter._watch._watched["c1"].mark is not None)
        await asyncio.to_thread(act)
        return await told(owner, is_it)

    return run(listen())


def left(one: OrderReport) -> bool:
    return one.close_cause is not None


@pytest.mark.parametrize("zone", ["UTC+2", "UTC-9", "UTC+11"])  # also where the setting is wrong
@pytest.mark.parametrize(
    ("mark", "cause"), [("[sl]", CloseCause.STOP_LOSS), ("", CloseCause.EXTERNAL)]
)
def test_an_exit_of_others_is_told(owner: Owner, mark: str, cause: CloseCause, zone: str) -> None:
    entry = owner.buy()
    owner.says(server_zone=zone)
    event = during(owner, lambda: owner.terminal.wish("end", ticket=1001, mark=mark), left)
    assert (event.kind, event.close_cause) == (ReportKind.FILLED, cause)
    assert event.client_order_id == entry.client_order_id
    assert event.broker_position_id == entry.broker_position_id
    assert event.fills[0].broker_fill_id == "1001:out"
    run(owner.adapter.acknowledge([event.event_id]))
    assert event.event_id not in {one.event_id for one in run(owner.adapter.events(100))}


def test_a_waiting_order_that_fills_is_told_without_a_command(owner: Owner) -> None:
    waits = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    commands: list[int] = []

    def act() -> None:
        commands.append(len(owner.terminal.commands()))
        owner.terminal.wish("trigger", ticket=1001)

    event = during(owner, act, lambda one: bool(one.fills))
    assert event.client_order_id == waits.client_order_id
    assert event.fills[0].broker_fill_id == "1001:in"
    assert len(owner.terminal.commands()) == commands[0]


@pytest.mark.parametrize(
    ("mark", "kind"),
    [("[expiration]", ReportKind.EXPIRED), ("cancelled", ReportKind.CANCELLED)],
)
def test_a_waiting_order_that_ends_is_told(owner: Owner, mark: str, kind: ReportKind) -> None:
    waits = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner.terminal.fault(rewrite_comment="")
    event = during(
        owner, lambda: owner.terminal.wish("end", ticket=1001, mark=mark), lambda one: True
    )
    assert (event.kind, event.client_order_id) == (kind, waits.client_order_id)


def test_a_part_that_its_owner_closes_is_told(owner: Owner) -> None:
    entry = owner.buy()
    event = during(owner, lambda: owner.terminal.wish("end", ticket=1001, mark="", lots=0.04), left)
    assert event.fills[0].quantity == 4000
    assert event.broker_position_id == entry.broker_position_id


def test_what_is_not_ours_rings_for_nobody(owner: Owner) -> None:
    def act() -> None:
        owner.terminal.wish("place", symbol="EURUSD", lots=0.3, type="buy")
        owner.terminal.wish("end", ticket=1001, mark="")
        owner.terminal.wish("end", ticket=1002, mark="[tp]")

    owner.terminal.wish("place", symbol="EURUSD", lots=0.3, type="buy")
    entry = owner.buy()
    event = during(owner, act, left)
    assert event.client_order_id == entry.client_order_id
    assert {one.client_order_id for one in run(owner.adapter.events(100))} == {
        entry.client_order_id
    }


def test_what_opens_and_ends_between_two_looks_is_told(owner: Owner) -> None:
    """Its answer told the entry, and nobody would ever hear of its stop."""
    other = owner.order()

    async def listen() -> OrderReport:
        await owner.adapter.connect(owner.spec)
        watched = owner.adapter._watch._watched["c1"]
        await soon(lambda: watched.mark is not None)
        watched.since += timedelta(days=1)  # by the clocks it is too old to be told
        watched.not_before = float("inf")  # nobody looks
        await owner.adapter.submit(owner.spec, other, lambda _: None)
        await asyncio.to_thread(owner.terminal.wish, "end", ticket=1001, mark="[sl]")
        watched.not_before = 0.0
        return await told(owner, left)

    assert run(listen()).client_order_id == other.client_order_id


def test_what_happened_right_before_the_first_look_is_told(owner: Owner) -> None:
    owner.buy()
    run(owner.adapter.disconnect())
    owner.terminal.wish("end", ticket=1001, mark="[sl]")

    async def listen() -> OrderReport:
        await owner.adapter.connect(owner.spec)
        return await told(owner, left)

    assert run(listen()).fills[0].broker_fill_id == "1001:out"


def test_a_terminal_that_cannot_be_read_is_looked_at_again(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "AGAIN_SECONDS", (0.1, 0.2))
    owner.buy()
    owner.hurries("answer_seconds", "take_seconds")

    async def listen() -> OrderReport:
        await owner.adapter.connect(owner.spec)
        await asyncio.to_thread(owner.terminal.fault, deaf_to_history=True)
        await asyncio.to_thread(owner.terminal.wish, "end", ticket=1001, mark="[sl]")
        await soon(lambda: owner.adapter._watch._watched["c1"].not_before > 0)
        await asyncio.to_thread(owner.terminal.fault)
        owner.calms()
        return await told(owner, left)

    assert run(listen()).fills[0].broker_fill_id == "1001:out"


def test_reading_the_account_opens_its_session(owner: Owner) -> None:
    entry = owner.buy()
    run(owner.adapter.disconnect())

    async def listen() -> OrderReport:
        await owner.adapter.account(owner.spec)
        await soon(lambda: "c1" in owner.adapter._watch._watched)
        await asyncio.to_thread(owner.terminal.wish, "end", ticket=1001, mark="[sl]")
        return await told(owner, left)

    assert run(listen()).client_order_id == entry.client_order_id
    with failing(ReadFailed):
        run(create(str(owner.root)).connect(owner.spec))


def test_reading_does_not_fail_where_nothing_can_be_asked(owner: Owner) -> None:
    run(owner.adapter.connect(owner.spec))
    other = create(str(owner.root))

    async def read_twice() -> None:
        for _ in range(2):
            assert (await other.account(owner.spec)).account == "4711"
            await asyncio.gather(*other._watch._tasks)

    run(read_twice())
    assert other._watch._watched == {}


@pytest.mark.parametrize("begin", ["hold", "look"])
def test_what_was_begun_before_a_disconnect_does_not_take_the_folder_back(
    owner: Owner, begin: str
) -> None:
    """Else this process would keep a terminal whose lane has another owner."""
    owner.buy()

    async def let_go() -> None:
        if begin == "look":
            await owner.adapter.connect(owner.spec)
        [busy] = owner.adapter._terminals.values()
        async with busy.turn():  # it has to wait for its turn
            if begin == "hold":
                owner.adapter._watch.drop()
                await owner.adapter.account(owner.spec)
            tasks = owner.adapter._watch._tasks
            await soon(lambda: bool(tasks))
            waiting = list(tasks)
            await asyncio.sleep(0)
            await owner.adapter.disconnect(owner.spec)
        await asyncio.gather(*waiting)
        await create(str(owner.root)).connect(owner.spec)  # nobody has the folder

    run(let_go())


def test_who_is_disconnected_is_watched_no_longer(owner: Owner) -> None:
    async def connect_and_end() -> None:
        await owner.adapter.connect(owner.spec)
        looker = owner.adapter._watch._looker
        await owner.adapter.disconnect(owner.spec)
        assert looker is not None
        async with asyncio.timeout(SOON):
            await looker

    run(connect_and_end())


# ---- what an owner fills in -----------------------------------------------------------------
def test_the_form_knows_what_the_adapter_reads(owner: Owner) -> None:
    form = form_of("mt4")
    assert owner.adapter.form is form
    assert form.validate(dict(owner.spec.settings))["folder"] == "alice"
    assert [one.key for one in form.secrets] == ["password"]
    assert capabilities_of("mt4", owner.spec) == owner.adapter.capabilities(owner.spec)


@pytest.mark.parametrize(
    "said",
    [{"folder": "../alice"}, {"folder": ""}, {"symbols": ""}, {"symbols": "DAX"},
     {"symbols": ["a|b"]}, {"server_zone": "Mars"}, {"history_days": 0}, {"take_seconds": 0},
     {"answer_seconds": 1e9}, {"hedge": True}],
)  # fmt: skip
def test_settings_that_are_refused(owner: Owner, said: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        form_of("mt4").validate({**owner.spec.settings, **said})
