"""MetaTrader 5's history: deals, and which position each of them closed. Pure.

Source: DWX_Server_MT5.mq5 1.0 of github.com/darwinex/dwxconnect (its StringFormat lines), read on
2026-11-20. A deal in the history names neither its order nor its position. An opening deal has the
magic number of its order; a close by a stop or target has the position's, and a mark in the
comment; a close by the expert advisor has the magic number of its last opening, a manual close has
0, as has one by an expert advisor that has opened nothing since it started. So closes are assigned
by volume: each position's closed volume is what is no longer open. If a deal may belong to two
positions, nothing is reported rather than something wrong. What was reported is in the ledger and
stays. What the server closes and opens again automatically is left out first (reopenings.py); which
of a position's closes exits of ours made: exit_deals.py.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from brokers.dwx import parse
from brokers.dwx.history_cache import TerminalHistory
from brokers.dwx.parse import STOP_OUT, MalformedError, OtherPlatformError, Snapshot
from brokers.dwx.sent_commands import CLOSE, SentCommand, most_likely_first
from brokers.types import CloseCause, Side

SIDES = {"buy": Side.BUY, "sell": Side.SELL}
IN, OUT, IN_OUT = "entry_in", ("entry_out", "entry_out_by"), "in_out"


@dataclass(frozen=True, slots=True)
class Deal:
    """One execution. side: of the deal itself; at: the broker server's time, without a zone; again:
    by it the server opened a position again whose first opening the history does not have."""

    number: int
    magic: int
    symbol: str
    lots: Decimal
    side: Side
    entry: str
    at: datetime
    price: Decimal
    commission: Decimal
    comment: str
    swap: Decimal = Decimal(0)
    again: bool = False

    @property
    def cause(self) -> CloseCause | None:
        """Which level closed it, by the broker's mark; None: no level did."""
        comment = self.comment.lower()
        if "[sl" in comment:
            return CloseCause.STOP_LOSS
        return CloseCause.TAKE_PROFIT if "[tp" in comment else None

    @property
    def is_stop_out(self) -> bool:
        """Whether the broker marked it as a stop-out."""
        return STOP_OUT.search(self.comment.lower()) is not None

    @property
    def is_unmarked_close(self) -> bool:
        """Whether it closed, and no mark states a level or a stop-out as the cause."""
        return self.entry in OUT and self.cause is None and not self.is_stop_out

    @property
    def reported_cause(self) -> CloseCause:
        """Why it closed without an exit of ours: a level, a stop-out, else its owner."""
        return self.cause or (CloseCause.STOP_OUT if self.is_stop_out else CloseCause.EXTERNAL)


@dataclass(slots=True)
class HeldPosition:
    """A position of ours. entered: how it was opened, or opened again; remaining_lots: what was
    closed and has no deal yet; reported: numbers of the closes that the ledger has (exit_deals.py
    states which of them exits of ours made)."""

    magic: int
    symbol: str
    side: Side
    entered: list[Deal]
    remaining_lots: Decimal
    closed: list[Deal] = field(default_factory=list)
    reported: set[int] = field(default_factory=set)

    @property
    def filled(self) -> list[Deal]:
        """The deals that filled its entry."""
        return [one for one in self.entered if not one.again]

    def may_own(self, deal: Deal) -> bool:
        """Whether a deal may have closed it."""
        is_later = deal.number > self.entered[0].number
        return is_later and deal.lots <= self.remaining_lots and deal.side is self.side.opposite

    def own(self, deal: Deal) -> None:
        """Count a deal as having closed it."""
        self.closed.append(deal)
        self.remaining_lots -= deal.lots


class _Pairs(dict[str, Any]):
    """An object whose keys may come twice: an order that was filled in part has the ticket of its
    position."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def snapshot(raw: bytes) -> Snapshot:
    """Read DWX_Orders.txt. What is still on its way to the market, a market order without a price,
    is neither a position nor an order that waits. Raises MalformedError."""
    found = parse.loads(parse.text_of(raw), _Pairs)
    try:
        account = parse.account_of(found)
        fields = found["orders"].pairs
        if any("commission" in one for _, one in fields):
            raise OtherPlatformError("it is MetaTrader 4's, and this is for MetaTrader 5")
        tickets, unread = parse.read_lines(
            fields, lambda key, one: parse.ticket(key, {**one, "commission": 0})
        )
    except MalformedError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MalformedError(repr(error)) from error
    return Snapshot(account, tuple(one for one in tickets if one.price), unread)


def history(past: TerminalHistory, raw: bytes) -> tuple[Deal, ...]:
    """Read DWX_Historic_Trades.txt, oldest first, without deposits and the like.

    past: the terminal's cached records. Raises MalformedError."""
    return tuple(sorted(past.read(parse.text_of(raw), _read_deals), key=lambda one: one.number))


def _read_deals(text: str) -> tuple[Deal, ...]:
    try:
        found, unread = parse.read_lines(parse.loads(text).items(), _deal)
        if unread:  # a close by hand has no magic number, and may be of a position of ours
            raise MalformedError(unread[0])
    except MalformedError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MalformedError(repr(error)) from error
    return found


def _deal(number: str, fields: Mapping[str, Any]) -> Deal | None:
    if "deal_price" not in fields:  # a deposit has one, too
        raise OtherPlatformError("it is MetaTrader 4's, and this is for MetaTrader 5")
    lots = parse.number(fields["lots"])
    if fields["type"] not in SIDES or not lots:  # money, or a correction without a volume
        return None
    return Deal(
        int(number),
        int(fields["magic"]),
        str(fields["symbol"]),
        lots,
        SIDES[fields["type"]],
        str(fields["entry"]),
        parse.moment(fields["deal_time"]),
        parse.number(fields["deal_price"]),
        parse.cost(fields["commission"]),
        str(fields["comment"]),
        parse.cost(fields["swap"]),
    )


def assign_deals(
    deals: Sequence[Deal],
    names: Mapping[int, str],
    open_lots: Mapping[int, Decimal],
    commands: Sequence[SentCommand],
) -> dict[int, HeldPosition]:
    """Return our positions by magic number, each with the deals that closed it.

    names: client order ids by magic number; open_lots: what is open of each; commands: our exits
    that may have had an effect, and our entries. What the ledger has as a close of a position stays
    its close. `remaining_lots` is above zero if not all deals can be assigned; below zero the
    account is a netting account.
    """
    found: dict[int, HeldPosition] = {}
    for deal in deals:
        if deal.entry == IN and parse.client_order_id_of(deal, names):
            held = found.get(deal.magic)
            if held is None:
                still = open_lots.get(deal.magic, Decimal(0))
                held = found[deal.magic] = HeldPosition(
                    deal.magic, deal.symbol, deal.side, [], -still
                )
            held.entered.append(deal)
            held.remaining_lots += deal.lots
    groups: dict[tuple[str, Side], list[HeldPosition]] = defaultdict(list)
    for held in found.values():
        groups[held.symbol, held.side].append(held)
    out: dict[tuple[str, Side], list[Deal]] = defaultdict(list)
    for deal in deals:
        # A deal with another program's magic number is that program's. A closing deal of ours has
        # that of the order that was placed last, filled or not.
        is_ours = deal.magic in found or deal.magic in names
        if deal.entry in OUT and (deal.magic == 0 or is_ours):
            out[deal.symbol, deal.side.opposite].append(deal)
    owners = {number: one.magic for one in commands for number in one.deals}
    exits = most_likely_first(one for one in commands if one.action == CLOSE and not one.deals)
    for like, group in groups.items():
        first = min(held.entered[0].number for held in group)
        later = [one for one in out[like] if one.number > first]
        _assign(group, _without_reported(found, later, owners), exits)
    return found


def _without_reported(
    held: Mapping[int, HeldPosition], out: Sequence[Deal], owners: Mapping[int, int]
) -> list[Deal]:
    """Let positions own the closes that the ledger has as theirs, and return the others. owners:
    their magic numbers by the deals' numbers."""
    left = []
    for deal in out:
        owner = held.get(owners.get(deal.number, 0))
        if owner is None:
            left.append(deal)
        else:
            owner.own(deal)
            owner.reported.add(deal.number)
    return left


def _assign(group: Sequence[HeldPosition], out: list[Deal], exits: Sequence[SentCommand]) -> None:
    by_magic = {held.magic: held for held in group}
    for deal in [one for one in out if one.cause]:
        owner = by_magic.get(deal.magic)
        if owner is not None and owner.may_own(deal):
            owner.own(deal)
            out.remove(deal)
    sent_later: dict[Decimal, list[SentCommand]] = defaultdict(list)  # than the deal
    for command in exits:
        if command.magic in by_magic:
            sent_later[command.lots].append(command)
    sent: dict[Decimal, list[SentCommand]] = defaultdict(list)  # the most likely last
    for deal in [one for one in out if one.is_unmarked_close]:
        later, may_be = sent_later[deal.lots], sent[deal.lots]
        while later and later[-1].after < deal.number:
            may_be.append(later.pop())
        for index in reversed(range(len(may_be))):
            owner = by_magic[may_be[index].magic]
            if owner.may_own(deal):
                owner.own(deal)
                out.remove(deal)
                del may_be[index]
                break
    while _eliminate(group, out):
        pass


def _eliminate(group: Sequence[HeldPosition], out: list[Deal]) -> bool:
    """Assign one deal that can only belong to one position. Return whether there was one.

    Only if all remaining deals are needed, so that none of them can be external."""
    if sum((held.remaining_lots for held in group), Decimal(0)) != sum(
        (d.lots for d in out), Decimal(0)
    ):
        return False
    for deal in out:
        owners = [held for held in group if held.may_own(deal)]
        if len(owners) == 1:
            owners[0].own(deal)
            out.remove(deal)
            return True
    return False


def shows_netting(deals: Sequence[Deal]) -> bool:
    """Whether the account nets: a deal turned a position, or an entry of ours opened nothing and
    reduced what was open."""
    opened = {deal.magic for deal in deals if deal.entry == IN}
    return any(
        deal.entry == IN_OUT
        or (deal.entry in OUT and deal.magic not in opened and parse.client_order_id_of(deal, {}))
        for deal in deals
    )
