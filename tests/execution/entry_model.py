"""The model with entries that the engine holds, entries in slices, and routed entries.

Account 0 may enter on the spare account instead. An oracle judges each price of each held entry.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from decimal import Decimal as D
from typing import Any

from django.db import transaction

from brokers.types import Quote
from common.clocks import market_now
from common.db.sql import rows, run
from execution import services
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.monitoring.trigger_upkeep import keep_up_triggers
from execution.submission.route_writes import route_failed
from tests.execution import factories
from tests.execution.model import ExecutionModel
from tests.execution.model_rules import holds

SPREAD = D("0.0001")
TRAIL: dict[str, Any] = {"order_type": "TRAILING_STOP", "trail_distance": D("0.005")}
SELL: dict[str, Any] = {"direction": "SELL", "sl": D("1.2")}
ENTRIES: dict[str, dict[str, Any]] = {
    "stop": {"order_type": "STOP", "stop_price": D("1.105")},
    "stop limit": {
        "order_type": "STOP_LIMIT", "stop_price": D("1.105"), "open_price": D("1.107"),
    },
    "touched": {"order_type": "IF_TOUCHED", "stop_price": D("1.095")},
    "trailing buy": {**TRAIL, "sl": D("1.01")},
    "trailing sell": {**TRAIL, **SELL},
    "trailing later": {**TRAIL, **SELL, "activation_price": D("1.11")},
    "slices": {"execution_style": "TWAP", "duration_seconds": 60, "slice_count": 3},
    "slices, rest": {
        "execution_style": "TWAP", "duration_seconds": 60, "slice_count": 3, "at_end": "MARKET",
    },
}  # fmt: skip
WHOLE = D(100)  # what an account enters
OF_ENTRIES = ("execution_sliceplan", "execution_ordertrigger", "execution_pricepeak")


def check_fired(fired: Sequence[int], expected: Collection[int], *found: object) -> None:
    rule = "The triggers fire that the prices reach (their orders)"
    stated = (f"fired {sorted(fired)}", f"expected {sorted(expected)}", *found)
    holds(sorted(fired) == sorted(expected), rule, *stated)


class EntryModel(ExecutionModel):
    """The state of the model, with what the oracle remembers."""

    def __init__(self, **arguments: Any) -> None:
        for table in OF_ENTRIES:
            run(f"DELETE FROM {table}")
        super().__init__(**arguments)
        self._monitor = TriggerMonitor()
        self._marks: dict[int, D | None] = {}  # of trailing stops; None: not active yet
        self._fired: dict[int, Any] = {}
        self._peaks: dict[int, D] = {}

    def publish(self, kind: str) -> None:
        if kind in ENTRIES:
            factories.signal(self.feed, **ENTRIES[kind])
        else:
            super().publish(kind)

    # ---- prices ---------------------------------------------------------------------------------
    def tick(self, bids: Sequence[str]) -> None:
        """Let prices come; exactly the triggers that the oracle expects must fire."""
        quotes = [Quote("EUR/USD", D(bid), D(bid) + SPREAD, market_now()) for bid in bids]
        expected = {t.order_id for t in self._armed() if self._is_hit(t, quotes)}
        fired: list[int] = []
        for account in self.accounts:
            factories.quote(account, bids[-1])
            assert account.data_connection_id
            fired += self._monitor.process_quotes(account.data_connection_id, quotes)
        check_fired(fired, expected)

    def _armed(self) -> list[Any]:
        return rows(
            "SELECT t.* FROM execution_ordertrigger t JOIN execution_order o ON o.id = t.order_id"
            " WHERE t.is_armed AND o.status = 'PENDING' AND o.pending_action = ''"
        )

    def _is_hit(self, trigger: Any, quotes: Sequence[Quote]) -> bool:
        """Judge quotes one by one, as slowly and plainly as possible."""
        is_sell = trigger.side == "SELL"
        hit = False
        for quote in quotes:
            price = quote.bid if is_sell else quote.ask
            if trigger.kind != "TRAILING":
                above = price >= trigger.level
                below = price <= trigger.level
                hit |= below if is_sell == (trigger.kind == "STOP") else above
            elif not hit:
                hit = self._trails_into(trigger, price, is_sell=is_sell)
        return hit

    def _trails_into(self, trigger: Any, price: D, *, is_sell: bool) -> bool:
        sign = 1 if is_sell else -1  # a sell follows the highest price
        mark = self._marks.get(trigger.order_id)
        if mark is None and trigger.activation_price is None:
            mark = trigger.level + sign * trigger.distance
        if mark is None and (price - trigger.activation_price) * sign < 0:
            return False
        mark = price if mark is None or (price - mark) * sign > 0 else mark
        self._marks[trigger.order_id] = mark
        return bool((mark - price) * sign >= trigger.distance)

    def pass_time(self, seconds: float) -> None:
        super().pass_time(seconds)
        run("UPDATE connections_accountsnapshot SET read_at = clock_timestamp()")

    # ---- periodic jobs --------------------------------------------------------------------------
    def sweep(self, what: str) -> None:
        """Run a job; "reroute" failed entries and "upkeep" of triggers too."""
        if what == "reroute":
            with transaction.atomic():
                route_failed()
        elif what == "upkeep":
            keep_up_triggers()
        else:
            super().sweep(what)

    def broker_does(self, index: int, what: str) -> None:
        """On netting accounts the owner leaves positions alone: the fake closes single tickets."""
        if self.broker.nets is None or what in ("fill", "fill half", "CANCELLED", "EXPIRED"):
            super().broker_does(index, what)

    # ---- what must hold -------------------------------------------------------------------------
    def check(self) -> None:
        if self.broker.nets:  # an exit closes all slices, and names the ticket of one
            self.broker.nets.stolen.clear()
        super().check()
        self._check_triggers()
        self._check_peaks()
        self._check_entries()
        self._check_plans()

    def _check_triggers(self) -> None:
        for t in rows("SELECT order_id, is_armed, fired_at FROM execution_ordertrigger"):
            known = self._fired.setdefault(t.order_id, t.fired_at) if t.fired_at else None
            holds(known == t.fired_at, f"A trigger fires once, at {known}", t)
            is_ended = t.order_id not in self._fired or (t.fired_at and not t.is_armed)
            holds(bool(is_ended), "A trigger that has fired is not armed", t)
        fired = rows(
            "SELECT order_id, count(*) AS n FROM execution_executionlog"
            " WHERE code = 'TRIGGERED' GROUP BY order_id HAVING count(*) > 1"
        )
        holds(not fired, "The log has one line of each trigger that fired", fired)

    def _check_peaks(self) -> None:
        for peak in rows("SELECT id, side, price FROM execution_pricepeak"):
            before = self._peaks.setdefault(peak.id, peak.price)
            best = max if peak.side == "SELL" else min
            is_best = peak.price == best(before, peak.price)
            holds(is_best, f"A peak never goes back; it was {before}", peak)
            self._peaks[peak.id] = peak.price

    def _check_entries(self) -> None:
        """No subscription enters a leg on two accounts, or more than one account's size."""
        live = {t.number for t in self.broker.tickets if t.filled or t.status == "WORKING"}
        legs: Counter[Any] = Counter()
        entered: dict[Any, D] = {}
        caps: dict[Any, D] = {}
        for order in self.orders_now:
            if order.position_id is not None:
                continue
            of = order.signal_id, order.routed_from_id or order.connection_id
            tickets = [
                t for t in self.broker.tickets
                if not t.is_exit and t.number in live
                and t.request.client_order_id[:-1] == (order.client_order_id or "")[:-1]
            ]  # fmt: skip
            legs[(*of, order.leg)] += len(tickets)
            entered[of] = entered.get(of, D(0)) + self.entered_by(order, tickets)
            if of not in caps:
                caps[of] = self.cap(order)
        twice = [of for of, number in legs.items() if number > 1]
        holds(not twice, "A leg is entered on one account only (signal, account, leg)", twice)
        beyond = [(of, n, caps[of]) for of, n in entered.items() if n > caps[of]]
        rule = "A subscription enters at most its size (signal and account, entered, at most)"
        holds(not beyond, rule, beyond)

    def entered_by(self, order: Any, tickets: Sequence[Any]) -> D:
        """Return what an entry has got of the orders at the broker that were sent for it."""
        return sum((ticket.filled for ticket in tickets), D(0))

    def cap(self, order: Any) -> D:
        """Return the most that a subscription may enter with the signal of this order."""
        return WHOLE

    def _check_plans(self) -> None:
        plans = rows("SELECT order_id, quantity, quantities FROM execution_sliceplan")
        for plan in plans:
            is_whole = sum(plan.quantities) == plan.quantity == WHOLE
            holds(is_whole, f"The slices of a plan are {WHOLE} together", plan)

    # ---- the end --------------------------------------------------------------------------------
    def settle_once(self) -> None:
        """Failed entries move to the next account of their route, or end."""
        self.sweep("reroute")
        super().settle_once()

    def settle(self) -> None:
        """A person ends what is still held; then as always."""
        for order in self.orders("PENDING"):
            if order.reason == "AWAITING_TRIGGER":
                self.request(services.cancel_order, order.id)
        super().settle()
        for order in self.orders("PENDING"):  # armed meanwhile
            self.request(services.cancel_order, order.id)
