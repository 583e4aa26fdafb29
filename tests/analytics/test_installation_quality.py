"""How the installation executes: figures of orders whose numbers are known."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from statistics import mean, stdev
from typing import Any

import pytest
from django.db import connection as database
from hypothesis import given
from hypothesis import strategies as st

from analytics.installation import compute
from analytics.installation.figures import (
    InstallationReport,
    Scope,
    installation_report,
)
from analytics.installation.sketch import PIPS, bucket_sql, by_kind, key_sql, percentile
from analytics.models import ExecutionDay
from common.db.sql import rows
from connections.models import ExecutionConnection
from execution.models import Fill, Order, Status
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.analytics import factories
from tests.analytics.test_quality import order
from users.models import User

DAY = date(2026, 3, 6)
NOON = datetime(2026, 3, 6, 12, tzinfo=UTC)
REAL = Scope(DAY, DAY)


@pytest.fixture
def broker(db: None) -> ExecutionConnection:
    made = factories.connection(factories.user(), kind="mt5")
    factories.snapshot(made, "EUR")
    return made


def owner_of(account: ExecutionConnection) -> User:
    assert account.user is not None
    return account.user


def filled(
    of: ExecutionConnection, signal: Signal, *, pips: str | None = None, **fields: Any
) -> Order:
    """A filled entry with this slippage in pips of 0.0001, expected at 1.1."""
    fields = {"sent_ms": 100, "fill": 40, "pip": D("0.0001"), "expected_price": D("1.1"), **fields}
    if pips is not None:
        fields["avg_fill_price"] = D("1.1") + D(pips) / 10_000
        fields["slippage_pips"] = D(pips)
    return order(of, signal, **fields)


def report(scope: Scope = REAL, **which: Any) -> InstallationReport:
    compute.compute_day(DAY)
    return installation_report(scope, **which)


def lines(found: InstallationReport, part: str) -> dict[str, tuple[int, int]]:
    """Return the orders and fills of each value of a part."""
    (one,) = [one for one in found.parts if one.part == part]
    return {line.label: (line.row.orders, line.row.filled) for line in one.lines}


def test_slippage_figures_are_those_of_the_fills(broker: ExecutionConnection) -> None:
    values = [D(n) / 10 for n in range(-20, 81)]
    signals = factories.signals(owner_of(broker), len(values))
    for signal, value in zip(signals, values, strict=True):
        filled(broker, signal, pips=str(value))
    entries = report(parts=()).entries
    assert entries is not None
    pips, bps = entries.pips, entries.bps
    assert (pips.measured, pips.average, pips.largest) == (101, mean(values), D(8))
    assert pips.deviation == pytest.approx(stdev(values))
    assert bps.average == pytest.approx(mean(values) * D("0.0001") / D("1.1") * 10_000)
    assert pips.p50 == pytest.approx(D(3), rel=D("0.025"))
    assert pips.p95 == pytest.approx(D("7.5"), rel=D("0.025"))
    assert entries.to_wire.p50 == pytest.approx(D(100), rel=D("0.025"))
    assert entries.to_fill.p99 == pytest.approx(D(40), rel=D("0.025"))


def test_outcomes_of_orders_add_up(broker: ExecutionConnection) -> None:
    sent = {"sent_ms": 10}
    outcomes: list[dict[str, Any]] = [
        {"status": Status.SKIPPED, "quantity": None}, {"status": Status.DENIED, "quantity": None},
        {"status": Status.PENDING}, {"status": Status.CANCELLED}, {"status": Status.FAILED},
        {"status": Status.CANCELLED, **sent}, {"status": Status.EXPIRED, **sent},
        {"status": Status.REJECTED, **sent}, {"status": Status.UNKNOWN, **sent},
        {"status": Status.SUBMITTED, **sent},
        {"status": Status.CANCELLED, **sent, "filled_quantity": D(400)},
    ]  # fmt: skip
    signals = factories.signals(owner_of(broker), len(outcomes))
    for signal, fields in zip(signals, outcomes, strict=True):
        order(broker, signal, **fields)
    entries = report(parts=()).entries
    assert entries is not None
    counts = {name: getattr(entries.row, name) for name in compute.OUTCOMES}
    assert counts == {
        "skipped": 1, "denied": 1, "unsent": 2, "failed": 1, "filled": 1, "cancelled": 1,
        "expired": 1, "rejected": 1, "unknown": 1, "working": 1,
    }  # fmt: skip
    assert (entries.row.orders, entries.sent, entries.not_sent) == (11, 6, 5)
    assert entries.fill_rate == entries.rejected_share == D("0.166666666666666667")
    assert entries.cancelled_share == D("0.333333333333333333")


def test_figures_are_divided_by_each_part(broker: ExecutionConnection) -> None:
    other = factories.connection(factories.user("bob"), kind="ibkr")
    other.name = "second"
    other.save()
    one, two = factories.signals(owner_of(broker), 2)
    filled(broker, one, pips="1")
    filled(other, one, pips="2", at=3600, order_type="LIMIT")
    order(broker, two, status=Status.REJECTED, sent_ms=5, pair="GBP/USD")
    found = report()
    assert lines(found, "broker") == {"mt5": (2, 1), "ibkr": (1, 1)}
    assert lines(found, "symbol") == {"EUR/USD": (2, 2), "GBP/USD": (1, 0)}
    assert lines(found, "hour") == {"12:00": (2, 1), "13:00": (1, 1)}
    assert lines(found, "type") == {"MARKET": (2, 1), "LIMIT": (1, 1)}
    assert lines(found, "account") == {"account (mt5)": (2, 1), "second (ibkr)": (1, 1)}
    assert lines(found, "place") == {"1 to 10": (3, 2)}


def test_place_in_the_fan_out_counts_sent_candidates(broker: ExecutionConnection) -> None:
    owner = owner_of(broker)
    (signal,) = factories.signals(owner, 1)
    order(broker, signal, status=Status.SKIPPED, quantity=None)
    for _ in range(12):
        filled(factories.connection(owner, kind="mt5"), signal, pips="1")
    assert lines(report(), "place") == {"1 to 10": (10, 10), "11 to 100": (2, 2)}


def test_paper_money_is_apart_from_real(broker: ExecutionConnection) -> None:
    paper = factories.connection(owner_of(broker))
    (signal,) = factories.signals(owner_of(broker), 1)
    filled(broker, signal, pips="2")
    filled(paper, signal, pips="0")
    real, on_paper = report(), installation_report(Scope(DAY, DAY, is_paper=True))
    assert real.entries is not None
    assert on_paper.entries is not None
    assert (real.entries.pips.average, on_paper.entries.pips.average) == (D(2), D(0))


def test_fill_beyond_the_slippage_limit_counts(broker: ExecutionConnection) -> None:
    signals = factories.signals(owner_of(broker), 3)
    for signal, price in zip(signals, ("1.1002", "1.1004", "1.1004"), strict=True):
        made = filled(broker, signal, pips="2", worst_price=D("1.1003"))
        Fill.objects.create(
            connection=broker, broker_fill_id=str(made.pk), order=made, side="BUY",
            quantity=D(1000), price=D(price), time=NOON,
        )  # fmt: skip
    filled(broker, factories.signals(owner_of(broker), 1)[0], pips="9")
    entries = report(parts=()).entries
    assert entries is not None
    assert (entries.row.limited, entries.row.beyond_limit) == (3, 2)


def test_commission_is_summed_by_currency_over_entries_and_exits(
    broker: ExecutionConnection,
) -> None:
    other = factories.connection(owner_of(broker), kind="mt5")
    factories.snapshot(other, "USD")
    (signal,) = factories.signals(owner_of(broker), 1)
    filled(broker, signal, commission=D("1.5"))
    filled(other, signal, commission=D(3))
    position = closed_position(broker, signal, D(10))
    filled(
        broker, signal, commission=D("0.5"), leg="sl", position=position, side="SELL",
        unconverted_fees={"BNB": "0.1"},
    )  # fmt: skip
    found = report()
    assert found.statistics["total_commission"] == {"EUR": 2, "USD": 3}
    assert found.statistics["total_orders"] == found.statistics["filled_orders"] == 3
    assert found.exits is not None
    assert found.exits.row.unconverted == 1
    assert lines(found, "account")["account (mt5)"] == (1, 1), "exits are not among entries"


def closed_position(
    of: ExecutionConnection, signal: Signal, result: D, quantity: D = D(1000)
) -> ExecutionPosition:
    return ExecutionPosition.objects.create(
        connection=of, signal=signal, pair="EUR/USD", symbol="EURUSD", side="BUY", quantity=0,
        opened_quantity=quantity, entry_price=D("1.1"), pip=D("0.0001"), conversion_rate=D(1),
        realized_pnl=result, opened_at=NOON, closed_at=NOON + timedelta(hours=1),
        close_reason="tp",
    )  # fmt: skip


def test_missed_trade_costs_what_others_earned(broker: ExecutionConnection) -> None:
    owner = owner_of(broker)
    one, unknown = factories.signals(owner, 2)
    for result in (11, 22, 33):  # 1, 2 and 3 %
        other = factories.connection(owner, kind="mt5")
        filled(other, one)
        closed_position(other, one, D(result))
    missing = {"status": Status.REJECTED, "sent_ms": 3, "expected_price": D("1.1")}
    order(broker, one, **missing, quantity=D(5000), conversion_rate=D("0.9"))
    order(broker, unknown, **missing, conversion_rate=D("0.9"))
    entries = report(parts=()).entries
    assert entries is not None
    assert (entries.row.missed, entries.row.missed_priced) == (2, 1)
    assert entries.missed_costs == {"EUR": D(5000) * D("1.1") * D("0.9") * D("0.02")}


def test_day_is_computed_again_with_what_filled_late(broker: ExecutionConnection) -> None:
    (signal,) = factories.signals(owner_of(broker), 1)
    late = order(broker, signal, sent_ms=5, status=Status.SUBMITTED, pair="USD/JPY")
    before = report()
    Order.objects.filter(pk=late.pk).update(
        status=Status.FILLED, filled_quantity=1000, pair="EUR/USD"
    )
    after = report()
    assert before.entries is not None
    assert after.entries is not None
    assert (before.entries.row.working, after.entries.row.working) == (1, 0)
    assert lines(after, "symbol") == {"EUR/USD": (1, 1)}, "the row of before is gone"
    assert figures_of(report()) == figures_of(after), "the same again"


def figures_of(found: InstallationReport) -> list[Any]:
    return [found.entries, found.exits, found.parts]


def test_range_adds_up_days(broker: ExecutionConnection) -> None:
    signals = factories.signals(owner_of(broker), 3)
    for number, signal in enumerate(signals):
        filled(broker, signal, pips=str(number), at=-86_400 * number)
        compute.compute_day(DAY - timedelta(days=number))
    found = installation_report(Scope(DAY - timedelta(days=1), DAY), parts=("hour",))
    assert found.entries is not None
    assert (found.entries.row.orders, found.entries.pips.average) == (2, D("0.5"))
    assert lines(found, "hour") == {"12:00": (2, 2)}


def test_range_without_orders_is_empty(broker: ExecutionConnection) -> None:
    never = installation_report(REAL)
    assert (never.until, never.entries, never.parts) == (None, None, [])
    without = report()
    assert without.until is not None
    assert (without.entries, lines(without, "broker")) == (None, {})
    assert without.statistics["fill_rate"] is None


@pytest.mark.usefixtures("stopped_clock")  # the day does not end meanwhile
def test_days_that_are_due_are_computed(broker: ExecutionConnection) -> None:
    today = datetime.now(UTC).date()
    old = today - timedelta(days=90)
    for signal, day in zip(factories.signals(owner_of(broker), 2), (old, today), strict=True):
        at = datetime.combine(day, NOON.timetz()) - NOON
        filled(broker, signal, at=at.total_seconds())
    assert compute.compute_due() == [old, today]
    assert compute.compute_due() in ([], [today])
    ExecutionDay.objects.filter(day=today).update(day=today - timedelta(days=1))
    ExecutionDay.objects.update(computed_at=NOON)
    assert compute.compute_due() == [today - timedelta(days=1), today]


def test_task_is_sent_only_after_a_new_line_of_the_log(broker: ExecutionConnection) -> None:
    def is_due() -> bool:
        (row,) = rows(compute.ANY_TO_DO)
        return bool(row.is_due)

    assert is_due(), "nothing was computed yet"
    compute.compute_due()
    assert not is_due()
    ExecutionDay.objects.update(newest_line=-1)
    assert is_due()


def test_orders_of_a_day_are_found_by_index(broker: ExecutionConnection) -> None:
    with database.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN " + compute.COMPUTE,
            {"day": DAY, "start": NOON, "end": NOON, "read_at": NOON},
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "order_created_at" in plan
    assert "archived_created_at" in plan


@given(st.lists(st.decimals(-9999, 9999, places=3), min_size=1, max_size=40), st.sampled_from(
    [D("0.5"), D("0.95"), D(1)]
))  # fmt: skip
def test_percentile_is_within_its_bound(values: Sequence[D], share: D) -> None:
    keys = [(python_bucket(value), 1) for value in values]
    found = percentile(dict_of(keys), share)
    ordered = sorted(values)
    exact = next(v for n, v in enumerate(ordered, 1) if n >= share * len(ordered))
    assert found is not None
    assert abs(found - exact) <= max(abs(exact) * D("0.0253"), D("0.0101"))


def python_bucket(value: D) -> int:
    from math import log

    if abs(value) < D("0.01"):
        return 0
    return int(value.copy_sign(1) and (1 if value > 0 else -1)) * (
        1 + round(log(abs(float(value)) / 0.01) / log(1.05))
    )


def dict_of(keys: Sequence[tuple[int, int]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for key, count in keys:
        found[key] = found.get(key, 0) + count
    return found


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["-812.5", "-0.004", "0", "0.01", "3.7", "1e300"])
def test_bucket_of_the_database_is_read_back(value: str) -> None:
    (row,) = rows(f"SELECT {key_sql(PIPS, bucket_sql(f'{value}::float8'))} AS key")
    counts = by_kind([(row.key, 1)])[PIPS]
    if value != "1e300":
        assert counts == {python_bucket(D(value)): 1}
    else:
        assert counts == {999: 1}


def test_lines_beyond_those_shown_are_counted(broker: ExecutionConnection) -> None:
    for signal, hour in zip(factories.signals(owner_of(broker), 4), range(4), strict=True):
        filled(broker, signal, at=3600 * hour)
    compute.compute_day(DAY)
    (found,) = installation_report(REAL, parts=["hour"], limit=3).parts
    assert (len(found.lines), found.more) == (3, 1)
