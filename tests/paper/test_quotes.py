"""Quotes: each is processed in order, and one that hits no level is cheap."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from itertools import pairwise

from django.db import connection

from brokers.paper import exchange
from brokers.paper.db_sessions import sessions
from brokers.paper.models import PaperAccount, PaperEvent, PaperPosition, PaperQuote
from brokers.types import CloseCause, Quote, ReportKind, Side
from prices.recordings import DATA, DEFAULT_FILE, read_quotes
from tests.paper.conftest import IN_PROCESS_ONLY, Trader

ReportedFill = tuple[ReportKind, CloseCause | None, list[tuple[D, D, datetime, D]]]
RELEASE = datetime(2014, 5, 2, 12, 30, tzinfo=UTC)


def quote(bid: str, at: datetime, symbol: str = "EUR/USD") -> Quote:
    return Quote(symbol, D(bid), D(bid) + D("0.00002"), at)


def start_at_release(trader: Trader) -> list[Quote]:
    """Send the recorded prices until 12:30:00; return those of the next five minutes."""
    recorded = list(read_quotes(DATA / DEFAULT_FILE))
    trader.wait_until(RELEASE)
    exchange.on_quotes(
        [recorded_quote for recorded_quote in recorded if recorded_quote.time <= RELEASE]
    )
    end = RELEASE + timedelta(minutes=5)
    trader.wait_until(end)
    return [recorded_quote for recorded_quote in recorded if RELEASE < recorded_quote.time <= end]


def test_stops_fill_at_first_price_beyond_a_gap(trader: Trader) -> None:
    """EUR/USD: bid 1.38593 at 12:30:00, 1.38254 at 12:30:01, ask 1.38693 and 1.38404."""
    after = start_at_release(trader)
    trader.wait_until(RELEASE)
    [entry] = trader.buy("100000", stop_loss="1.38500")
    assert [f.price for f in entry.fills] == [D("1.38693")]
    [short] = trader.sell("100000", take_profit="1.38450")
    [waiting] = trader.sell("1000", stop_price="1.38550")
    [bargain] = trader.buy("1000", limit_price="1.38420")
    trader.wait_until(RELEASE + timedelta(minutes=5))
    exchange.on_quotes(after)
    reports = {r.client_order_id: r for r in trader.new_events()}
    first_second = RELEASE + timedelta(seconds=1)
    assert {(r.fills[0].price, r.fills[0].time, r.close_cause) for r in reports.values()} == {
        (D("1.38254"), first_second, CloseCause.STOP_LOSS),  # 24.6 pips beyond the stop
        (D("1.38404"), first_second, CloseCause.TAKE_PROFIT),  # better than the target
        (D("1.38254"), first_second, None),
        (D("1.38404"), first_second, None),
    }
    assert reports[entry.client_order_id].fills[0].price == D("1.38254")
    assert reports[short.client_order_id].close_cause is CloseCause.TAKE_PROFIT
    assert reports[waiting.client_order_id].broker_order_id == waiting.broker_order_id
    assert reports[bargain.client_order_id].kind is ReportKind.FILLED
    # stop: −439.00, target: +189.00
    assert trader.state().balance == 10_000 - D("439.00") + D("189.00")


def trade_five_minutes(trader: Trader, account: str, *, at_once: bool) -> list[ReportedFill]:
    """Trade through the release on a new account; return its reports."""
    exchange.forget_prices()
    trader.account(account, balance=D(100_000), partial_fill_max=D(30_000))
    after = start_at_release(trader)
    trader.wait_until(RELEASE)
    trader.buy("20000", account, stop_loss="1.38200", take_profit="1.38750")
    trader.sell("50000", account, stop_price="1.38300", stop_loss="1.38450")
    trader.buy("50000", account, limit_price="1.38200", take_profit="1.38380")
    trader.wait_until(RELEASE + timedelta(minutes=5))
    for step in [after] if at_once else [[recorded_quote] for recorded_quote in after]:
        exchange.on_quotes(step)
    return [
        (r.kind, r.close_cause, [(f.quantity, f.price, f.time, f.commission) for f in r.fills])
        for r in trader.new_events()
        if r.connection_id == f"c-{account}"
    ]


@IN_PROCESS_ONLY
def test_batched_and_single_quotes_give_the_same_result(trader: Trader) -> None:
    at_once = trade_five_minutes(trader, "once", at_once=True)
    assert trade_five_minutes(trader, "single", at_once=False) == at_once
    assert [(cause, fills[0][:2]) for _, cause, fills in at_once] == [
        (None, (D(30_000), D("1.38254"))),  # the sell stop, through the gap
        (None, (D(20_000), D("1.38233"))),  # its remainder, a second later
        (CloseCause.STOP_LOSS, (D(20_000), D("1.38190"))),
        (None, (D(30_000), D("1.38194"))),  # the buy limit, at better than 1.38200
    ]


def test_level_touched_within_a_batch_is_executed(trader: Trader) -> None:
    trader.buy("1000", stop_loss="1.09000")
    start = trader.now
    trader.wait_until(start + timedelta(seconds=9))
    dip = [quote("1.10000", start), quote("1.08990", start), quote("1.10500", start)]
    assert exchange.on_quotes(dip) == 1
    assert [f.price for r in trader.new_events() for f in r.fills] == [D("1.08990")]


def test_position_opened_by_a_batch_may_close_in_it(trader: Trader) -> None:
    """A limit entry fills, and a later quote of the same batch takes its profit."""
    trader.buy("1000", limit_price="1.09000", take_profit="1.09500")
    at = trader.now
    assert (
        exchange.on_quotes([quote("1.08900", at), quote("1.09400", at), quote("1.09600", at)]) == 2
    )
    entry, exit_ = trader.new_events()
    assert (entry.fills[0].price, exit_.fills[0].price) == (D("1.08902"), D("1.09600"))
    assert exit_.close_cause is CloseCause.TAKE_PROFIT
    assert exit_.client_order_id == entry.client_order_id
    assert trader.positions() == []


def test_stop_and_target_execute_on_both_sides(trader: Trader) -> None:
    [buy_stop] = trader.buy("1000", stop_loss="1.09000", take_profit="1.11000")
    [sell_stop] = trader.sell("1000", stop_loss="1.11000", take_profit="1.09000")
    assert trader.price("1.10997") == 0  # ask 1.10999
    assert trader.price("1.10998") == 1  # ask 1.11000: the short's stop, met exactly
    assert trader.price("1.11000") == 1  # bid: the long's target
    causes = {r.client_order_id: (r.close_cause, r.fills[0].price) for r in trader.new_events()}
    assert causes == {
        sell_stop.client_order_id: (CloseCause.STOP_LOSS, D("1.11000")),
        buy_stop.client_order_id: (CloseCause.TAKE_PROFIT, D("1.11000")),
    }


def test_older_quote_is_ignored(trader: Trader) -> None:
    trader.buy("1000", stop_loss="1.09000")
    assert exchange.on_quotes([quote("1.05000", trader.now - timedelta(seconds=1))]) == 0
    assert PaperQuote.objects.get(symbol="EURUSD").bid == D("1.1")
    assert len(trader.positions()) == 1


def test_quote_of_unlisted_pair_is_ignored(trader: Trader) -> None:
    assert exchange.on_quotes([quote("1", trader.now, "ABC/DEF")]) == 0
    assert exchange.on_quotes([]) == 0
    assert PaperQuote.objects.count() == 1


def test_replay_in_the_past_replaces_later_prices(trader: Trader) -> None:
    """A replay that starts again finds later prices of its former run; they do not count."""
    trader.wait_until(trader.now - timedelta(hours=1))
    exchange.on_quotes([quote("1.20000", trader.now)])
    assert PaperQuote.objects.get(symbol="EURUSD").bid == D("1.2")
    assert trader.buy("1000")[0].fills[0].price == D("1.20002")


def test_events_are_returned_until_acknowledged(trader: Trader) -> None:
    for number in range(3):
        trader.buy("1000", stop_loss=f"1.09{number}00")
    trader.price("1.08000")
    first = trader.run(trader.adapter.events(2))
    assert len(first) == 2
    assert trader.run(trader.adapter.events(2)) == first  # none is acknowledged
    later = trader.run(trader.adapter.events(2, first[1].event_id))
    assert len({report.event_id for report in first + later}) == 3
    assert trader.run(trader.adapter.events(2, later[-1].event_id)) == []
    trader.run(trader.adapter.acknowledge([first[0].event_id]))
    second = trader.run(trader.adapter.events(10))
    assert second[0] == first[1]
    assert len(second) == 2
    trader.run(trader.adapter.acknowledge([r.event_id for r in second]))
    # A repetition has no effect.
    trader.run(trader.adapter.acknowledge([r.event_id for r in second]))
    assert trader.run(trader.adapter.events(10)) == []
    assert PaperEvent.objects.count() == 3  # the rows are kept


@IN_PROCESS_ONLY
def test_thousand_accounts_are_stopped_out_at_one_price(trader: Trader) -> None:
    """More accounts than one transaction processes; each is reported once."""
    numbers = [f"M{i}" for i in range(1_100)]
    exchange.open_accounts(numbers, balance=D(10_000))
    requests = [trader.request(Side.BUY, "1000", n, stop_loss="1.09000") for n in numbers]
    outcomes: list[object] = []
    trader.run(
        trader.adapter.submit_many(
            [(trader.spec(r.account), r) for r in requests],
            trader.guard,
            lambda _, outcome: outcomes.append(outcome),
        )
    )
    assert trader.price("1.08900") == 1_100
    events = trader.run(trader.adapter.events(5_000))
    assert {r.client_order_id for r in events} == {r.client_order_id for r in requests}
    assert len(events) == len(outcomes) == 1_100
    assert not PaperPosition.objects.filter(quantity__gt=0).exists()
    assert set(PaperAccount.objects.filter(number__startswith="M").values_list("balance")) == {
        (10_000 - D("11.02"),)
    }


def blocks_read(work: Callable[[], object]) -> int:
    """Return how many blocks of the open positions' table and indexes `work` reads.

    It is the least of several runs: the server's housekeeping reads blocks, too.
    """
    counts = [_blocks()]
    for _ in range(5):
        work()
        counts.append(_blocks())
    return min(after - before for before, after in pairwise(counts))


def _blocks() -> int:
    with sessions.transaction() as session:  # the session that did the work
        session.execute("SELECT pg_stat_force_next_flush()")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit"
            " FROM pg_statio_user_tables WHERE relname = 'paper_position'"
        )
        return int(cursor.fetchone()[0])


@IN_PROCESS_ONLY
def test_fifty_thousand_levels_do_not_slow_a_quote_that_hits_none(trader: Trader) -> None:
    """Counts blocks read, not time; `make bench` measures the time."""
    account = PaperAccount.objects.get(number="A1").pk

    def insert_levels(first: int, last: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO paper_position (id, position, account_id, connection_id,"
                " client_order_id, symbol, side, quantity, price, stop_loss, take_profit,"
                " opened_at) SELECT i, i, %s, 'c', 'x' || i, 'EURUSD', 'BUY', 1000, 1.1,"
                " 1.0 + i * 0.0000001, 1.2, now() FROM generate_series(%s, %s) i",
                [account, first, last],
            )
            cursor.execute(
                "UPDATE paper_position SET stop_loss = stop_loss - 0.1 WHERE id >= %s", [first]
            )
            cursor.execute("ANALYZE paper_position")  # as autovacuum may do at any time

    def send_quote() -> None:
        assert trader.price("1.15000", after=0.001) == 0

    insert_levels(1_000_001, 1_000_010)
    few = blocks_read(send_quote)
    insert_levels(1_000_011, 1_050_000)
    many = blocks_read(send_quote)
    assert 0 < many <= few + 20, f"{many} blocks, {few} with ten levels"
