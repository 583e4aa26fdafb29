"""Seconds without a stop: recorded, reported after five and at the end, and added up."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.utils import timezone

from brokers.types import ReportKind
from common.db.sql import rows, run
from connections.models import ExecutionConnection, Instrument
from execution.audit.counters import audit
from execution.models import Order
from execution.monitoring import unprotected_time as module
from execution.monitoring.level_sync import sync_levels
from execution.monitoring.unprotected_time import update_unprotected
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from positions.selectors import UNPROTECTED, protection
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stopped_clock")]


def unprotected_events() -> list[tuple[str, bool]]:
    return [(e["code"], e["ended"]) for e in factories.events("position.unprotected")]


def now(position: ExecutionPosition) -> ExecutionPosition:
    position.refresh_from_db()
    return position


@pytest.fixture
def ours(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    """A position with an engine-guarded stop and evaluated prices."""
    factories.mark_monitored(alice)
    return factories.filled(factories.signal(feed))


@pytest.fixture
def theirs(feed: Feed, broker: FakeBroker) -> ExecutionPosition:
    """A position whose stop the broker holds."""
    factories.account(feed, settings={"native_stops": True})
    return factories.filled(factories.signal(feed))


def source_was_last_watched(seconds: float) -> None:
    run(
        "UPDATE execution_levelmonitorheartbeat SET last_evaluated_at = clock_timestamp()"
        " - make_interval(secs => %s)",
        (seconds,),
    )


def prices_came(seconds: float) -> None:
    run(
        "UPDATE prices_latestquote SET received_at = clock_timestamp() - make_interval(secs => %s)",
        (seconds,),
    )


def test_unprotected_positions_beyond_one_pass_end_only_when_protected(
    alice: ExecutionConnection, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions beyond the limit of one pass have not regained their stops."""
    factories.mark_monitored(alice)
    for _ in range(3):
        factories.filled(factories.signal(feed))
    source_was_last_watched(10)
    monkeypatch.setattr(module, "BATCH_SIZE", 1)
    assert [update_unprotected() for _ in range(4)] == [3, 3, 3, 3]
    noted = ExecutionPosition.objects.filter(unprotected_since__isnull=False)
    assert (noted.count(), [ended for _, ended in unprotected_events() if ended]) == (3, [])
    source_was_last_watched(0)
    assert update_unprotected() == 0
    assert noted.count() == 2
    update_unprotected()
    update_unprotected()
    assert noted.count() == 0


@pytest.mark.parametrize(
    ("watched", "priced", "is_bare"),
    [(0, 0, False), (1.5, 0, False), (3.5, 0, True), (0, 55, False), (0, 61, True)],
)
def test_engine_stop_protects_only_while_prices_are_evaluated(
    ours: ExecutionPosition, watched: float, priced: float, is_bare: bool
) -> None:
    source_was_last_watched(watched)
    prices_came(priced)
    assert update_unprotected() == is_bare
    assert (now(ours).unprotected_since is not None) is is_bare


@pytest.mark.parametrize("table", ["prices_latestquote", "execution_levelmonitorheartbeat"])
def test_no_engine_stop_without_a_price_or_a_monitor(ours: ExecutionPosition, table: str) -> None:
    run(f"DELETE FROM {table}")
    assert update_unprotected() == 1
    assert now(ours).unprotected_reason == "STOP_NOT_MONITORED"


def test_unprotected_time_is_reported_after_five_seconds_and_at_its_end(
    ours: ExecutionPosition, alice: ExecutionConnection
) -> None:
    source_was_last_watched(3.5)
    update_unprotected()
    assert unprotected_events() == []
    factories.pass_time(2)
    update_unprotected()
    update_unprotected()
    assert unprotected_events() == [("STOP_NOT_MONITORED", False)]
    (event,) = factories.events("position.unprotected")
    assert float(event["seconds"]) == 5.5
    assert (event["position"], event["stop"]) == (ours.pk, "1.09")
    assert audit().counters["NAKED"] == 1
    assert list(ExecutionPosition.objects.filter(UNPROTECTED)) == [ours]
    assert protection(now(ours)) == ("unprotected", "Unprotected")
    factories.pass_time(20)
    factories.mark_monitored(alice)
    prices_came(0)
    update_unprotected()
    assert unprotected_events() == [("STOP_NOT_MONITORED", False), ("STOP_NOT_MONITORED", True)]
    assert now(ours).unprotected_since is None
    assert ours.unprotected_seconds == D("25.5")
    assert audit().counters["NAKED"] == 0


def test_short_unprotected_time_is_added_up_and_not_reported(
    ours: ExecutionPosition, alice: ExecutionConnection
) -> None:
    for _ in range(3):
        source_was_last_watched(3.5)
        update_unprotected()
        factories.mark_monitored(alice)
        update_unprotected()
    assert unprotected_events() == []
    assert now(ours).unprotected_seconds == D("10.5")


def test_position_without_a_requested_stop_needs_none(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.filled(factories.signal(feed, sl=None))
    assert update_unprotected() == 0


def test_confirmed_broker_stop_needs_no_monitor(theirs: ExecutionPosition) -> None:
    run("DELETE FROM prices_latestquote")
    assert update_unprotected() == 0


@pytest.mark.parametrize(
    ("levels", "why"),
    [
        ({"stop_loss": None}, "STOP_DROPPED"),
        ({"stop_loss": D("1.09"), "protected": D(60)}, "STOP_COVERS_PART"),
        ({"stop_loss": D("1.09"), "protected": D(100)}, ""),
        ({"stop_loss": D("1.09")}, ""),
    ],
)
def test_stop_reported_by_the_broker_counts(
    theirs: ExecutionPosition, levels: dict[str, Any], why: str
) -> None:
    factories.apply(factories.report(Order.objects.get(), ReportKind.LEVELS, **levels))
    assert update_unprotected() == bool(why)
    assert now(theirs).unprotected_reason == why


def test_growing_entry_is_protected_only_up_to_its_stops_quantity(
    feed: Feed, broker: FakeBroker
) -> None:
    factories.account(feed, settings={"native_stops": True})
    factories.signal(feed)
    factories.claim_all()
    entry = Order.objects.get()
    factories.apply(factories.fill_report(entry, 40, "f1"))
    levels = {"stop_loss": D("1.09"), "protected": D(40)}
    factories.apply(factories.report(entry, ReportKind.LEVELS, **levels))
    assert update_unprotected() == 0
    factories.apply(factories.fill_report(entry, 60, "f2"))
    assert update_unprotected() == 1
    assert ExecutionPosition.objects.get().unprotected_reason == "STOP_COVERS_PART"


@pytest.mark.parametrize(
    ("protected", "why"), [("99", ""), ("98", "STOP_COVERS_PART"), ("100", "")]
)
def test_stop_that_covers_all_whole_steps_covers_the_position(
    theirs: ExecutionPosition, broker: FakeBroker, runtime: TradingRuntime, protected: str, why: str
) -> None:
    """A spot exchange has taken its fee out of the coin: no stop can be for a part of a step."""
    Instrument.objects.update(quantity_step=1)
    ExecutionPosition.objects.update(quantity=D("99.7"))
    levels = {"stop_loss": D("1.09"), "protected": D(protected)}
    factories.apply(factories.report(Order.objects.get(), ReportKind.LEVELS, **levels))
    assert update_unprotected() == bool(why)
    assert now(theirs).unprotected_reason == why
    broker.calls.clear()
    sync_levels()  # nothing to send where nothing differs
    assert [name for name, _ in broker.calls] == ([] if protected == "99" else ["modify"])


def test_removal_that_is_not_confirmed_counts_from_its_request(theirs: ExecutionPosition) -> None:
    """The stop may be gone already, and the exit behind it is not sent yet."""
    levels = {"stop_loss": D("1.09"), "protected": D(100)}
    factories.apply(factories.report(Order.objects.get(), ReportKind.LEVELS, **levels))
    factories.pass_time(60)
    ExecutionPosition.objects.update(protection_suspended=True)
    assert update_unprotected() == 0  # not requested yet
    ExecutionPosition.objects.update(levels_reported_at=None)
    assert update_unprotected() == 1
    position = now(theirs)
    assert position.unprotected_reason == "STOP_UNCONFIRMED"
    assert position.unprotected_since is not None
    assert timezone.now() - position.unprotected_since == timedelta(0)
    ExecutionPosition.objects.update(protection_suspended=False, levels_reported_at=timezone.now())
    assert update_unprotected() == 0


@pytest.mark.parametrize(("attempts", "counts"), [(1, 0), (2, 1)])
def test_change_that_is_requested_again_without_an_answer_counts(
    theirs: ExecutionPosition, attempts: int, counts: int
) -> None:
    """Also if only the target is moved: a spot exchange cancels both to take another pair."""
    levels = {"stop_loss": D("1.09"), "take_profit": D("1.12"), "protected": D(100)}
    ExecutionPosition.objects.update(tp=D("1.12"), tp_guardian="BROKER")
    factories.apply(factories.report(Order.objects.get(), ReportKind.LEVELS, **levels))
    ExecutionPosition.objects.update(
        tp=D("1.13"), level_sync_attempts=attempts, levels_reported_at=None
    )
    assert update_unprotected() == counts
    assert now(theirs).unprotected_reason == ("STOP_UNCONFIRMED" if counts else "")


def test_closed_position_ends_its_unprotected_time(ours: ExecutionPosition) -> None:
    source_was_last_watched(10)
    update_unprotected()
    factories.close_signal(ours.signal)
    factories.fill_all()
    update_unprotected()
    assert (now(ours).quantity, ours.unprotected_since) == (0, None)
    assert unprotected_events() == [("STOP_NOT_MONITORED", False), ("STOP_NOT_MONITORED", True)]


def test_every_pair_and_source_is_checked(feed: Feed, broker: FakeBroker) -> None:
    factories.instrument("GBP/USD")
    accounts = [factories.account(feed) for _ in range(3)]
    for account in accounts:
        factories.quote(account, pair="GBP/USD")
    for pair, direction, sl in (("EUR/USD", "BUY", "1.09"), ("GBP/USD", "SELL", "1.11")):
        factories.signal(feed, currency_pair=pair, direction=direction, sl=D(sl))
    factories.fill_all()
    assert ExecutionPosition.objects.count() == 6
    assert update_unprotected() == 6
    for account in accounts[:2]:
        factories.mark_monitored(account)
    assert update_unprotected() == 2
    run(
        "DELETE FROM prices_latestquote WHERE symbol = 'GBP/USD' AND data_connection_id = %s",
        (accounts[0].data_connection_id,),
    )
    assert update_unprotected() == 3
    (row,) = rows("SELECT count(*) AS n FROM positions_executionposition"
                  " WHERE unprotected_since IS NOT NULL")  # fmt: skip
    assert row.n == 3
