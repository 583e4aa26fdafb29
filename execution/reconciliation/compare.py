"""One account, both sides: what the broker holds against what we hold. Pure.

Positions that were touched since the read began, or that have something in flight, say nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from brokers.types import BrokerOrder, BrokerPosition, HeldLevels
from common.money import plain
from common.reason_codes import Code
from execution.base.drift_items import DriftRecord
from execution.ids import base_of
from positions.exit_minimums import is_dust

OF_ONE = (Code.LEVELS_DIFFER, Code.PRICE_DIFFERS)
OF_POSITIONS = (
    Code.UNKNOWN_POSITION, Code.POSITION_MISSING, Code.QUANTITY_DIFFERS, *OF_ONE,
)  # fmt: skip
EXACT = Decimal(10)  # prices are the same when they differ by less than a tenth of a pip


@dataclass(slots=True)
class Differences:
    """What a comparison found. gone: our positions that the broker lacks.

    since: from when executions could explain it, by the broker's time; None: nothing to explain.
    unseen: (kind, key) of what it did not look at: of that it proves nothing.
    heard: positions of which the books do not know which levels the broker holds, or know it wrong,
    with what the read says.
    """

    records: list[DriftRecord] = field(default_factory=list)
    gone: list[Any] = field(default_factory=list)
    since: datetime | None = None
    not_compared: set[tuple[Code, str]] = field(default_factory=set)
    level_reads: list[tuple[Any, HeldLevels]] = field(default_factory=list)

    def fills_needed_since(self, positions: Sequence[Any]) -> None:
        """Note that what was executed since these were opened could explain a difference."""
        times = [position.opened_at for position in positions]
        self.since = min([*times, *([self.since] if self.since else [])])

    def skip(self, kinds: Sequence[Code], *keys: str) -> None:
        """Note that differences of these kinds were not looked for, about these."""
        self.not_compared |= {(kind, key) for kind in kinds for key in keys}


@dataclass(frozen=True, slots=True)
class UnsellableRemainder:
    """What cannot be sold of a symbol on an account whose balances are its positions.

    step: the broker tells whole ones; dust: what was closed in the books and is still there; least:
    what is below it cannot be sold.
    """

    step: Decimal
    dust: Decimal
    least: Decimal = Decimal(0)

    def explain(self, surplus: Decimal) -> bool:
        """Whether they are why the broker holds so much more than we do (less, if negative)."""
        return -self.step < surplus < self.step + self.dust

    def is_remainder(self, balance: Decimal, held: Decimal) -> bool:
        """Whether a balance is only what a sale of `held` leaves: dust that cannot be sold. More
        than that is still the position: the exchange may have raised its least. Dust of earlier
        trades does not count: the owner may have converted it."""
        is_unsellable = balance < self.step or balance < self.least
        return balance < held and is_unsellable and is_dust(balance, held, self.step)


NO_REMAINDERS: Mapping[str, UnsellableRemainder] = {}


def positions_of(
    connection_id: str,
    ours: Sequence[Any],
    theirs: Sequence[BrokerPosition],
    began: datetime,
    remainders: Mapping[str, UnsellableRemainder] = NO_REMAINDERS,
) -> Differences:
    """Compare an account's positions. remainders: by symbol.

    They are matched by the broker's position id, and where we do not know it yet by the entry's
    client order id. On netting accounts several of ours share one of the broker's.
    """
    found = Differences()
    mine_of = _by_ticket(ours, theirs)
    for ticket in theirs:
        number = ticket.broker_position_id
        mine = mine_of.pop(number, [])
        if any(_moving(position, began) for position in mine):
            found.skip(OF_POSITIONS, number, *map(key_of, mine))
            continue
        held = sum(p.quantity if p.side == ticket.side else -p.quantity for p in mine)
        remainder = remainders.get(ticket.symbol)
        is_same = held == ticket.quantity or (
            remainder is not None and remainder.explain(ticket.quantity - held)
        )
        if not mine and (is_same or (remainder is not None and ticket.quantity < remainder.least)):
            continue  # what sales have left, together, or what cannot be sold anyway
        if not mine:
            found.records.append(_unknown(connection_id, ticket))
        elif (
            not is_same and remainder is not None and remainder.is_remainder(ticket.quantity, held)
        ):
            mine_of[number] = mine  # it is gone, up to what no sale takes along
        elif not is_same:
            found.fills_needed_since(mine)
            found.records.append(_quantity(connection_id, mine, ticket, Decimal(held)))
            found.skip(OF_ONE, number)
        elif len(mine) == 1:
            _levels(found, connection_id, mine[0], ticket)
            _price(found, connection_id, mine[0], ticket)
        else:  # the broker names one price for all of them
            found.skip(OF_ONE, number)
            for position in mine:
                if (held := held_of_entry(position, ticket)) is not None:
                    _note_levels(found, position, held)
    left = [(number, p) for number, group in mine_of.items() for p in group]
    found.gone = [p for _, p in left if not _moving(p, began)]
    for number, position in left:
        if _moving(position, began):
            found.skip(OF_POSITIONS, number, key_of(position))
    if found.gone:
        found.fills_needed_since(found.gone)
    return found


def _by_ticket(ours: Sequence[Any], theirs: Sequence[BrokerPosition]) -> dict[str, list[Any]]:
    named = [t for t in theirs if t.client_order_id]
    tickets = {base_of(t.client_order_id): t.broker_position_id for t in named}
    groups: dict[str, list[Any]] = {}
    for position in ours:
        ticket = position.broker_position_id or tickets.get(
            base_of(position.client_order_id or ""), f"position {position.id}"
        )
        groups.setdefault(ticket, []).append(position)
    return groups


def is_of(ours: Sequence[Any], ticket: BrokerPosition) -> bool:
    """Whether one of the broker's positions is one of ours, by its number or its entry's id."""
    number, base = ticket.broker_position_id, base_of(ticket.client_order_id or " ")
    return any(
        p.broker_position_id == number
        or (not p.broker_position_id and base_of(p.client_order_id or "") == base)
        for p in ours
    )  # fmt: skip


def key_of(position: Any) -> str:
    """What differences about a position of ours are kept under."""
    return position.broker_position_id or f"position {position.id}"


def _moving(position: Any, began: datetime) -> bool:
    return bool(position.in_flight) or position.last_activity_at >= began


def same_price(ours: Decimal | None, theirs: Decimal | None, pip: Decimal) -> bool:
    """Whether two levels are one, up to what brokers round."""
    if ours is None or theirs is None:
        return ours is theirs
    return abs(ours - theirs) < pip / EXACT


def held_of_entry(mine: Any, ticket: BrokerPosition) -> HeldLevels | None:
    """Return which levels the broker holds for a position of ours that is told apart by its entry's
    order reference; None: levels are not kept so there."""
    if ticket.entry_levels is None or not mine.client_order_id:
        return None
    by_base = {base_of(name): held for name, held in ticket.entry_levels.items()}
    return by_base.get(base_of(mine.client_order_id), HeldLevels(None, None))


def _levels(found: Differences, connection_id: str, mine: Any, ticket: BrokerPosition) -> None:
    """Compare with the levels that the broker has confirmed; what it is yet to be told waits. What
    cannot be told from the read is not the same as none."""
    held = held_of_entry(mine, ticket) or ticket.levels
    if held is None or mine.levels_move:
        found.skip([Code.LEVELS_DIFFER], ticket.broker_position_id)
        return
    lacks = _note_levels(found, mine, held)
    if mine.untold and not lacks:
        found.skip([Code.LEVELS_DIFFER], ticket.broker_position_id)
        return
    # What it was to hold and has dropped is missed, though the books know that it is not there.
    ours = (
        mine.sl if mine.sl_is_wanted and mine.levels_given_up else mine.broker_sl,
        mine.tp if mine.tp_is_wanted and mine.levels_given_up else mine.broker_tp,
    )
    theirs = held.stop_loss, held.take_profit
    if all(same_price(a, b, mine.pip) for a, b in zip(ours, theirs, strict=True)):
        return
    differs = " ".join(_shown_price(level) for level in (*ours, *theirs))
    shown = replace(ticket, levels=held)
    found.records.append(_record(Code.LEVELS_DIFFER, connection_id, [mine], shown, differs))


def _note_levels(found: Differences, mine: Any, held: HeldLevels) -> bool:
    """Note what the read says of levels where the books do not know it; return whether the broker
    lacks a level that it should hold."""
    sl = mine.sl_is_wanted, mine.broker_sl is not None, held.stop_loss is not None
    tp = mine.tp_is_wanted, mine.broker_tp is not None, held.take_profit is not None
    is_news = any(known != there and (wanted or known) for wanted, known, there in (sl, tp))
    if not mine.levels_move and (mine.levels_reported_at is None or is_news):
        found.level_reads.append((mine, held))
    return any(wanted and not there for wanted, _, there in (sl, tp))


def _price(found: Differences, connection_id: str, mine: Any, ticket: BrokerPosition) -> None:
    # A broker's average is of what has been closed of it, too; 0: it states none.
    if mine.shared or not ticket.entry_price:
        return
    # Of several fills the broker's average is in whole ticks, ours is exact.
    differ = abs(mine.entry_price - ticket.entry_price)
    if differ >= max(mine.pip / EXACT, mine.tick):
        differs = f"{plain(mine.entry_price)} {plain(ticket.entry_price)}"
        found.records.append(_record(Code.PRICE_DIFFERS, connection_id, [mine], ticket, differs))


def _shown_price(price: Decimal | None) -> str:
    return "none" if price is None else plain(price)


def _unknown(connection_id: str, ticket: BrokerPosition) -> DriftRecord:
    return _record(Code.UNKNOWN_POSITION, connection_id, [], ticket, "")


def _quantity(
    connection_id: str, mine: Sequence[Any], ticket: BrokerPosition, held: Decimal
) -> DriftRecord:
    differs = f"{plain(held)} {plain(ticket.quantity)}"
    return _record(Code.QUANTITY_DIFFERS, connection_id, mine, ticket, differs)


def _record(
    code: Code, connection_id: str, mine: Sequence[Any], ticket: BrokerPosition, differs: str
) -> DriftRecord:
    evidence = {
        "symbol": ticket.symbol,
        "ours": held_by_us(mine, ticket.side.value) if mine else None,
        "theirs": {
            "side": ticket.side.value,
            "quantity": plain(ticket.quantity),
            "entry_price": plain(ticket.entry_price),
            **_broker_levels(ticket),
        },
        "broker_position_id": ticket.broker_position_id,
        "client_order_id": ticket.client_order_id,
        "opened_at": ticket.opened_at,
        "differs": differs,
    }
    if len(mine) > 1:  # one is named by position_id
        evidence["positions"] = ", ".join(f"P-{position.id}" for position in mine)
    position_id = mine[0].id if len(mine) == 1 else None
    return DriftRecord(code, connection_id, ticket.broker_position_id, evidence, position_id)


def _broker_levels(ticket: BrokerPosition) -> dict[str, str | None]:
    """What the broker holds, as evidence; without these keys nobody could tell."""
    if ticket.levels is None:
        return {}
    stop, target = ticket.levels.stop_loss, ticket.levels.take_profit
    return {"stop_loss": _or_none(stop), "take_profit": _or_none(target)}


def held_by_us(mine: Sequence[Any], side: str) -> dict[str, str | None]:
    """What we hold of one of the broker's positions, as evidence. side: the broker's."""
    held = sum((p.quantity if p.side == side else -p.quantity for p in mine), Decimal(0))
    first = mine[0]
    several = len(mine) > 1
    return {
        "side": side if several else first.side,
        "quantity": plain(held if several else first.quantity),
        "entry_price": None if several else plain(first.entry_price),
        "stop_loss": None if several else _or_none(first.broker_sl),
        "take_profit": None if several else _or_none(first.broker_tp),
    }


def _or_none(price: Decimal | None) -> str | None:
    return None if price is None else plain(price)


@dataclass(slots=True)
class OrderDifferences:
    """What a comparison of orders found: records, and ids that the broker is to be asked about.

    missing: ours that do not rest there; ended: theirs that have ended for us.
    """

    records: list[DriftRecord] = field(default_factory=list)
    missing: list[Any] = field(default_factory=list)
    ended: list[tuple[Any, BrokerOrder]] = field(default_factory=list)


def orders_of(
    connection_id: str,
    working: Sequence[Any],
    known: Mapping[str, Any],
    theirs: Sequence[BrokerOrder],
    tag: str,
) -> OrderDifferences:
    """Compare an account's orders.

    working: ours that rested at the broker before the read and do now. known: our rows of the ids
    that the broker names, by their base. tag: what our ids begin with.
    """
    found = OrderDifferences()
    bases = {base_of(order.client_order_id) for order in theirs if order.client_order_id}
    numbers = {order.broker_order_id for order in theirs}
    found.missing = [
        row
        for row in working
        if base_of(row.client_order_id) not in bases and row.broker_order_id not in numbers
    ]
    is_working = {row.broker_order_id for row in working}
    for order in theirs:
        row = known.get(base_of(order.client_order_id)) if order.client_order_id else None
        if row is not None:
            if row.has_ended:
                found.ended.append((row, order))
        elif order.broker_order_id in is_working:
            continue
        elif is_ours(order.client_order_id, tag):
            found.records.append(order_record(Code.UNKNOWN_ORDER, connection_id, None, order))
        else:
            note = order_record(Code.FOREIGN_ORDER, connection_id, None, order)
            found.records.append(note)
    return found


def is_ours(client_order_id: str, tag: str) -> bool:
    """Whether an id was made by this installation."""
    return client_order_id.startswith(tag) and len(client_order_id) == len(tag) + 15


def order_record(
    code: Code, connection_id: str, row: Any | None, order: BrokerOrder | None
) -> DriftRecord:
    """A difference about an order. row: ours; order: the broker's; one of them may be None."""
    key = (order and (order.client_order_id or order.broker_order_id)) or row.client_order_id  # type: ignore[union-attr]
    evidence = {
        "symbol": order.symbol if order else row.symbol,  # type: ignore[union-attr]
        "ours": row and {"state": row.status, **_order_facts(row, row.filled_quantity)},
        "theirs": order and {"state": "resting", **_order_facts(order, order.filled)},
        "broker_order_id": order.broker_order_id if order else row.broker_order_id,  # type: ignore[union-attr]
        "client_order_id": order.client_order_id if order else row.client_order_id,  # type: ignore[union-attr]
        "placed_at": order.placed_at if order else None,
        "differs": "",
    }
    note = code is Code.FOREIGN_ORDER
    order_id = row.id if row is not None else None
    return DriftRecord(code, connection_id, key, evidence, None, order_id, note)


def _order_facts(order: Any, filled: Decimal) -> dict[str, str | None]:
    return {
        "side": str(order.side),
        "order_type": str(order.order_type),
        "quantity": plain(order.quantity),
        "filled": plain(filled),
        "limit_price": _or_none(order.limit_price),
        "stop_price": _or_none(order.stop_price),
        "stop_loss": _or_none(order.stop_loss),
        "take_profit": _or_none(order.take_profit),
    }
