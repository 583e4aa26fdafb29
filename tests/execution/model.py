"""A small model of the system: two accounts, two processes, one broker, one clock.

Each possible event is a method and nothing happens on its own: every interleaving is reachable.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal as D
from itertools import count
from typing import Any

from django.db import connection

from brokers.base import NotSent, Rejected
from brokers.types import CloseCause, ExitSafety, OrderReport, OrderRequest, ReportKind
from common.clocks import machine_time
from common.db.sql import _allow_prepared, _fetched, _rows_cursor, rows, run
from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import ExecutionConnection, Instrument
from execution.audit.counters import audit
from execution.base.kill_switch import read_halts
from execution.dispatch.order_dispatcher import KillSwitchSnapshot, reports_from_outcome
from execution.dispatch.report_writer import apply_with_bisection
from execution.models import AT_BROKER, TERMINAL
from execution.monitoring import broker_positions, incomplete_closes
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.level_sync import sync_levels
from execution.monitoring.pending_actions import process_pending_actions
from execution.monitoring.stop_failover import take_over_missed_levels
from execution.monitoring.unprotected_time import update_unprotected
from execution.reconciliation import decisions
from execution.reconciliation.reconcile import reconcile
from execution.recovery import sweeps
from execution.reports.allotment import fill_id_of
from execution.reports.transitions import ALLOWED
from execution.runtime import trading_runtime
from execution.runtime.event_stream import drain_events
from execution.submission.claim import claim
from execution.submission.outgoing import Outgoing
from signals.models import Origin, Signal
from signals.services import cancel
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.fake_broker_book import Ticket
from tests.execution.model_rules import holds
from tests.execution.netting_model import NettingModel

TABLES = ("execution_fill", "execution_order", "positions_executionposition", "execution_driftitem",
          "execution_executionlog", "execution_workerlease", "events_event",
          "connections_killswitch", "signals_signal")  # fmt: skip
NOW_AND_THEN = (1.5, 7.0, 31.0, 70.0)
COMPARED_EVERY = 4  # rounds of `settle_once`, about five minutes, as by the job
ORDERS = "SELECT * FROM execution_order ORDER BY id"
POSITIONS = "SELECT * FROM positions_executionposition WHERE quantity > 0 ORDER BY id"
OPENS = "SELECT count(*) AS number FROM signals_signal WHERE action = 'OPEN'"
FILLS = "SELECT broker_fill_id FROM execution_fill"
SUMS = f"""
SELECT p.id, p.quantity, p.reserved, coalesce(sum(o.quantity - o.filled_quantity)
    FILTER (WHERE o.status NOT IN ({", ".join(f"'{status}'" for status in sorted(TERMINAL))})), 0)
    AS live,
  p.opened_quantity - coalesce((SELECT sum(f.quantity) FROM execution_fill f
    JOIN execution_order x ON x.id = f.order_id WHERE x.position_id = p.id), 0) AS left
FROM positions_executionposition p LEFT JOIN execution_order o ON o.position_id = p.id
GROUP BY p.id"""
EXCESSIVE = """
SELECT key, position_id, evidence->'theirs'->>'closed' AS closed FROM execution_driftitem
WHERE kind = 'EXIT_OVERFILLED'"""
MISSING = """
SELECT id FROM execution_driftitem
WHERE kind = 'POSITION_MISSING' AND state = 'OPEN' AND position_id = ANY(%s)"""
# The last target of an open position closes all that is left: it stays, whatever has filled.
WITHOUT_TARGET = """
SELECT p.id FROM positions_executionposition p JOIN signals_signal s ON s.id = p.signal_id
WHERE p.quantity > 0 AND p.tp IS NULL AND (SELECT sum(t) FROM unnest(s.target_fractions) t) >= 1"""
LOG = (
    "SELECT order_id, status, code FROM execution_executionlog"
    " WHERE order_id IS NOT NULL AND status <> '' ORDER BY order_id, id"
)


def read(*statements: str) -> list[list[Any]]:
    """Return the rows of several statements, which are planned once and sent together: a model
    reads them after each of its thousands of steps."""
    connection.ensure_connection()
    raw = connection.connection
    _allow_prepared(raw)
    with raw.pipeline():
        cursors = [_rows_cursor(raw).execute(one, prepare=True) for one in statements]
    return [_fetched(*one) for one in zip(cursors, statements, strict=True)]


@dataclass
class Process:
    """A worker with its memory: orders claimed and not sent, reports received and not written."""

    name: str
    claimed: list[tuple[float, Outgoing]] = field(
        default_factory=list
    )  # with the skew at the claim
    received: list[list[OrderReport]] = field(default_factory=list)


class ExecutionModel:
    def __init__(
        self,
        broker: FakeBroker,
        accounts: Sequence[ExecutionConnection],
        feed: Any,
        safety: ExitSafety | None = None,  # None: a hedging account
        netting: bool = True,
    ) -> None:
        self.broker, self.accounts, self.feed = broker, accounts, feed
        self.broker.reset()
        self.broker.nets = NettingModel(safety, netting=netting) if safety else None
        with factories.without_triggers():  # what has traded stays, else
            run("; ".join(f"DELETE FROM {table}" for table in TABLES))
        # The same choices must lead to the same state: the order of accounts depends on a signal's
        # number, and pauses are drawn at random.
        run("SELECT setval(pg_get_serial_sequence('signals_signal', 'id'), 1, false), setseed(0)")
        for account in accounts:
            factories.quote(account)
        Instrument.objects.update(quantity_max=D(1000))
        self._names, self.skew = count(1), 0.0
        self.processes = [self._process(), self._process()]
        self.transit: list[tuple[float, OrderRequest]] = []
        self.history: list[OrderReport] = []

    def _process(self) -> Process:
        process = Process(f"p{next(self._names)}")
        factories.live_lease(process.name)
        return process

    # ---- signals and people -----------------------------------------------------------------
    def publish(self, kind: str) -> None:
        targets = [("1.12", "0.5"), ("1.13", "0.5")] if kind == "targets" else [("1.12", "1")]
        limit = {"order_type": "LIMIT", "open_price": D("1.095")} if kind == "limit" else {}
        factories.signal(self.feed, targets, origin=Origin.API, **limit)

    def opens(self) -> list[Signal]:
        return list(Signal.objects.filter(action="OPEN").order_by("id"))

    def follow_up(self, of: Signal, what: str) -> None:
        """The provider closes all or half, moves the stop or cancels."""
        if what == "cancel":
            cancel(of.pk, by=None)
        elif what == "modify":
            factories.signal(of.feed, action="MODIFY", refers_to=of, sl=D("1.0950"))
        else:
            factories.close_signal(of, "1" if what == "close" else "0.5")

    def orders(self, *statuses: str) -> list[Any]:
        found = rows(ORDERS)
        return [o for o in found if not statuses or o.status in statuses]

    def positions(self) -> list[Any]:
        return rows(POSITIONS)

    def request(self, what: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a service that a person calls; that it refuses is a valid answer."""
        try:
            return what(*args, **kwargs)
        except ConflictError:
            return None

    def trade(self, process: Process, answers: Sequence[str], backwards: bool) -> None:
        """Claim, send and write in one go: the usual case."""
        self.claim(process, slice(None))
        for what in answers:
            if process.claimed:
                self.send(process, 0, what)
        self.write_reports(process, backwards, False)

    def halt(self, mode: str | None) -> None:
        run("DELETE FROM connections_killswitch")
        if mode:
            make.kill_switch(mode, scope="ALL")

    # ---- processes ---------------------------------------------------------------------------
    def claim(self, process: Process, part: slice) -> None:
        claimed = claim(factories.pending()[part], worker_id=process.name).outgoing
        process.claimed += [(self.skew, outgoing) for outgoing in claimed]

    def send(self, process: Process, index: int, what: str) -> None:
        """Send one call, or fail to; its outcome waits to be written."""
        skew, outgoing = process.claimed.pop(index % len(process.claimed))
        switch = KillSwitchSnapshot(10)
        switch.update(read_halts(), machine_time())
        answer: Any
        if machine_time() + self.skew - skew > outgoing.request.send_by:
            answer = NotSent(Code.SEND_DEADLINE)
        elif switch.blocks(outgoing):
            answer = NotSent(Code.KILL_SWITCH)
        else:
            answer = self._at_broker(outgoing.request, what)
        if answer is not None:
            process.received.append(reports_from_outcome(outgoing.request, answer))
        if what == "late":  # the reply came after the time-out was reported
            lost = reports_from_outcome(outgoing.request, TimeoutError())
            process.received.insert(max(len(process.received) - 1, 0), lost)

    def _at_broker(self, request: OrderRequest, what: str) -> Any:
        if what == "not sent":
            return NotSent(Code.NOT_CONNECTED)
        if what in ("reject", "requote"):
            return Rejected(Code.REQUOTE if what == "requote" else Code.NO_MONEY)
        if what == "lost":
            return TimeoutError()
        if what == "transit":  # in transit for longer than the caller waits
            self.transit.append((machine_time() + self.skew, request))
            return TimeoutError()
        try:
            ticket = self.broker.receive(request)
        except Rejected as error:
            return error
        if what == "rest":
            return [self.broker.report(ticket, ReportKind.ACCEPTED)]
        half = request.quantity / 2
        reports = [self.broker.execute(ticket, half if what in ("part", "part silent") else None)]
        if what == "part":
            reports.insert(0, self.broker.report(ticket, ReportKind.ACCEPTED))
        return TimeoutError() if "silent" in what else reports

    def arrive(self, index: int) -> None:
        """A call that was in transit for long reaches the broker."""
        sent_at, request = self.transit.pop(index % len(self.transit))
        if machine_time() + self.skew - sent_at <= 5:  # what answer_by allows for
            self._at_broker(request, "fill")

    def write_reports(self, process: Process, backwards: bool, twice: bool) -> None:
        """The process writes the reports that it received."""
        batches = process.received[::-1] if backwards else process.received
        reports = [report for batch in batches for report in batch]
        process.received = []
        self.history += reports
        apply_with_bisection(reports + reports[::-1] if twice else reports)

    def repeat_reports(self, chosen: Sequence[int]) -> None:
        """Old reports are repeated, in any order."""
        apply_with_bisection([self.history[n % len(self.history)] for n in chosen])

    def die(self, process: Process, *, stopped: bool) -> None:
        """Its lease ends. Killed: its memory is lost. Stopped: it continues later."""
        run("DELETE FROM execution_workerlease WHERE id = %s", (process.name,))
        if not stopped:
            place = self.processes.index(process)
            self.processes[place] = self._process()

    def pass_time(self, seconds: float) -> None:
        self.skew += seconds
        factories.pass_time(seconds)
        run("UPDATE prices_latestquote SET received_at = clock_timestamp()")

    def sweep(self, what: str) -> None:
        """Run a periodic job of the workers.

        "take over" what stopped processes have left, "ask" for unknown orders, "drain" the broker's
        events, "watch" the levels that we execute, "guard" the broker's levels; else reconcile.
        """
        runtime = trading_runtime.get_runtime().dispatcher
        if what == "take over":
            sweeps.mark_orphaned_unknown(self.processes[0].name)
            sweeps.release_claims()
        elif what == "ask":
            sweeps.query_unknown_orders(runtime)
        elif what == "drain":
            drain_events()
        elif what == "pending actions":
            process_pending_actions()
        elif what == "watch":
            scan_levels()
        elif what == "guard":
            take_over_missed_levels()
            sync_levels()
            broker_positions.refresh()
            for account in self.accounts:  # its prices arrive continuously
                factories.mark_monitored(account)
            update_unprotected()
        else:
            reconcile()

    # ---- the broker on its own ----------------------------------------------------------------
    def tickets(self, *, working: bool) -> list[Ticket]:
        if working:
            return [t for t in self.broker.tickets if t.status == "WORKING"]
        return [t for t in self.broker.tickets if t.held > 0]

    def broker_does(self, index: int, what: str) -> None:
        """Fill, end or leave; reported by the stream."""
        working, held = self.tickets(working=True), self.tickets(working=False)
        if what in ("sl", "tp", "external", "external half") and held:
            lot = held[index % len(held)]
            if self.broker.nets and not self._may_leave(self.broker.nets, lot, what):
                return
            cause = {"sl": CloseCause.STOP_LOSS, "tp": CloseCause.TAKE_PROFIT}
            quantity = lot.held / 2 if what == "external half" else lot.held
            by = cause.get(what, CloseCause.EXTERNAL)
            self.broker.publish(self.broker.close_at_broker(lot, by, quantity))
            if self.broker.nets and self.broker.nets.safety is ExitSafety.OCA and by in cause:
                self._end_group(lot)
        elif working:
            ticket = working[index % len(working)]
            gone = ticket.lot is not None and self._is_gone(ticket.lot)
            if what in ("fill", "fill half") and not gone:
                part = ticket.left / 2 if what == "fill half" else None
                self.broker.publish(self.broker.execute(ticket, part))
            elif what in ("CANCELLED", "EXPIRED") or gone:
                ended = what if what in ("CANCELLED", "EXPIRED") else "CANCELLED"
                self.broker.publish(self.broker.end(ticket, ended))

    def _may_leave(self, nets: NettingModel, lot: Ticket, what: str) -> bool:
        """Levels are orders that must be there; an owner's hand between our last look at what is
        held and the dispatcher goes unseen on all of these accounts."""
        if what in ("sl", "tp"):
            return nets.protected.get(lot.number, D(0)) > 0
        live = [o for o in self.orders() if o.position_id and o.done_at is None]
        return not any(str(o.connection_id) == lot.request.connection_id for o in live)

    def _end_group(self, lot: Ticket) -> None:
        for ticket in self.tickets(working=True):
            if ticket.lot is lot:
                self.broker.publish(self.broker.end(ticket, "CANCELLED"))

    def _is_gone(self, lot: Ticket) -> bool:
        nets = self.broker.nets
        return lot.held <= 0 if nets is None else nets.held[nets.key(lot)] <= 0 or lot.held <= 0

    # ---- what must hold ----------------------------------------------------------------------
    def check(self) -> None:
        """Check everything, and remember what there is until something happens: a model that asks
        before each step which events are possible need not read it again."""
        self.orders_now, self.positions_now, opens, fills, sums, lines = read(
            ORDERS, POSITIONS, OPENS, FILLS, SUMS, LOG
        )
        self.opens_now = opens[0].number
        self._check_journal({row.broker_fill_id for row in fills})
        self._check_positions(sums)
        self._check_log(lines)

    def _check_journal(self, reports: set[str]) -> None:
        if nets := self.broker.nets:
            holds(not nets.reversed, "No exit reverses a position", nets.reversed)
            holds(not nets.stolen, "No exit takes a neighbour's share", nets.stolen)
            holds(not nets.exposed, "No exit leaves a live stop behind", nets.exposed)
        twice = {base: n for base, n in Counter(self.broker.accepted()).items() if n > 1}
        holds(not twice, "The broker accepts no order twice", twice)
        fills = {f.broker_fill_id for t in self.broker.tickets for f in t.fills}
        shares = [o.id for o in self.orders_now if o.aggregate_id is not None]
        fills |= {fill_id_of(one, order_id) for one in fills for order_id in shares}
        unknown = {one for one in reports - fills if not one.startswith("inferred:")}
        holds(not unknown, "Each fill is one that the broker has made", unknown)

    def _check_positions(self, sums: Sequence[Any]) -> None:
        for p in sums:
            holds(p.quantity == p.left >= 0, "A position is what its fills have left", p)
            is_reserved = p.reserved == min(p.quantity, p.live)
            holds(is_reserved, "A position reserves what its live exits may fill", p)

    def _check_log(self, lines: Sequence[Any]) -> None:
        last: dict[int, str] = {}
        why: dict[int, str] = {}  # the code of the line that changed the status
        for line in lines:
            before = last.get(line.order_id)
            is_allowed = before in (None, line.status) or (before, line.status) in ALLOWED
            holds(is_allowed, f"No transition leads from {before} to {line.status}", line)
            # A refusal may be written after the order was looked up twice and is not at the broker.
            is_late_refusal = (before, line.status, why.get(line.order_id)) == (
                "FAILED", "REJECTED", "NEVER_ARRIVED",
            )  # fmt: skip
            if before in TERMINAL and not is_late_refusal:
                at_end = before == line.status or line.code in ("LATE_FILL", "OPERATOR_RETRY")
                holds(at_end, f"{before} is final, but for a late fill or a retry", line)
            if before != line.status:
                why[line.order_id] = line.code
            last[line.order_id] = line.status
        for order in self.orders_now:
            logged = last.get(order.id, order.status)
            holds(logged == order.status, f"The log states the order's status, not {logged}", order)

    # ---- the end -----------------------------------------------------------------------------
    def settle(self) -> None:
        """Recover: stopped processes are dead, brokers answer, every order is looked up.

        The broker also ends each exit that still works, as a market order does not work for ever.
        Until then the stop of its position may be suspended, and other exits wait for it.
        """
        self.halt(None)
        self.broker.cancelling, self.broker.reads_fail = "take", False
        self.transit = []
        for process in list(self.processes):
            self.write_reports(process, False, False)
            self.die(process, stopped=False)
        for ticket in self.tickets(working=True):
            if ticket.is_exit:
                self.broker.publish(self.broker.end(ticket, "CANCELLED"))
        before, has_waited = self._fingerprint(), False
        rounds = 15 + 2 * len(self.orders("PENDING"))  # exits may go one after the other
        for number in range(1, rounds + 1):
            self.settle_once()
            if number % COMPARED_EVERY == 0:
                self.close_missing()
            after = self._fingerprint()
            if before == after and has_waited:
                return
            has_waited = before == after
            if has_waited:  # for the next try to close what a CLOSE has left open
                self.pass_time(incomplete_closes.LONGEST_WAIT_SECONDS)
            before = after
        holds(False, "It settles in the end", self._fingerprint())

    def close_missing(self) -> None:
        """Close positions of which a broker closed more than was known to be open for a minute, as
        a person would, once a comparison has shown that it does not hold the rest."""
        if excessive := [item.position_id for item in rows(EXCESSIVE)]:
            self.sweep("reconcile")
            for item in rows(MISSING, (excessive,)):
                decisions.close(item.id, by=None)

    def settle_once(self) -> None:
        """Let time pass, run every job, and send and fill what is due."""
        self.pass_time(8)
        for what in ("take over", "drain", "ask", "pending actions"):
            self.sweep(what)
        self.pass_time(62)
        for what in ("take over", "ask", "drain", "pending actions", "watch"):
            self.sweep(what)
        process = self.processes[0]
        factories.live_lease(process.name)
        self.sweep("guard")
        self.claim(process, slice(None))
        while process.claimed:
            self.send(process, 0, "fill")
        self.write_reports(process, False, False)

    def _fingerprint(self) -> list[Any]:
        return [
            *(
                (o.id, o.status, o.filled_quantity, o.pending_action, o.absence_confirmations)
                for o in self.orders()
            ),
            *(
                (
                    p.id,
                    p.protection_suspended,
                    p.broker_sl,
                    p.broker_quantity,
                    p.broker_check_due_at is None,
                )
                for p in self.positions()
            ),
        ]

    def _check_held(self) -> None:
        if nets := self.broker.nets:
            theirs = {key: held for key, held in nets.held.items() if held}
            ours: Counter[Any] = Counter()
            for p in self.positions():
                ours[str(p.connection_id), p.symbol, "" if nets.netting else p.side] += p.quantity
            rule = "Net positions are as large as the broker's"
            holds(theirs == dict(ours), rule, f"theirs {theirs}", f"ours {dict(ours)}")
            return
        held = {t.number: t.held for t in self.tickets(working=False)}
        known = {p.broker_position_id: p.quantity for p in self.positions()}
        rule = "Positions are those that the broker holds"
        holds(held == known, rule, f"theirs {held}", f"ours {known}")

    def _sent_as_one(self, order: Any) -> list[Any]:
        """Return the orders that one order at the broker stands for."""
        if order.aggregate_id is None:
            return [order]
        return [o for o in self.orders() if o.aggregate_id == order.aggregate_id]

    def check_settled(self) -> None:
        self.check()
        report = audit()
        holds(report.ok, "The audit finds nothing", report.counters, report.examples)
        by_number = {t.number: t for t in self.broker.tickets}
        excessive = {item.key: D(item.closed) for item in rows(EXCESSIVE)}  # the rest is there
        for order in self.orders():
            is_settled = order.status in (*TERMINAL, *AT_BROKER)
            holds(is_settled, "In the end each order is terminal or at its broker", order)
            ticket = by_number.get(order.broker_order_id)
            if ticket is not None:
                filled = sum((o.filled_quantity for o in self._sent_as_one(order)), D(0))
                is_part = filled < ticket.filled == excessive.get(ticket.number)
                is_known = filled == ticket.filled or is_part
                holds(is_known, "An order has the broker's fills", order, ticket)
                is_working = (order.status in AT_BROKER) == (ticket.status == "WORKING")
                holds(is_working, "An order works as long as at its broker", order, ticket)
        self._check_held()
        # An exit may still work at the broker (checked above: nothing else is live), and reserves
        # what it will close. Everything else that a signal closed must be gone.
        left = rows(
            "SELECT p.* FROM positions_executionposition p JOIN signals_signal s"
            " ON s.refers_to_id = p.signal_id AND s.action = 'CLOSE' AND s.close_fraction = 1"
            " WHERE p.quantity > p.reserved"
        )
        holds(not left, "What a signal has closed is gone", left)
        without_target = rows(WITHOUT_TARGET)
        holds(not without_target, "An open position keeps its last target", without_target)
        poisoned = rows("SELECT * FROM execution_driftitem WHERE kind = 'REPORT_PROCESSING_FAILED'")
        holds(not poisoned, "Each report could be processed", poisoned)
