"""Parse the expert advisor's files. Pure.

Source: DWX_Server_MT4.mq4 1.0 of github.com/darwinex/dwxconnect (its StringFormat lines), read on
2026-11-20. Texts are put into the JSON unescaped, prices with five decimals, lots with two.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from typing import Any, Protocol, TypeVar

from brokers.dwx.history_cache import MAX_RECORDS, TerminalHistory
from brokers.dwx.unescaped import escaped, says_more, without_no_numbers
from brokers.types import CloseCause, HeldLevels, OrderType, Side

T = TypeVar("T")
TYPES: dict[tuple[Side, OrderType], str] = {
    (Side.BUY, OrderType.MARKET): "buy",
    (Side.SELL, OrderType.MARKET): "sell",
    (Side.BUY, OrderType.LIMIT): "buylimit",
    (Side.SELL, OrderType.LIMIT): "selllimit",
    (Side.BUY, OrderType.STOP): "buystop",
    (Side.SELL, OrderType.STOP): "sellstop",
}
TYPE_BY_WORD = {word: meaning for meaning, word in TYPES.items()}
OURS = re.compile(r"[a-z0-9]{1,18}")
STOP_OUT = re.compile(r"^\[?so[ :]|so: ?\d+(\.\d+)?%")  # the broker's mark, lower case
FROM, TO = re.compile(r"from #(\d+)"), re.compile(r"to #(\d+)")
OTHER_PLATFORM = "it is MetaTrader 5's, and this is for MetaTrader 4"
HALF_POINT = Decimal("0.000005")
_decoder = partial(json.JSONDecoder, parse_float=Decimal, strict=False)
_DECODER = _decoder()


class MalformedError(ValueError):
    """The file is half-written, or not what the expert advisor writes: `raw`, as far as known."""

    raw = b""


class OtherPlatformError(MalformedError):
    """The file is whole, and the other MetaTrader's: reading it again does not help."""


class Marked(Protocol):
    """What carries our mark: a ticket, a deal."""

    @property
    def magic(self) -> int: ...
    @property
    def comment(self) -> str: ...
    @property
    def symbol(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Account:
    number: str
    currency: str
    leverage: Decimal
    balance: Decimal
    equity: Decimal
    free_margin: Decimal


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order, a position or what became of one: MT4 keeps them under one number.

    Times are the broker server's, without a zone. closed_at: None while it is open.
    """

    number: int
    magic: int
    symbol: str
    lots: Decimal
    side: Side
    order_type: OrderType
    price: Decimal
    opened_at: datetime
    stop_loss: Decimal | None
    take_profit: Decimal | None
    commission: Decimal
    comment: str
    close_price: Decimal = Decimal(0)
    closed_at: datetime | None = None
    swap: Decimal = Decimal(0)

    @property
    def is_position(self) -> bool:
        """Whether it has been filled; what waits or was deleted unfilled keeps another type."""
        return self.order_type is OrderType.MARKET

    @property
    def origin(self) -> int | None:
        """The ticket whose partial close left this one, if the comment names it; else None."""
        found = FROM.search(self.comment) if "#" in self.comment else None
        return int(found[1]) if found else None

    @property
    def remainder(self) -> int | None:
        """The ticket that a partial close of this one left, if the comment names it; else None."""
        found = TO.search(self.comment) if "#" in self.comment else None
        return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """DWX_Orders.txt: the account and all that is open."""

    account: Account
    tickets: tuple[Ticket, ...]
    unread: tuple[str, ...] = ()  # lines of others that cannot be read


@dataclass(frozen=True, slots=True)
class Message:
    """A line of DWX_Messages.txt. kind: the error type, '' for INFO."""

    key: int
    kind: str
    text: str


def magic_of(client_order_id: str) -> int:
    """Return the magic number of an order: positive, 31 bits, from all of its id.

    It is not our row's id: a look-up only has the client order id, a restored database uses row ids
    again, and MT4's magic number is an int32.
    """
    digest = hashlib.blake2b(client_order_id.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF or 1


def client_order_id_of(ticket: Marked, names: Mapping[int, str]) -> str:
    """Return whose order a ticket is: by its comment where the magic number confirms it, else by
    the magic number among those that we remember (brokers cut and rewrite comments); '' if not
    known to be ours."""
    ours = _confirmed(ticket.comment, ticket.magic)
    return ours or (names.get(ticket.magic, "") if ticket.magic else "")


def is_order(ticket: Marked, client_order_id: str) -> bool:
    """Whether a ticket is, or came from, the order of this id."""
    if ticket.magic == magic_of(client_order_id):
        return _confirmed(ticket.comment, ticket.magic) in ("", client_order_id)
    return ticket.comment == client_order_id and ticket.magic == 0


@lru_cache(maxsize=MAX_RECORDS)  # each look asks it of all tickets
def _confirmed(comment: str, magic: int) -> str:
    """The id at the comment's beginning ("[sl]" may follow), if the magic number is that id's."""
    found = OURS.match(comment)
    return found[0] if found and magic_of(found[0]) == magic else ""


def levels_of(ticket: Ticket) -> HeldLevels:
    """Return what the terminal shows that a ticket has."""
    return HeldLevels(ticket.stop_loss, ticket.take_profit)


def cause_of(ticket: Ticket) -> CloseCause:
    """Return why a ticket was closed that no order of ours closed.

    By the broker's mark in the comment, else by the price: a close at exactly a level's price was
    caused by that level.
    """
    comment = ticket.comment.lower()
    if STOP_OUT.search(comment):
        return CloseCause.STOP_OUT
    if "[sl" in comment:
        return CloseCause.STOP_LOSS
    if "[tp" in comment:
        return CloseCause.TAKE_PROFIT
    if is_same_price(ticket.close_price, ticket.stop_loss):
        return CloseCause.STOP_LOSS
    if is_same_price(ticket.close_price, ticket.take_profit):
        return CloseCause.TAKE_PROFIT
    return CloseCause.EXTERNAL


def is_same_price(one: Decimal | None, other: Decimal | None) -> bool:
    """Whether two prices are one, as far as the files can show it; None is no price."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= HALF_POINT


def load(raw: bytes) -> dict[str, Any]:
    """Read a file's JSON. Raises MalformedError for a half-written one."""
    return loads(text_of(raw))


def loads(text: str, keep: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """The same of a text. keep: makes something else of an object's pairs."""
    decode = (_decoder(object_pairs_hook=keep) if keep else _DECODER).decode
    try:
        found = decode(escaped(text) if says_more(text) else text)
    except ValueError:
        try:
            found = decode(without_no_numbers(escaped(text)))
        except ValueError as error:
            raise MalformedError(str(error)) from error
    if not isinstance(found, dict):
        raise MalformedError("not an object")
    return found


def text_of(raw: bytes) -> str:
    """MT4 writes the machine's code page, some builds UTF-16; our own fields are all ASCII."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def snapshot(raw: bytes) -> Snapshot:
    """Read DWX_Orders.txt. Raises MalformedError."""
    found = load(raw)
    try:
        account = account_of(found)
        if any("commission" not in one for one in found["orders"].values()):
            raise OtherPlatformError(OTHER_PLATFORM)
        tickets, unread = read_lines(found["orders"].items(), ticket)
    except MalformedError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MalformedError(repr(error)) from error
    return Snapshot(account, tickets, unread)


def read_lines(
    lines: Iterable[tuple[str, Any]], read: Callable[[str, Any], T | None]
) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """Read records; return them, and the lines of others that cannot be read.

    One odd line of others must not hide what is ours. What has a magic number may be ours: then the
    error names the line. Raises MalformedError."""
    found, unread = [], []
    for key, line in lines:
        try:
            one = read(key, line)
        except OtherPlatformError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            named = f"the line of {key[:20]} cannot be read: {str(line)[:120]}"
            if not (isinstance(line, dict) and line.get("magic") == 0):
                raise MalformedError(f"{named} ({error!r})") from error
            unread.append(named)
        else:
            if one is not None:
                found.append(one)
    return tuple(found), tuple(unread)


def account_of(found: Mapping[str, Any]) -> Account:
    """Read the account of an orders file. Raises KeyError, MalformedError."""
    value = found["account_info"]
    return Account(
        str(value["number"]), str(value["currency"]), number(value["leverage"]),
        number(value["balance"]), number(value["equity"]), number(value["free_margin"]),
    )  # fmt: skip


def history(past: TerminalHistory, raw: bytes) -> tuple[Ticket, ...]:
    """Read DWX_Historic_Trades.txt without deposits and the like. past: the terminal's cached
    records. Raises MalformedError."""
    return past.read(text_of(raw), _closed)


def _closed(text: str) -> tuple[Ticket, ...]:
    try:
        value = loads(text)
        if any("deal_price" in one for one in value.values()):
            raise OtherPlatformError(OTHER_PLATFORM)
        return read_lines(value.items(), ticket)[0]
    except MalformedError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MalformedError(repr(error)) from error


def messages(raw: bytes) -> list[Message]:
    """Read DWX_Messages.txt, oldest first. Raises MalformedError."""
    try:
        found = [
            Message(
                int(key),
                str(one["error_type"]) if one["type"] == "ERROR" else "",
                str(one["description"] if one["type"] == "ERROR" else one["message"]),
            )
            for key, one in load(raw).items()
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedError(repr(error)) from error
    return sorted(found, key=lambda one: one.key)


def ticket(key: str, value: Mapping[str, Any]) -> Ticket | None:
    """Read one line; None: a deposit or the like. Raises KeyError, TypeError, ValueError."""
    meaning = TYPE_BY_WORD.get(value["type"])
    if meaning is None:
        return None  # a deposit or a credit
    closed = value.get("close_time")
    return Ticket(
        int(key), int(value["magic"]), str(value["symbol"]), number(value["lots"]), *meaning,
        number(value["open_price"]), moment(value["open_time"]), _level(value["SL"]),
        _level(value["TP"]), cost(value["commission"]), str(value["comment"]),
        number(value.get("close_price", 0)), moment(closed) if closed else None,
        cost(value["swap"]),
    )  # fmt: skip


@lru_cache(maxsize=4096)  # each read repeats the times of what is open
def moment(text: str) -> datetime:
    """Read '2022.09.01 17:57:12': the broker server's time. Raises ValueError."""
    return datetime.strptime(text, "%Y.%m.%d %H:%M:%S")  # noqa: DTZ007


def _level(value: Any) -> Decimal | None:
    """Return a stop or target; None for 0 and for what is no number: then we guard it."""
    return cost(value) or None


def cost(value: Any) -> Decimal:
    """Read what something has cost; 0 for what is no number: what it was for has happened."""
    try:
        return number(value)
    except (MalformedError, TypeError):
        return Decimal(0)


def number(value: Any) -> Decimal:
    """Read a number. Raises MalformedError."""
    try:
        found = Decimal(value)
    except (InvalidOperation, ValueError) as error:
        raise MalformedError(f"{value!r} is not a number") from error
    if not found.is_finite():
        raise MalformedError(f"{value!r} is not a number")
    return found
