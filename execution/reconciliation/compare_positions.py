"""Compare one account's positions with the broker's. Pure.

Positions with activity since the read began, or with an order in flight, are not compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from brokers.types import BrokerPosition, HeldLevels
from common.money import plain, plain_or_none
from common.reason_codes import Code
from execution.base.drift_items import DriftRecord
from execution.ids import base_of
from positions.exit_minimums import is_dust

DETAIL_CODES = (Code.LEVELS_DIFFER, Code.PRICE_DIFFERS)
"""Differences that need one position of ours for one of the broker's, of the same quantity."""
POSITION_CODES = (
    Code.UNKNOWN_POSITION,
    Code.POSITION_MISSING,
    Code.QUANTITY_DIFFERS,
    Code.POSITION_NOT_TRADABLE,
    *DETAIL_CODES,
)
PARTS_OF_PIP = Decimal(10)  # prices that differ by less than a tenth of a pip are equal


class OurPosition(NamedTuple):
    """A position of ours, as `open_positions.OURS` reads it.

    tick: 0 if unknown. levels_are_changing: we change its levels at the broker, or have suspended
    them. has_unsent_levels: the broker is yet to get ours. sl_is_expected, tp_is_expected: the
    broker should hold it. is_shared: netted with another of ours at some time. in_flight: an order
    of it is. client_order_id: its entry's. entry_sent_as: that which the broker knows the entry by.
    """

    id: int
    connection_id: UUID
    symbol: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    pip: Decimal
    tick: Decimal
    broker_position_id: str
    broker_sl: Decimal | None
    broker_tp: Decimal | None
    opened_at: datetime
    last_activity_at: datetime
    missing_since: datetime | None
    levels_are_changing: bool
    has_unsent_levels: bool
    sl: Decimal | None
    tp: Decimal | None
    levels_reported_at: datetime | None
    levels_given_up: bool
    sl_is_expected: bool
    tp_is_expected: bool
    is_shared: bool
    client_order_id: str | None
    entry_sent_as: str | None
    in_flight: bool


@dataclass(slots=True)
class Differences:
    """What a comparison of positions found.

    gone: our positions that the broker lacks. since: start of the executions that could explain the
    differences, broker's time; None if there is nothing to explain. not_compared: (kind, key) that
    were skipped, so their absence proves nothing. level_reads: positions whose stored broker levels
    are unknown or wrong, with the levels read. relinked: positions that have another number at the
    broker, with it. other_levels: levels that the broker keeps as orders
    for entries without an open position of ours, by the entry's client order id.
    """

    records: list[DriftRecord] = field(default_factory=list)
    gone: list[OurPosition] = field(default_factory=list)
    since: datetime | None = None
    not_compared: set[tuple[Code, str]] = field(default_factory=set)
    relinked: list[tuple[OurPosition, str]] = field(default_factory=list)
    level_reads: list[tuple[OurPosition, HeldLevels]] = field(default_factory=list)
    other_levels: dict[str, HeldLevels] = field(default_factory=dict)

    def fills_needed_since(self, positions: Sequence[OurPosition]) -> None:
        """Record that executions since these positions were opened may explain a difference."""
        times = [position.opened_at for position in positions]
        self.since = min([*times, *([self.since] if self.since else [])])

    def skip(self, kinds: Sequence[Code], *keys: str) -> None:
        """Record that differences of these kinds were not checked for these keys."""
        self.not_compared |= {(kind, key) for kind in kinds for key in keys}


@dataclass(frozen=True, slots=True)
class UnsellableRemainder:
    """What cannot be sold of a symbol, on an account whose balances are its positions.

    All in base units. step: the broker states quantities in multiples of it. dust: closed here, but
    still in the balance. minimum: less than this cannot be sold.
    """

    step: Decimal
    dust: Decimal
    minimum: Decimal = Decimal(0)

    def explain(self, surplus: Decimal) -> bool:
        """Return whether it explains that the broker holds `surplus` more than we do."""
        return -self.step < surplus < self.step + self.dust

    def is_remainder(self, balance: Decimal, held: Decimal) -> bool:
        """Return whether a balance is only the dust that a sale of `held` leaves.

        A larger balance is still the position, since the exchange may have raised its minimum. Dust
        of earlier trades does not count, since the owner may have converted it.
        """
        is_unsellable = balance < self.step or balance < self.minimum
        return balance < held and is_unsellable and is_dust(balance, held, self.step)


NO_REMAINDERS: Mapping[str, UnsellableRemainder] = {}


def compare_positions(
    connection_id: str,
    ours: Sequence[OurPosition],
    theirs: Sequence[BrokerPosition],
    began: datetime,
    remainders: Mapping[str, UnsellableRemainder] = NO_REMAINDERS,
) -> Differences:
    """Compare an account's positions; return the differences. remainders: by symbol.

    Positions are matched by the broker's position id or, if we do not know it yet, by the entry's
    client order id. On netting accounts several of ours may share one of the broker's.
    """
    differences = Differences()
    ours, theirs = _readable(differences, ours, theirs)
    renumbered = {p.id: number for p, number in _renumbered(ours, theirs)}
    mine_of = _by_ticket(ours, theirs, renumbered)
    for ticket in theirs:
        number = ticket.broker_position_id
        mine = mine_of.pop(number, [])
        differences.other_levels |= _other_levels(mine, ticket)
        if any(_is_changing(position, began) for position in mine):
            differences.skip(POSITION_CODES, number, *map(key_of, mine))
            continue
        if again := [p for p in mine if p.id in renumbered]:
            differences.relinked += [(position, number) for position in again]
            differences.fills_needed_since(again)  # that it was closed counts first
        if not ticket.is_tradable:
            _compare_untradable(differences, connection_id, mine, ticket)
            continue
        remainder = remainders.get(ticket.symbol)
        held = sum((p.quantity if p.side == ticket.side else -p.quantity for p in mine), Decimal(0))
        is_same = held == ticket.quantity or (
            remainder is not None and remainder.explain(ticket.quantity - held)
        )
        if not mine:
            is_unsellable = remainder is not None and ticket.quantity < remainder.minimum
            if not is_same and not is_unsellable:  # else it is dust of several sales
                differences.records.append(_unknown(connection_id, ticket))
        elif is_same:
            _compare_details(differences, connection_id, mine, ticket)
        elif remainder is not None and remainder.is_remainder(ticket.quantity, held):
            mine_of[number] = mine  # gone, except for dust
        else:
            differences.fills_needed_since(mine)
            differences.records.append(_quantity(connection_id, mine, ticket, held))
            differences.skip(DETAIL_CODES, number)
    left = [(number, p) for number, group in mine_of.items() for p in group]
    uncertain = {p.id for _, p in left if _is_changing(p, began) or _is_carried(p, theirs)}
    differences.gone = [p for _, p in left if p.id not in uncertain]
    for number, position in left:
        if position.id in uncertain:
            differences.skip(POSITION_CODES, number, key_of(position))
    if differences.gone:
        differences.fills_needed_since(differences.gone)
    return differences


def _readable(
    differences: Differences, ours: Sequence[OurPosition], theirs: Sequence[BrokerPosition]
) -> tuple[Sequence[OurPosition], Sequence[BrokerPosition]]:
    """Return what can be compared: nothing in a symbol in which a position cannot be read, and
    nothing at all if that one's symbol is not known."""
    hidden = {ticket.symbol for ticket in theirs if not ticket.is_readable}
    if not hidden:
        return ours, theirs

    def is_hidden(one: OurPosition | BrokerPosition) -> bool:
        return "" in hidden or one.symbol in hidden

    keys = [key_of(position) for position in ours if is_hidden(position)]
    keys += [ticket.broker_position_id for ticket in theirs if is_hidden(ticket)]
    differences.skip(POSITION_CODES, *keys)
    return (
        [position for position in ours if not is_hidden(position)],
        [ticket for ticket in theirs if not is_hidden(ticket)],
    )


def _compare_untradable(
    differences: Differences,
    connection_id: str,
    mine: Sequence[OurPosition],
    ticket: BrokerPosition,
) -> None:
    """Compare what is held of a symbol without a market. Without a position of ours it is not our
    matter; what is held beyond ours, too: no step states what may be dust."""
    differences.skip(DETAIL_CODES, ticket.broker_position_id)
    if not mine:
        return
    record = _record(Code.POSITION_NOT_TRADABLE, connection_id, mine, ticket, "")
    differences.records.append(record)
    held = sum((p.quantity if p.side == ticket.side else -p.quantity for p in mine), Decimal(0))
    if ticket.quantity < held:
        differences.fills_needed_since(mine)
        differences.records.append(_quantity(connection_id, mine, ticket, held))


def _compare_details(
    differences: Differences,
    connection_id: str,
    mine: Sequence[OurPosition],
    ticket: BrokerPosition,
) -> None:
    """Compare levels and entry price of positions of ours that have the broker's quantity."""
    if len(mine) == 1:
        _levels(differences, connection_id, mine[0], ticket)
        _price(differences, connection_id, mine[0], ticket)
        return
    differences.skip(DETAIL_CODES, ticket.broker_position_id)  # the broker has one price for all
    for position in mine:
        if (levels := levels_of_entry(position, ticket)) is not None:
            _record_level_read(differences, position, levels)


def _other_levels(mine: Sequence[OurPosition], ticket: BrokerPosition) -> dict[str, HeldLevels]:
    bases = {base_of(position.client_order_id or "") for position in mine}
    levels = ticket.entry_levels or {}
    return {entry: held for entry, held in levels.items() if base_of(entry) not in bases}


def _renumbered(
    ours: Sequence[OurPosition], theirs: Sequence[BrokerPosition]
) -> list[tuple[OurPosition, str]]:
    """Return our positions whose number the broker does not list, with that of the position which
    carries their entry's id, if exactly one does.

    Brokers number positions again when they move an account to another server."""
    listed = {ticket.broker_position_id for ticket in theirs}
    taken = {position.broker_position_id for position in ours} & listed
    found = []
    for position in ours:
        if position.broker_position_id in ("", *listed):
            continue
        base = _entry_base(position)
        same = [
            ticket.broker_position_id
            for ticket in theirs
            if base
            and base_of(ticket.client_order_id or "") == base
            and (ticket.symbol, ticket.side) == (position.symbol, position.side)
            and ticket.broker_position_id not in taken
        ]
        if len(same) == 1:
            found.append((position, same[0]))
    return found


def _is_carried(position: OurPosition, theirs: Sequence[BrokerPosition]) -> bool:
    """Return whether something at the broker that is no position of ours carries the id of a
    position's entry, on its side: in several parts, or in a symbol of another name. Then it is not
    missing; what carries the id is shown as unknown."""
    base = _entry_base(position)
    return any(
        base_of(ticket.client_order_id or "") == base and ticket.side == position.side
        for ticket in theirs
        if base and ticket.broker_position_id != position.broker_position_id
    )


def _entry_base(position: OurPosition) -> str:
    return base_of(position.entry_sent_as or position.client_order_id or "")


def _by_ticket(
    ours: Sequence[OurPosition],
    theirs: Sequence[BrokerPosition],
    renumbered: Mapping[int, str],
) -> dict[str, list[OurPosition]]:
    named = [t for t in theirs if t.client_order_id]
    tickets = {base_of(t.client_order_id): t.broker_position_id for t in named}
    groups: dict[str, list[OurPosition]] = {}
    for position in ours:
        known = renumbered.get(position.id) or position.broker_position_id
        ticket = known or tickets.get(
            base_of(position.entry_sent_as or ""), f"position {position.id}"
        )
        groups.setdefault(ticket, []).append(position)
    return groups


def is_of(ours: Sequence[OurPosition], ticket: BrokerPosition) -> bool:
    """Return whether a broker position is one of ours, by its id or its entry's id."""
    number, base = ticket.broker_position_id, base_of(ticket.client_order_id or " ")
    return any(
        p.broker_position_id == number or base_of(p.entry_sent_as or "") == base for p in ours
    )


def key_of(position: OurPosition) -> str:
    """Return the key of differences about a position of ours."""
    return position.broker_position_id or f"position {position.id}"


def _is_changing(position: OurPosition, began: datetime) -> bool:
    return bool(position.in_flight) or position.last_activity_at >= began


def same_price(ours: Decimal | None, theirs: Decimal | None, pip: Decimal) -> bool:
    """Return whether two levels are equal, apart from the broker's rounding."""
    if ours is None or theirs is None:
        return ours is theirs
    return abs(ours - theirs) < pip / PARTS_OF_PIP


def levels_of_entry(mine: OurPosition, ticket: BrokerPosition) -> HeldLevels | None:
    """Return the levels that the broker holds for the entry of one of our positions.

    None if the broker does not keep levels by entry.
    """
    if ticket.entry_levels is None or not mine.client_order_id:
        return None
    by_base = {base_of(name): held for name, held in ticket.entry_levels.items()}
    return by_base.get(base_of(mine.client_order_id), HeldLevels(None, None))


def _levels(
    differences: Differences, connection_id: str, mine: OurPosition, ticket: BrokerPosition
) -> None:
    """Compare with the levels that the broker confirmed.

    Skipped while a level change is due or running, and if the read does not show levels.
    """
    held = levels_of_entry(mine, ticket) or ticket.levels
    if held is None or mine.levels_are_changing:
        differences.skip([Code.LEVELS_DIFFER], ticket.broker_position_id)
        return
    lacks_level = _record_level_read(differences, mine, held)
    if mine.has_unsent_levels and not lacks_level:
        differences.skip([Code.LEVELS_DIFFER], ticket.broker_position_id)
        return
    # A level that the broker dropped is a difference, though our row knows that it is gone.
    ours = (
        mine.sl if mine.sl_is_expected and mine.levels_given_up else mine.broker_sl,
        mine.tp if mine.tp_is_expected and mine.levels_given_up else mine.broker_tp,
    )
    theirs = held.stop_loss, held.take_profit
    if all(same_price(a, b, mine.pip) for a, b in zip(ours, theirs, strict=True)):
        return
    differs = " ".join(_shown_price(level) for level in (*ours, *theirs))
    shown = replace(ticket, levels=held)
    differences.records.append(_record(Code.LEVELS_DIFFER, connection_id, [mine], shown, differs))


def _record_level_read(differences: Differences, mine: OurPosition, held: HeldLevels) -> bool:
    """Record the levels read if our row does not have them.

    Returns whether the broker lacks a level that it should hold.
    """
    sl = mine.sl_is_expected, mine.broker_sl is not None, held.stop_loss is not None
    tp = mine.tp_is_expected, mine.broker_tp is not None, held.take_profit is not None
    is_new = any(known != present and (expected or known) for expected, known, present in (sl, tp))
    if not mine.levels_are_changing and (mine.levels_reported_at is None or is_new):
        differences.level_reads.append((mine, held))
    return any(expected and not present for expected, _, present in (sl, tp))


def _price(
    differences: Differences, connection_id: str, mine: OurPosition, ticket: BrokerPosition
) -> None:
    # A broker's average includes positions closed since; 0: the broker states no price.
    if mine.is_shared or not ticket.entry_price:
        return
    # The broker rounds the average of several fills to whole ticks; ours is exact.
    difference = abs(mine.entry_price - ticket.entry_price)
    if difference >= max(mine.pip / PARTS_OF_PIP, mine.tick):
        differs = f"{plain(mine.entry_price)} {plain(ticket.entry_price)}"
        differences.records.append(
            _record(Code.PRICE_DIFFERS, connection_id, [mine], ticket, differs)
        )


def _shown_price(price: Decimal | None) -> str:
    return "none" if price is None else plain(price)


def _unknown(connection_id: str, ticket: BrokerPosition) -> DriftRecord:
    return _record(Code.UNKNOWN_POSITION, connection_id, [], ticket, "")


def _quantity(
    connection_id: str, mine: Sequence[OurPosition], ticket: BrokerPosition, held: Decimal
) -> DriftRecord:
    differs = f"{plain(held)} {plain(ticket.quantity)}"
    return _record(Code.QUANTITY_DIFFERS, connection_id, mine, ticket, differs)


def _record(
    code: Code,
    connection_id: str,
    mine: Sequence[OurPosition],
    ticket: BrokerPosition,
    differs: str,
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
    if len(mine) > 1:  # a single one is in position_id
        evidence["positions"] = ", ".join(f"P-{position.id}" for position in mine)
    position_id = mine[0].id if len(mine) == 1 else None
    return DriftRecord(code, connection_id, ticket.broker_position_id, evidence, position_id)


def _broker_levels(ticket: BrokerPosition) -> dict[str, str | None]:
    """Return the broker's levels as evidence; no keys if the broker does not show levels."""
    if ticket.levels is None:
        return {}
    stop, target = ticket.levels.stop_loss, ticket.levels.take_profit
    return {"stop_loss": plain_or_none(stop), "take_profit": plain_or_none(target)}


def held_by_us(mine: Sequence[OurPosition], side: str) -> dict[str, str | None]:
    """Return what we hold of one broker position, as evidence. side: the broker's."""
    held = sum((p.quantity if p.side == side else -p.quantity for p in mine), Decimal(0))
    first = mine[0]
    several = len(mine) > 1
    return {
        "side": side if several else first.side,
        "quantity": plain(held if several else first.quantity),
        "entry_price": None if several else plain(first.entry_price),
        "stop_loss": None if several else plain_or_none(first.broker_sl),
        "take_profit": None if several else plain_or_none(first.broker_tp),
    }
