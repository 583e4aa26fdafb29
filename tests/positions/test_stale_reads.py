"""Positions in half-way states: what a read, a claim or a reservation may still change."""

from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from common.db.sql import database_now, rows, run
from positions import time_exits
from positions.broker_reads import (
    BrokerRead,
    mark_missing,
    missed_levels_sql,
    read_breached_sql,
    set_broker_position_ids,
    store_reads,
    unmark_missing,
)
from positions.models import ExecutionPosition
from positions.protection import (
    END_PERIODS_SQL,
    UnprotectedPosition,
    begin_unprotected,
    recorded_as_unprotected,
    unconfirmed_sql,
)
from positions.quantities import recompute_reserved_sql, reserve_sql
from tests.analytics import factories
from tests.analytics.trading_days import INSTANT
from tests.connections import make

pytestmark = pytest.mark.django_db
NOON = datetime.fromisoformat("2026-01-14T12:00:00Z")
NOTHING = timedelta(0)


def ago(seconds: float) -> datetime:
    """Return a time by the database's clock."""
    return database_now() - timedelta(seconds=seconds)


def position(**fields: Any) -> ExecutionPosition:
    """An open one of 10."""
    account = fields.pop("connection", None) or make.connection()
    (signal,) = factories.signals(make.user(), 1)
    made = factories.trade(account, signal, closed_at=NOON, pnl=D(0))
    values = {"quantity": D(10), "opened_quantity": D(10), "closed_at": None, **fields}
    for name, value in values.items():
        setattr(made, name, value)
    made.save()
    return made


@pytest.mark.parametrize(("moved", "quantity"), [(-INSTANT, 10), (NOTHING, 10), (INSTANT, 4)])
def test_only_a_read_that_began_later_replaces_one(moved: timedelta, quantity: int) -> None:
    row = position(broker_position_id="7")
    store_reads([BrokerRead(row.pk, NOON, D(10), "", False)])
    store_reads([BrokerRead(row.pk, NOON + moved, D(4), "8", True)])
    row.refresh_from_db()
    assert (row.broker_quantity, row.broker_quantity_is_shared) == (quantity, quantity == 4)
    assert row.broker_position_id == ("8" if quantity == 4 else "7")


@pytest.mark.parametrize(
    ("activity", "since"),
    [
        (NOON - INSTANT, NOON),  # nothing has happened since the first read: two reads prove it
        (NOON, NOON + 2 * INSTANT),  # the first read may have missed what happened then
        (NOON + INSTANT, NOON + 2 * INSTANT),
    ],
)
def test_missing_position_needs_two_reads_after_its_last_activity(
    activity: datetime, since: datetime
) -> None:
    row, closed = position(), position(quantity=D(0), closed_at=NOON)
    ExecutionPosition.objects.update(missing_since=None)
    ids = [row.pk, closed.pk]
    mark_missing(ids, NOON)
    ExecutionPosition.objects.update(last_activity_at=activity)
    mark_missing(ids, NOON + 2 * INSTANT)
    row.refresh_from_db()
    closed.refresh_from_db()
    assert (row.missing_since, closed.missing_since) == (since, None)


def test_position_that_is_found_again_is_not_missing() -> None:
    account = make.connection()
    found, gone = position(connection=account), position(connection=account)
    elsewhere = position()
    ids = [found.pk, gone.pk, elsewhere.pk]
    mark_missing(ids, NOON)
    unmark_missing([account.pk], [gone.pk])
    still = ExecutionPosition.objects.exclude(missing_since=None).values_list("pk", flat=True)
    assert set(still) == {gone.pk, elsewhere.pk}


def test_brokers_id_of_a_position_is_stored_once() -> None:
    known, new = position(broker_position_id="7"), position()
    set_broker_position_ids(
        [(str(row.connection_id), row.signal_id, "entry", "9") for row in (known, new)]
    )
    assert set(ExecutionPosition.objects.values_list("broker_position_id", flat=True)) == {"7", "9"}


TAKE_OVER, VALID, UNREAD = 300, 3_000, 6_000


@pytest.mark.parametrize(
    ("breached", "checked", "fields", "is_read", "is_missed"),
    [
        (200, None, {}, False, False),  # the broker has a moment
        (400, None, {}, True, False),
        (400, 500, {"broker_quantity": D(10)}, True, False),  # read before the breach
        (400, 100, {"broker_quantity": D(10)}, False, True),  # after it: still held
        (400, 100, {"broker_quantity": D(0)}, False, False),  # after it: executed
        (5_000, 3_100, {"broker_quantity": D(10)}, True, False),  # the read is too old
        (5_000, 2_900, {"broker_quantity": D(10)}, False, True),
        (6_100, None, {}, True, True),  # it could not be read for so long
        (6_100, 6_200, {"broker_quantity": D(0)}, True, True),
        (5_900, 6_200, {"broker_quantity": D(10)}, True, False),
        (400, 100, {"broker_quantity": D(10), "reserved": D(10)}, False, False),  # exits close all
        (400, 100, {"broker_quantity": D(10), "reserved": D(9)}, False, True),
        (400, None, {"reserved": D(10)}, False, False),
        (400, None, {"broker_check_due_at": NOON}, False, False),  # a read is requested
    ],
)
def test_breached_level_is_read_and_then_missed(
    breached: float, checked: float | None, fields: dict[str, Any], is_read: bool, is_missed: bool
) -> None:
    row = position(
        breached_since=ago(breached), breached_level="sl",
        broker_checked_at=None if checked is None else ago(checked), **fields,
    )  # fmt: skip
    missed = missed_levels_sql(
        take_over_seconds=TAKE_OVER, valid_seconds=VALID, unread_seconds=UNREAD
    )
    assert [found.id for found in rows(missed)] == [row.pk] * is_missed
    requested = run(read_breached_sql(take_over_seconds=TAKE_OVER, valid_seconds=VALID))
    assert requested == is_read


STOP = {"sl": D(1), "sl_guardian": "BROKER"}
HELD = {**STOP, "broker_sl": D(1), "levels_reported_at": NOON}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({**HELD}, None),
        ({**STOP, "sl_guardian": "ENGINE"}, None),  # we guard it
        ({**STOP, "sl_guardian": ""}, "STOP_UNCONFIRMED"),
        ({**STOP}, "STOP_UNCONFIRMED"),  # sent, and no answer yet
        ({**STOP, "levels_reported_at": NOON}, "STOP_DROPPED"),
        ({**HELD, "broker_sl_quantity": D(10)}, None),
        ({**HELD, "broker_sl_quantity": D(9)}, "STOP_COVERS_PART"),
        ({**HELD, "broker_sl_quantity": D(9), "quantity": D(9)}, None),  # the rest was closed
        ({**HELD, "quantity": D(0), "broker_sl_quantity": D(0)}, None),
        ({}, None),  # it should have no stop
        # A removal or change that was sent and is not confirmed: the stop may be gone.
        ({**HELD, "levels_reported_at": None, "protection_suspended": True}, "STOP_UNCONFIRMED"),
        ({**HELD, "protection_suspended": True}, None),  # confirmed since: it is there
        ({**HELD, "sl": D(2), "levels_reported_at": None, "level_sync_attempts": 1}, None),
        (
            {**HELD, "sl": D(2), "levels_reported_at": None, "level_sync_attempts": 2},
            "STOP_UNCONFIRMED",
        ),
    ],
)
def test_stop_is_unconfirmed_in_each_half_way_state(
    fields: dict[str, Any], reason: str | None
) -> None:
    row = position(**fields)
    found = [(one.id, one.reason) for one in rows(unconfirmed_sql(UNREAD))]
    assert found == ([] if reason is None else [(row.pk, reason)])


def test_unprotected_time_begins_once_and_is_added_once() -> None:
    row, closed = position(), position(quantity=D(0), closed_at=NOON)
    for since, reason in ((ago(20), "FIRST"), (ago(5), "SECOND")):
        begin_unprotected([UnprotectedPosition(pk, since, reason) for pk in (row.pk, closed.pk)])
    row.refresh_from_db()
    assert row.unprotected_reason == "FIRST"
    assert recorded_as_unprotected() == {row.pk}
    end = f"{END_PERIODS_SQL} SELECT id, seconds FROM moved"
    (ended,) = rows(end, ([row.pk, closed.pk],))
    assert rows(end, ([row.pk, closed.pk],)) == []
    row.refresh_from_db()
    assert row.unprotected_seconds == ended.seconds >= 20
    begin_unprotected([UnprotectedPosition(row.pk, ago(-60), "LATER")])
    row.refresh_from_db()
    assert row.unprotected_since is not None
    assert row.unprotected_since <= database_now(), "no clock of another machine begins it later"


@pytest.mark.parametrize(
    ("close_at", "fields", "is_due"),
    [
        (NOON, {}, True),
        (NOON + INSTANT, {}, False),
        (NOON, {"reserved": D(10)}, False),  # exits close all of it already
        (NOON, {"reserved": D("9.9")}, True),
        (NOON, {"quantity": D(0), "closed_at": NOON}, False),
        (None, {}, False),
    ],
)
def test_position_is_closed_at_its_time(
    close_at: datetime | None, fields: dict[str, Any], is_due: bool
) -> None:
    row = position(close_at=close_at, **fields)
    found = rows(time_exits.due_sql(""), {"now": NOON})
    assert [one.id for one in found] == [row.pk] * is_due


@pytest.mark.parametrize(
    ("reserved", "wanted", "is_reserved"),
    [("0", "10", True), ("4", "6", True), ("4", "6.000000000000000001", False), ("10", "1", False)],
)
def test_exit_reserves_at_most_what_is_open_and_free(
    reserved: str, wanted: str, is_reserved: bool
) -> None:
    row = position(reserved=D(reserved))
    exits = "(SELECT %s::bigint AS position_id, %s::numeric AS quantity) AS requested"
    found = rows(reserve_sql(exits, returning="p.id"), (row.pk, D(wanted)))
    row.refresh_from_db()
    assert (len(found), row.reserved) == (is_reserved, D(reserved) + D(wanted) * is_reserved)


@pytest.mark.parametrize(
    ("fields", "live", "reserved", "is_suspended", "is_given_up"),
    [
        ({"reserved": D(10)}, "4", "4", False, False),
        ({"reserved": D(2)}, "12", "10", False, False),  # never more than is open
        ({"reserved": D(4), "protection_suspended": True}, "4", "4", True, False),
        ({"reserved": D(4), "protection_suspended": True}, "0", "0", False, False),
        # What was suspended is placed again, even if it was given up before.
        ({"protection_suspended": True, "levels_given_up": True}, "0", "0", False, False),
        ({"reserved": D(3), "levels_given_up": True}, "0", "0", False, True),
        # A closed position's stop that is an order of its own is removed.
        ({"quantity": D(0), "closed_at": NOON, "broker_sl_quantity": D(10), "broker_sl": D(1)},
         "0", "0", True, False),
        ({"quantity": D(0), "closed_at": NOON, "broker_sl_quantity": D(10)}, "0", "0", False,
         False),
    ],
)  # fmt: skip
def test_reserved_quantity_follows_the_live_exits(
    fields: dict[str, Any], live: str, reserved: str, is_suspended: bool, is_given_up: bool
) -> None:
    row = position(**fields)
    run(recompute_reserved_sql("SELECT %s::bigint AS id, %s::numeric AS quantity"), (row.pk, live))
    row.refresh_from_db()
    assert row.reserved == D(reserved)
    assert (row.protection_suspended, row.levels_given_up) == (is_suspended, is_given_up)
