"""The model with OCO pairs, changes of working entries, and entries that wait for a condition.

Processes die between and within their steps (`dying`). Oracles judge from rows and quotes alone:
which leg of a pair fires, whether a condition holds, and which terms an order may have.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal as D
from typing import Any
from uuid import uuid4

from brokers.types import Quote
from common.clocks import market_now
from common.db.sql import rows, run
from common.errors import ConflictError, InvalidInputError
from common.failpoints import AbandonedError, Failpoint, arm
from execution.changes.order_changes import change_order
from execution.models import AT_BROKER, TERMINAL
from execution.monitoring.condition_watch import wake_settled
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.submission.change_terms import WantedTerms
from signals import services as signal_services
from signals.models import Approval, Signal
from tests.execution import factories
from tests.execution.entry_model import (
    ENTRIES,
    SELL,
    SPREAD,
    TRAIL,
    WHOLE,
    EntryModel,
    check_fired,
)
from tests.execution.model import Process
from tests.execution.model_rules import holds

UP: dict[str, Any] = {"order_type": "STOP", "stop_price": D("1.105")}
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "pair": (UP, {"order_type": "LIMIT", "open_price": D("1.095")}),
    "pair, both sides": (UP, {"order_type": "STOP", "stop_price": D("1.095"), **SELL}),
    "pair, trailing": ({**TRAIL, "sl": D("1.01")}, {**UP, "stop_price": D("1.104")}),
    "pair, trailing sell": ({**TRAIL, **SELL}, UP),
}
CONDITIONS = ("FILLED", "CLOSED", "CLOSED_AT_STOP", "CLOSED_AT_TARGET", "NOT_FILLED")
LATER = {"not before": timedelta(seconds=30)}
OVER = {"CLOSED_AT_STOP": "sl", "CLOSED_AT_TARGET": "tp"}
LARGER = D(150)
WANTED: dict[str, WantedTerms] = {
    "larger": WantedTerms(quantity=LARGER),
    "smaller": WantedTerms(quantity=D(40)),
    "nearer": WantedTerms(limit_price=D("1.0965")),
    "further": WantedTerms(limit_price=D("1.0935")),
    "both": WantedTerms(quantity=D(120), limit_price=D("1.0945")),
    "later": WantedTerms(stop_price=D("1.1065")),
    "sooner": WantedTerms(stop_price=D("1.1045")),
}
OF_CHANGES = ("execution_entrychange",)
Terms = tuple[D | None, D | None, D | None]


class ChangeModel(EntryModel):
    """The state of the model, with what the oracles remember."""

    def __init__(self, **arguments: Any) -> None:
        for table in OF_CHANGES:
            run(f"DELETE FROM {table}")
        super().__init__(**arguments)
        self._changes: dict[int, str] = {}

    # ---- signals and people ---------------------------------------------------------------------
    def publish(self, kind: str) -> None:
        opens = Signal.objects.filter(action="OPEN").order_by("id")
        if kind in PAIRS:
            self._publish_pair(*PAIRS[kind])
        elif kind in LATER:
            factories.signal(self.feed, not_before=market_now() + LATER[kind])
        elif kind in CONDITIONS:
            after = opens.exclude(oco_group__isnull=False).last() or opens.last()
            factories.signal(self.feed, after_signal=after, after_state=kind)
        else:
            super().publish(kind)

    def _publish_pair(self, *legs: dict[str, Any]) -> None:
        group = uuid4()
        usual = {
            "feed": self.feed, "currency_pair": "EUR/USD", "direction": "BUY", "sl": D("1.09"),
            "approval": Approval.APPROVED, "oco_group": group,
        }  # fmt: skip
        made = [Signal.objects.create(**{**usual, **leg}) for leg in legs]
        assert signal_services.publish(made[-1].pk, by=None)

    def change(self, index: int, what: str, statuses: Collection[str] = ()) -> None:
        """A person changes an entry that has not ended; that it is refused is a valid answer."""
        self.change_terms(index, WANTED[what], statuses)

    def change_terms(self, index: int, terms: WantedTerms, statuses: Collection[str] = ()) -> None:
        """As `change`, with any terms."""
        entries = [o for o in self.orders(*statuses) if o.position_id is None]
        live = [o for o in entries if o.done_at is None]
        if live:
            self._ask(lambda: change_order(live[index % len(live)].id, terms))

    def reprice(self, index: int, price: str) -> None:
        """The provider gives an entry another price."""
        waiting = Signal.objects.filter(action="OPEN").exclude(order_type__in=["", "MARKET"])
        of = list(waiting.exclude(order_type="TRAILING_STOP").order_by("id"))
        if not of:
            return
        signal = of[index % len(of)]
        name = "open_price" if signal.order_type == "LIMIT" else "stop_price"
        values: dict[str, Any] = {name: D(price), "sl": None, "direction": signal.direction}
        self._ask(
            lambda: factories.signal(signal.feed, action="MODIFY", refers_to=signal, **values)
        )

    def _ask(self, what: Callable[[], object]) -> None:
        try:
            what()
        except (ConflictError, InvalidInputError):
            return

    # ---- deaths ---------------------------------------------------------------------------------
    @contextmanager
    def dying(self, point: str) -> Iterator[list[str]]:
        """Let the process that reaches this point die there; yield where it died."""
        died: list[str] = []
        arm([Failpoint(point, "abandon")] if point else [])
        try:
            yield died
        except AbandonedError as error:
            died.append(str(error))
        finally:
            arm([])

    def claim_and_die(self, process: Process, point: str) -> None:
        """A process dies while it claims, and another takes over what it has left."""
        with self.dying(point) as died:
            self.claim(process, slice(None))
        if died:
            self.die(process, stopped=False)
            self.sweep("take over")

    def claim(self, process: Process, part: slice) -> None:
        """Claim, and compare what became of each condition with the oracle."""
        before = {o.id: o for o in self.orders("PENDING") if o.awaits_condition}
        expected = {order_id: self._verdict(o) for order_id, o in before.items()}
        try:
            super().claim(process, part)
        finally:
            for order in self.orders():
                if order.id in before:
                    self._check_condition(order, expected[order.id])

    def sweep(self, what: str) -> None:
        """Run a job; "wake" entries whose condition has settled too."""
        if what == "wake":
            wake_settled()
        else:
            super().sweep(what)

    # ---- prices ---------------------------------------------------------------------------------
    def tick(self, bids: Sequence[str], point: str = "") -> None:
        """Let prices come; exactly the triggers that the oracle expects must fire.

        point: where the process dies that judges them. Of what it had not committed, nothing has
        happened; another one judges the prices that come later.
        """
        quotes = [Quote("EUR/USD", D(bid), D(bid) + SPREAD, market_now()) for bid in bids]
        for account in self.accounts:
            factories.quote(account, bids[-1])
        for source in sorted({a.data_connection_id or 0 for a in self.accounts}):
            marks = dict(self._marks)
            expected = self._expected(source, quotes)
            fired: list[int] = []
            with self.dying(point) as died:
                fired = self._monitor.process_quotes(source, quotes)
            if died:
                self._monitor, point = TriggerMonitor(), ""
                fired = [n for n in expected if self._is_fired(n)]
            if died == ["triggers.written"]:
                expected, self._marks = [], marks
            check_fired(fired, expected, f"died at {died}")

    def _is_fired(self, order_id: int) -> bool:
        [row] = rows("SELECT fired_at FROM execution_ordertrigger WHERE order_id = %s", (order_id,))
        return row.fired_at is not None

    def _expected(self, source: int, quotes: Sequence[Quote]) -> list[int]:
        """Judge quote by quote; of a pair the leg that is reached first fires."""
        groups = {o.id: (o.oco_group, o.connection_id) for o in self.orders() if o.oco_group}
        armed = [t for t in self._armed() if t.source_id == source]
        over: set[Any] = set()
        fired: list[int] = []
        for quote in quotes:
            for trigger in sorted(armed, key=lambda t: t.order_id):
                order_id, group = trigger.order_id, groups.get(trigger.order_id)
                if order_id in fired or group in over or not self._is_hit(trigger, [quote]):
                    continue
                fired.append(order_id)
                over |= {group} - {None}
        return fired

    def pass_time(self, seconds: float) -> None:
        super().pass_time(seconds)
        run("UPDATE signals_signal SET not_before = not_before - make_interval(secs => %s)",
            (seconds,))  # fmt: skip

    # ---- conditions -----------------------------------------------------------------------------
    def _verdict(self, order: Any) -> str:
        """Return what the definitions say of an entry's condition now: HOLDS, WAITS or NEVER."""
        [signal] = Signal.objects.filter(pk=order.signal_id)
        verdict = "HOLDS"
        if signal.after_signal_id is not None:
            verdict = self._verdict_after(signal, order.routed_from_id or order.connection_id)
        if verdict == "HOLDS" and signal.not_before and market_now() < signal.not_before:
            return "WAITS"
        return verdict

    def _verdict_after(self, signal: Signal, account: Any) -> str:
        entries = [
            o for o in self.orders()
            if o.signal_id == signal.after_signal_id and o.position_id is None
            and (o.routed_from_id or o.connection_id) == account and o.status != "SKIPPED"
        ]  # fmt: skip
        is_live = any(o.status not in TERMINAL for o in entries)
        is_filled = any(o.filled_quantity for o in entries)
        if not entries:
            return "NEVER"
        if signal.after_state == "NOT_FILLED":
            return "NEVER" if is_filled else "WAITS" if is_live else "HOLDS"
        if is_live:
            return "WAITS"
        if not is_filled or signal.after_state == "FILLED":
            return "HOLDS" if is_filled else "NEVER"
        accounts = {o.connection_id for o in entries}
        positions = [
            p for p in rows("SELECT * FROM positions_executionposition ORDER BY closed_at")
            if p.signal_id == signal.after_signal_id and p.connection_id in accounts
        ]  # fmt: skip
        if any(p.quantity for p in positions):
            return "WAITS"
        reason = OVER.get(signal.after_state)
        return "HOLDS" if reason in (None, positions[-1].close_reason) else "NEVER"

    def _check_condition(self, order: Any, expected: str) -> None:
        """Compare what a claim has made of an entry with what the oracle expected before it."""
        if order.reason == "CONDITION_FAILED":
            rule = f"A condition failed that by its definition: {expected}"
            holds(expected == "NEVER", rule, order)
        elif order.status == "PENDING" and order.awaits_condition:
            return  # it waits, or was not looked at
        elif order.status not in ("EXPIRED", "CANCELLED", "DENIED") or not order.awaits_condition:
            rule = f"An entry went on while its condition by its definition: {expected}"
            holds(expected == "HOLDS", rule, order)

    # ---- what must hold -------------------------------------------------------------------------
    def check(self) -> None:
        super().check()
        self._check_pairs()
        self._check_conditions()
        self._check_changes()

    def cap(self, order: Any) -> D:
        """Return the most that an entry may have been given by those who changed it."""
        wanted = rows(
            "SELECT max(h.quantity) AS most FROM execution_entrychange h"
            " JOIN execution_order o ON o.id = h.order_id"
            " WHERE o.signal_id = %s AND coalesce(o.routed_from_id, o.connection_id) = %s",
            (order.signal_id, order.routed_from_id or order.connection_id),
        )
        return max(WHOLE, wanted[0].most or WHOLE)

    def _check_pairs(self) -> None:
        """At most one leg of a pair was ever sent on an account, and only one that fired."""
        legs: dict[Any, list[Any]] = {}
        for order in self.orders_now:
            if order.oco_group is not None and order.position_id is None:
                legs.setdefault((order.oco_group, order.connection_id), []).append(order)
        received = {t.request.client_order_id[:-1] for t in self.broker.tickets}
        for pair in legs.values():
            sent = [o for o in pair if o.client_order_id and o.client_order_id[:-1] in received]
            fired = [o for o in pair if o.oco_fired]
            holds(len(fired) <= 1, "At most one leg of a pair fires", pair)
            holds(all(o.oco_fired for o in sent), "Only a leg that fired is sent", pair)
            others = [o for o in pair if fired and o.id != fired[0].id]
            is_over = all(o.status in TERMINAL for o in others)
            holds(is_over, "The other leg ends when one fires", pair)

    def _check_conditions(self) -> None:
        """What still waits was never sent."""
        for order in self.orders_now:
            if order.awaits_condition:
                holds(not order.client_order_id, "What awaits a condition was never sent", order)

    def _check_changes(self) -> None:
        """While nothing is open both sides have the same terms; meanwhile ours has the larger."""
        changes = rows("SELECT * FROM execution_entrychange ORDER BY id")
        for change in changes:  # what has ended stays as it is
            before = self._changes.get(change.id, change.state)
            is_open = before in (change.state, "WAITING", "REQUESTED", "SENT", "UNKNOWN")
            holds(is_open, f"A change that has ended stays {before}", change)
            self._changes[change.id] = change.state
        in_change = {c.order_id for c in changes if c.done_at is None and c.state != "WAITING"}
        tickets = {t.number: t for t in self.broker.tickets}
        for order in self.orders_now:
            ticket = tickets.get(order.broker_order_id)
            if ticket is None or order.position_id is not None or order.status not in AT_BROKER:
                continue
            if order.aggregate_id is not None:  # it is a part of the broker's order
                continue
            is_larger = order.quantity >= ticket.request.quantity >= ticket.filled
            holds(is_larger, "While it is changed, ours is the larger quantity", order, ticket)
            if order.id not in in_change:
                theirs = ticket.request
                is_same = self._terms(order) == self._terms(theirs)
                holds(is_same, "With no change open, both have the same terms", order, ticket)

    @staticmethod
    def _terms(of: Any) -> Terms:
        return of.quantity, of.limit_price, of.stop_price

    # ---- the end --------------------------------------------------------------------------------
    def settle(self) -> None:
        """Conditions that have settled are judged; a person ends what still waits; as always."""
        self.broker.changing = "take"
        super().settle()

    def _fingerprint(self) -> list[Any]:
        changes = rows("SELECT id, state, sends, absences FROM execution_entrychange ORDER BY id")
        of_changes = ((c.id, c.state, c.sends, c.absences) for c in changes)
        return [*super()._fingerprint(), *of_changes]

    def check_settled(self) -> None:
        super().check_settled()
        left = rows("SELECT * FROM execution_entrychange WHERE done_at IS NULL")
        holds(not left, "In the end no change is open", left)


assert not PAIRS.keys() & ENTRIES.keys()
