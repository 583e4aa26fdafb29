"""Fan-out: write one order row for each candidate of a signal, in the publish transaction.

One INSERT … SELECT writes all candidates. Those that may not trade are SKIPPED with a code, so that
every candidate is accounted for. An obstacle that will pass (a broker that does not answer, a
comparison that is due) makes the entry wait as PENDING with its code. The entry of a route is
skipped only for what stops all its accounts; the claim chooses one that may trade.

Entries by hand come before those of feeds, and these by the priority class of their subscription.
Within a class the order of the accounts rotates from signal to signal (`rotation_of`), so that none
is always last: order ids follow both, and bundles, queues and the claim follow the ids. Rows are
still inserted by connection id, the order in which all code locks them.

MODIFY and CLOSE reach every account with a live order or position of the signal that they refer to,
even if it no longer subscribes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection as database

from common.db.sql import array, kept_plans, rows, run
from common.reason_codes import Code
from connections import eligibility
from connections.session_lanes import HELD_LANES_SQL
from execution import signal_outcomes
from execution.base.rotation import rotation_of
from execution.changes import signal_changes
from execution.changes.modify_lines import write_modify_lines
from execution.changes.order_ends import move_ends
from execution.changes.passed_entries import cancel_passed_entries
from execution.changes.waiting_stops import drop_waiting_stops
from execution.exits import orders as exits
from execution.exits.partial_closes import remember_partial_close
from execution.fan_out_sql import (
    COUNT,
    DROP_OWN_LEVELS,
    INSERT_ENTRIES,
    LANES_OF,
    LIVE,
    LOCK_PAIRS,
    LOCK_UNFILLED,
    MOVE_CLOSE_TIME,
    MOVE_EXIT_CONDITION,
    MOVE_LEVELS,
    SET_EXIT_CONDITION,
    WITHDRAW,
    MovedPosition,
    Withdrawn,
)
from signals.models import LIMITED, TRIGGERED, Action, Origin, Signal
from users.tenancy import for_all_tenants


@dataclass(frozen=True, slots=True)
class FanOut:
    """What a publication wrote. The caller enqueues the ids after the commit.

    candidates: without paper twins, whose orders are written like all others.
    """

    candidates: int
    order_ids: list[int] = field(default_factory=list)
    cancel_ids: list[int] = field(default_factory=list)  # orders with a pending action
    changes_orders: bool = False  # changes of orders wait
    position_ids: list[int] = field(default_factory=list)  # levels moved
    lanes: Mapping[int, str] = field(
        default_factory=dict
    )  # by order id; only orders in a session lane
    priorities: Mapping[int, int] = field(default_factory=dict)  # of entries, by order id


def fan_out(signal: Signal) -> FanOut:
    """Write the orders of all candidates of a signal and store their number.

    Call it in the transaction that publishes; raises RuntimeError outside of a transaction.
    """
    if not database.in_atomic_block:
        raise RuntimeError("call fan_out inside the publish transaction")
    writers = {Action.OPEN: _open, Action.CLOSE: _close, Action.MODIFY: _modify}
    # Planning them takes longer than 25 accounts. An error ends the publication.
    with for_all_tenants(savepoint=False), kept_plans():
        result = writers[Action(signal.action)](signal)
        # Read here: after the commit a tenant's session does not see the rows of others.
        result = replace(result, lanes=lanes_of(result.order_ids))
        run(
            signal_outcomes.COUNT_CANDIDATES,
            {"candidates": result.candidates, "signal_id": signal.pk},
            planned_once=True,
        )
    signal.candidate_count = result.candidates
    return result


def _open(signal: Signal) -> FanOut:
    parameters = entry_parameters(
        signal,
        at=signal.published_at,
        reaches_admins=signal.reaches_admins,
        owner_only=signal.owner_only,
    )
    parameters["rotation"] = rotation_of(signal.pk)
    written = rows(INSERT_ENTRIES, parameters, planned_once=True)
    ready = {row.id: row.priority for row in written if row.is_ready}
    candidates = sum(not row.is_twin for row in written)
    return FanOut(candidates, list(ready), priorities=ready)


def entry_parameters(
    signal: Signal, *, at: datetime | None, reaches_admins: bool, owner_only: bool
) -> dict[str, Any]:
    """Return the parameters of ENTRIES for a signal.

    at: the market time of its publication. reaches_admins, owner_only: the connections that its
    approval covers.
    """
    return {
        **eligibility.eligibility_parameters(
            feed_id=signal.feed_id,
            direction=signal.direction,
            pair=signal.currency_pair,
            at=at,
            reaches_admins=reaches_admins,
            only_owner=signal.feed.owner_id if owner_only else None,
        ),
        "signal_id": signal.pk,
        "oco_group": signal.oco_group,
        "has_condition": signal.has_condition,
        "has_exit_condition": signal.close_when_signal_id is not None,
        "by_hand": signal.origin == Origin.HAND,
        "order_type": signal.order_type,
        "time_in_force": signal.time_in_force,
        "limit_price": signal.open_price if signal.order_type in LIMITED else None,
        "stop_price": signal.stop_price if signal.order_type in TRIGGERED else None,
    }


def _close(signal: Signal) -> FanOut:
    opened = signal.refers_to
    assert opened is not None  # the constraint `follower_refers`
    _lock_unfilled(opened)
    unfilled: list[Withdrawn] = []
    connections: set[UUID] = set()
    if signal.close_fraction == 1:
        unfilled = _withdraw(opened, signal.pk, "CLOSE", Code.CLOSED_BEFORE_SENT)
    else:
        connections = remember_partial_close(
            refers_to=opened.pk, fraction=signal.close_fraction, signal_id=signal.pk
        )
    closing = exits.close_all_of_signal(
        refers_to=signal.refers_to_id, fraction=signal.close_fraction, signal_id=signal.pk
    )
    connections |= {row.connection_id for row in unfilled} | {x.connection_id for x in closing}
    return FanOut(
        _count(connections),
        [x.order_id for x in closing],
        cancel_ids=[row.id for row in unfilled if row.pending_action],
    )


def _modify(signal: Signal) -> FanOut:
    locked = signal_changes.lock_accounts_of(signal)
    unfilled = rows(LOCK_UNFILLED, (signal.refers_to_id,), planned_once=True)
    waiting = [row for row in unfilled if row.status in LIVE]
    write_modify_lines(signal)
    _drop_own_levels(signal)
    drop_waiting_stops(signal)
    signal_changes.change_entries(signal, locked)
    move_ends(signal)
    timed = [*_move_close_time(signal), *_move_exit_condition(signal)]
    moved, passed = list[MovedPosition](), list[int]()
    if _has_levels(signal):
        passed = cancel_passed_entries([row.id for row in unfilled], by=signal.number)
        moved = _move_levels(signal)
    connections = {row.connection_id for row in (*timed, *moved)}
    connections |= {row.connection_id for row in waiting}
    return FanOut(
        _count(connections),
        cancel_ids=passed,
        position_ids=[row.id for row in moved],
        changes_orders=bool(waiting)
        and (signal_changes.has_price(signal) or signal.valid_until is not None),
    )


def _count(connections: Collection[UUID]) -> int:
    """Return how many accounts these are, without paper twins."""
    if not connections:
        return 0
    (count,) = rows(COUNT, (array(connections),), planned_once=True)
    return count.accounts


def _has_levels(signal: Signal) -> bool:
    """Return whether a MODIFY moves the stop or the targets."""
    return signal.sl is not None or bool(signal.target_prices)


def _drop_own_levels(signal: Signal) -> None:
    """Let the levels of a MODIFY count for its entries, also where a person had set others."""
    parameters = {
        "refers_to": signal.refers_to_id,
        "sl": signal.sl is not None,
        "targets": bool(signal.target_prices),
    }
    if _has_levels(signal):
        run(DROP_OWN_LEVELS, parameters)


def _move_levels(signal: Signal) -> list[MovedPosition]:
    return rows(
        MOVE_LEVELS,
        {
            "sl": signal.sl,
            "targets": list(signal.target_prices),
            "is_one_for_all": list(signal.target_fractions) == [1],
            "refers_to": signal.refers_to_id,
            "signal_id": signal.pk,
        },
    )


def _move_close_time(signal: Signal) -> list[MovedPosition]:
    """Give the open positions of a signal the closing time of its MODIFY, if it has one."""
    if signal.close_at is None:
        return []
    parameters = {
        "close_at": signal.close_at, "refers_to": signal.refers_to_id, "signal_id": signal.pk,
    }  # fmt: skip
    return rows(MOVE_CLOSE_TIME, parameters)


def _move_exit_condition(signal: Signal) -> list[MovedPosition]:
    """Give entries and open positions of a signal the condition of its MODIFY, if it has one."""
    if signal.close_when_signal_id is None:
        return []
    run(SET_EXIT_CONDITION, (signal.refers_to_id,))
    parameters = {
        "other": signal.close_when_signal_id,
        "state": signal.close_when_state,
        "refers_to": signal.refers_to_id,
        "signal_id": signal.pk,
        "text": signal.exit_condition_text,
    }
    return rows(MOVE_EXIT_CONDITION, parameters)


def lanes_of(order_ids: Sequence[int]) -> dict[int, str]:
    """Return the lanes of these orders, by order id; only lanes that a process holds.

    No process takes messages for other lanes. Without session lanes this costs one small query.
    """
    held = [row.lane for row in rows(HELD_LANES_SQL, planned_once=True)] if order_ids else []
    if not held:
        return {}
    lanes = rows(LANES_OF, (array(order_ids), array(held)), planned_once=True)
    return {row.id: row.lane for row in lanes}


def withdraw(signal: Signal) -> list[int]:
    """Cancel the unfilled entries of a cancelled signal; return the orders with a pending action.

    Unsent entries become CANCELLED at once; for the others a cancellation at the broker is
    requested. Positions stay open.
    """
    with for_all_tenants():
        _lock_unfilled(signal)  # slices that a claim writes meanwhile are seen below
        moved = _withdraw(signal, signal.pk, "CANCEL", Code.SIGNAL_CANCELLED)
    return [row.id for row in moved if row.pending_action]


def _lock_unfilled(opened: Signal) -> None:
    """Lock the unfilled orders of a signal: of an OCO pair both legs, in the order of their ids."""
    if opened.oco_group is not None:
        rows(LOCK_PAIRS, (opened.oco_group,))
    rows(LOCK_UNFILLED, (opened.pk,), planned_once=True)


def _withdraw(opened: Signal, signal_id: int, pending_action: str, code: Code) -> list[Withdrawn]:
    parameters = {
        "refers_to": opened.pk,
        "oco_group": opened.oco_group,
        "signal_id": signal_id,
        "pending_action": pending_action,
        "code": code.value,
        "live": LIVE,
    }
    return rows(WITHDRAW, parameters, planned_once=True)
