"""The model with stops at the broker, slices on any account, stop rules, and entries sent as one.

One of several worlds is drawn at the start. Stops move only by a rule here, a person or a provider:
what a rule does is compared before and after.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

from brokers.types import ExitSafety, OrderType, Quote
from common.clocks import market_now
from common.db.sql import run
from execution.models import AT_BROKER
from execution.monitoring.stop_rules import StopRuleMonitor, judge_due
from execution.submission.change_terms import WantedTerms
from signals.models import Signal
from tests.execution.change_model import CONDITIONS, LATER, PAIRS, ChangeModel
from tests.execution.entry_model import SPREAD
from tests.execution.model import Process
from tests.execution.model_rules import holds

BOTH = ["stop", "stop limit", "limit", "plain", "pair", *LATER, *CONDITIONS]
KINDS = {
    "native": [*BOTH, "stop", "stop limit", "slices", "slices, rest"],
    "held": [*BOTH, "slices", "slices, rest", "trailing buy", *PAIRS],
    "netted": [*["plain"] * 6, *BOTH, "slices"],  # buys only
}
OWN = {
    "own stop": WantedTerms(stop_loss=D("1.085")),
    "nearer stop": WantedTerms(stop_loss=D("1.0915")),
    "own target": WantedTerms(take_profit=D("1.14")),
    "stop and price": WantedTerms(stop_loss=D("1.08"), limit_price=D("1.0955")),
}
RULE = {"break_even_profit": D(20), "trailing_distance": D(40), "trailing_step": D(10)}
WINDOW_MS = 1500


class OrderModel(ChangeModel):
    """The state of the model, with what the oracles remember."""

    def __init__(self, world: str, **arguments: Any) -> None:
        self.world, is_netted = world, world == "netted"
        broker, accounts = arguments["broker"], arguments["accounts"]
        run("DELETE FROM positions_stoprule")
        arguments |= {"safety": ExitSafety.REDUCE_ONLY if is_netted else None, "netting": True}
        super().__init__(**arguments)
        taken = {OrderType.MARKET, OrderType.LIMIT}
        native = {OrderType.STOP, OrderType.STOP_LIMIT} if world == "native" else set()
        broker.order_types = frozenset(taken | native)
        mode = "NETTING" if is_netted else "HEDGING"
        run("UPDATE connections_accountsnapshot SET position_mode = %s", (mode,))
        window = WINDOW_MS if is_netted else 0
        run("UPDATE connections_executionconnection SET aggregation_ms = %s WHERE id = %s",
            (window, accounts[1].pk))  # fmt: skip
        ruled = "".join(f", {name} = {value}" for name, value in RULE.items())
        run(f"UPDATE connections_tradingpreset SET stop_move_seconds = 1{ruled}")
        self._rules = StopRuleMonitor()
        self._opened: set[int] = set()

    # ---- people ---------------------------------------------------------------------------------
    def change_own(self, index: int, what: str) -> None:
        """A person changes the levels or the end of an entry alone."""
        terms = OWN.get(what) or WantedTerms(valid_until=market_now() + timedelta(seconds=45))
        self.change_terms(index, terms)

    # ---- prices ---------------------------------------------------------------------------------
    def tick(self, bids: Sequence[str], point: str = "") -> None:
        super().tick(bids, point)
        quotes = [Quote("EUR/USD", D(bid), D(bid) + SPREAD, market_now()) for bid in bids]
        before, moved = self._stops(), []
        for source in sorted({a.data_connection_id or 0 for a in self.accounts}):
            moved += self._rules.process_quotes(source, quotes)
        self._check_moves(before, moved, best=max(quote.bid for quote in quotes))

    def sweep(self, what: str) -> None:
        """Run a job; "rules" judges those that are due too."""
        if what == "rules":
            before = self._stops()
            self._check_moves(before, judge_due(), best=None)
        else:
            super().sweep(what)

    def _stops(self) -> dict[int, tuple[str, D | None]]:
        return {p.id: (p.side, p.sl) for p in self.positions()}

    def _check_moves(
        self, before: dict[int, tuple[str, D | None]], moved: Sequence[int], *, best: D | None
    ) -> None:
        """A rule moves a stop forwards only, once for each price, and not beyond its distance."""
        holds(len(set(moved)) == len(moved), "A rule moves a stop once for each price", moved)
        for position_id, (side, stop) in self._stops().items():
            earlier = before.get(position_id, (side, stop))[1]
            found = f"position {position_id} {side}, stop {stop}, before {earlier}, best {best}"
            if position_id not in moved:
                holds(stop == earlier, "A stop that no rule has moved stays", found)
                continue
            assert stop is not None, found
            sign = 1 if side == "BUY" else -1
            is_forward = earlier is None or (stop - earlier) * sign > 0
            holds(is_forward, "A rule moves a stop forwards only", found)
            is_below = best is None or side != "BUY" or stop < best
            holds(is_below, "A rule moves a stop not beyond the price", found)

    # ---- processes ------------------------------------------------------------------------------
    def claim(self, process: Process, part: slice) -> None:
        """Claim; what is sent has not ended, and has the levels that it has then."""
        known = len(process.claimed)
        super().claim(process, part)
        now = market_now()
        orders = {o.id: o for o in self.orders()}
        for _, outgoing in process.claimed[known:]:
            order = orders[outgoing.request.order_id]
            if order.position_id is None and order.own_valid_until is not None:
                holds(order.own_valid_until > now, "What has ended is not sent", order)

    # ---- what must hold -------------------------------------------------------------------------
    def check(self) -> None:
        super().check()
        self._check_aggregates()
        self._check_own_levels()

    def entered_by(self, order: Any, tickets: Sequence[Any]) -> D:
        """Of an order that was sent together with others, what it was allotted."""
        if order.aggregate_id is None:
            return super().entered_by(order, tickets)
        return D(order.filled_quantity)

    def _aggregates(self) -> dict[int, list[Any]]:
        groups: dict[int, list[Any]] = defaultdict(list)
        for order in self.orders_now:
            if order.aggregate_id is not None:
                groups[order.aggregate_id].append(order)
        return groups

    def _check_aggregates(self) -> None:
        """Entries that were sent as one have at most one order at the broker, as large as they."""
        for first, members in self._aggregates().items():
            alike = len({(o.connection_id, o.pair, o.side) for o in members}) == 1
            holds(alike, "Entries are joined of one account, pair and side", members)
            has_first = len(members) > 1 or members[0].id == first
            holds(has_first, "Of joined entries the first one remains", members)
            ids = {(o.client_order_id or "-")[:-1] for o in members}
            tickets = [
                t for t in self.broker.tickets
                if not t.is_exit and t.request.client_order_id[:-1] in ids
                and (t.filled or t.status == "WORKING")
            ]  # fmt: skip
            is_one = len(tickets) <= 1
            holds(is_one, "Joined entries have one order at the broker", members, tickets)
            filled = sum((o.filled_quantity for o in members), D(0))
            is_covered = filled <= sum((t.filled for t in tickets), D(0))
            holds(is_covered, "Joined entries share what was filled", members, tickets)
            fits = all(o.filled_quantity <= o.quantity for o in members if o.quantity)
            holds(fits, "No joined entry gets more than its quantity", members)

    def _check_own_levels(self) -> None:
        """The first position of an entry begins with the levels that the entry had last."""
        entries = {
            (o.signal_id, o.connection_id, o.leg): o
            for o in self.orders_now if o.position_id is None
        }  # fmt: skip
        for position in self.positions_now:
            if position.id in self._opened:
                continue
            self._opened.add(position.id)
            of = position.signal_id, position.connection_id, position.entry_leg
            order = entries.get(of)
            if order is None or order.own_stop_loss is None or self._is_modified(order):
                continue
            sign = 1 if position.side == "BUY" else -1
            moved = None if position.sl is None else (position.sl - order.own_stop_loss) * sign
            rule = "A position begins with its entry's own stop, or a rule has moved it since"
            holds(moved is not None and moved >= 0, rule, order, position)

    def _is_modified(self, order: Any) -> bool:
        """Return whether its provider has changed the signal."""
        changes = Signal.objects.filter(action="MODIFY", refers_to=order.signal_id)
        return changes.exists()

    # ---- the end --------------------------------------------------------------------------------
    def settle_once(self) -> None:
        """Rules that are due are judged, and the broker's stops follow."""
        self.sweep("rules")
        super().settle_once()

    def check_settled(self) -> None:
        """Also: every share of a fill has its owner, and brokers hold the stops that we have."""
        super().check_settled()
        numbers = {t.number: t for t in self.broker.tickets}
        for members in self._aggregates().values():
            together = len({o.status in AT_BROKER for o in members}) == 1
            holds(together, "Joined entries work as long as each other", members)
        for position in self.positions():
            ticket = numbers.get(position.broker_position_id)
            if self.world == "netted" or ticket is None or position.broker_sl is None:
                continue
            is_same = ticket.request.stop_loss == position.broker_sl == position.sl
            holds(is_same, "The broker holds the stop that we have", position, ticket)


assert not OWN.keys() & {"end"}
