"""One account at the fake server: its orders, positions and deals, and the trading rules."""

from collections.abc import Callable
from itertools import count
from typing import Any

BUY, SELL = 0, 1
BY_HAND, EXPERT, BY_SL, BY_TP = 0, 3, 4, 5
CLOSE_BY = 8  # of an order
OUT_BY = 3  # of a deal: its entry
CANCELED, PARTIAL, FILLED, EXPIRED = 2, 3, 4, 6
SPECIFIED = 2  # of an order's lifetime: until its expiry
HEDGING = 2
BALANCE, CREDIT = 2, 3  # of a deal
OPENED_AT = 1_600_000_000_000  # milliseconds: of the first deposit
_tickets = count(500_001)
_deals = count(700_001)


def _money_deal(ticket: int, amount: float, now: int, kind: int = BALANCE) -> dict[str, Any]:
    """Return the row of a deal that is no trade. now: milliseconds."""
    return {
        "ticket": ticket, "order": 0, "time": now // 1000, "time_msc": now, "type": kind,
        "entry": 0, "magic": 0, "position_id": 0, "reason": 0, "volume": 0.0, "price": 0.0,
        "commission": 0.0, "swap": 0.0, "profit": amount, "fee": 0.0, "symbol": "",
        "comment": "", "external_id": "",
    }  # fmt: skip


def continue_numbers(highest: int) -> None:
    """Continue the ticket numbers after the highest that was used."""
    global _tickets, _deals
    _tickets, _deals = count(max(500_001, highest + 100_001)), count(max(700_001, highest + 1))


class AccountModel:
    """One account.

    now: returns the server's wall clock in milliseconds.
    """

    def __init__(self, login: int, margin_mode: int, now: Callable[[], int]) -> None:
        self.login, self.margin_mode, self._now = login, margin_mode, now
        self.balance, self.leverage, self.password = 10_000.0, 30, "secret"
        self.credit = 0.0
        self.may_trade = self.may_expert = True
        self.server = "Double-Demo"
        self.orders: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.positions: list[dict[str, Any]] = []
        self.deals: list[dict[str, Any]] = []
        self.opening = _money_deal(1, 10_000.0, OPENED_AT)
        self.history_loaded = True  # after a login a terminal has none of it for a while
        self.late: set[int] = set()  # deals that history does not show yet
        self.accepted: list[dict[str, Any]] = []  # the journal: every accepted request
        self.comments: Callable[[str], str] = lambda comment: comment
        self.fill_share = 1.0  # the share of a market order that is filled
        self.partial_state = (
            CANCELED  # of a market order that was filled in part; some write FILLED
        )
        self.pieces = 1  # the number of deals for each fill
        self.hide_deals = False
        self.drop_levels = False  # of market orders and level changes, silently

    # ---- orders ---------------------------------------------------------------------------
    def order(self, request: dict[str, Any], reason: int = EXPERT) -> dict[str, Any]:
        """Return a new order's row. It is not stored yet."""
        now = self._now()
        if self.drop_levels and request.get("action") == 1:
            request = {**request, "sl": 0.0, "tp": 0.0}
        return {
            "ticket": next(_tickets), "time_setup": now // 1000, "time_setup_msc": now,
            "time_done": 0, "time_done_msc": 0, "time_expiration": request.get("expiration", 0),
            "type": request["type"], "type_time": request.get("type_time", 0),
            "type_filling": request.get("type_filling", 0), "state": 1,
            "magic": request.get("magic", 0), "position_id": request.get("position", 0),
            "position_by_id": 0, "reason": reason, "volume_initial": request["volume"],
            "volume_current": request["volume"], "price_open": request.get("price", 0.0),
            "sl": request.get("sl", 0.0), "tp": request.get("tp", 0.0), "price_current": 0.0,
            "price_stoplimit": request.get("stoplimit", 0.0), "symbol": request["symbol"],
            "comment": self.comments(request.get("comment", "")), "external_id": "",
        }  # fmt: skip

    def end(self, order: dict[str, Any], state: int) -> None:
        """Move an order to history."""
        order["state"], now = state, self._now()
        order["time_done"], order["time_done_msc"] = now // 1000, now
        self.orders = [other for other in self.orders if other is not order]
        self.history.append(order)

    def execute(
        self,
        order: dict[str, Any],
        price: float,
        share: float = 1.0,
        *,
        keep_rest: bool = False,
    ) -> list[int]:
        """Fill an order or a share of it. Return the deals' tickets.

        keep_rest: the rest of a partial fill stays as a working order; else it is cancelled.
        """
        volume = round(order["volume_initial"] * share, 8)
        deals = []
        for _ in range(self.pieces):
            piece = round(volume / self.pieces, 8)
            deals.append(self._trade(order, piece, price))
        order["volume_current"] = round(order["volume_initial"] - volume, 8)
        if keep_rest and order["volume_current"]:
            order["state"] = PARTIAL
            return deals
        self.end(order, FILLED if share == 1.0 else self.partial_state)
        return deals

    def _trade(self, order: dict[str, Any], volume: float, price: float) -> int:
        side = BUY if order["type"] in (0, 2, 4, 6) else SELL
        position = self._position_of(order, side)
        if position is None:
            position = self._open(order, side, price)
            entry = 0
        elif position["type"] == side:
            total = position["volume"] + volume
            position["price_open"] = (
                position["price_open"] * position["volume"] + price * volume
            ) / total
            entry = 0
        else:
            entry = 1 if volume <= position["volume"] + 1e-9 else 2
        swap = self._release_swap(position, volume) if entry else 0.0
        self._change_volume(position, side, volume, entry, price)
        order["position_id"] = position["identifier"]
        return self._deal(order, position, side, volume, price, entry, swap)

    def _position_of(self, order: dict[str, Any], side: int) -> dict[str, Any] | None:
        for position in self.positions:
            if self.margin_mode == HEDGING:
                matches = order["position_id"] in (position["ticket"], position["identifier"])
            else:
                matches = position["symbol"] == order["symbol"]
            if matches:
                return position
        return None

    def _open(self, order: dict[str, Any], side: int, price: float) -> dict[str, Any]:
        now = self._now()
        position = {
            "ticket": order["ticket"], "time": now // 1000, "time_msc": now,
            "time_update": now // 1000, "time_update_msc": now, "type": side,
            "magic": order["magic"], "identifier": order["ticket"], "reason": order["reason"],
            "volume": 0.0, "price_open": price, "sl": order["sl"], "tp": order["tp"],
            "price_current": price, "swap": 0.0, "profit": 0.0, "symbol": order["symbol"],
            "comment": order["comment"], "external_id": "",
        }  # fmt: skip
        order["position_id"] = order["ticket"]
        self.positions.append(position)
        return position

    def _change_volume(
        self, position: dict[str, Any], side: int, volume: float, entry: int, price: float
    ) -> None:
        if entry == 0:
            position["volume"] = round(position["volume"] + volume, 8)
            return
        position["volume"] = round(position["volume"] - volume, 8)
        if position["volume"] < 0:  # netting: the position reverses
            position.update(type=side, volume=-position["volume"], price_open=price)
        if position["volume"] == 0:
            self.positions = [other for other in self.positions if other is not position]

    def _deal(
        self, order: dict[str, Any], position: dict[str, Any], side: int, volume: float,
        price: float, entry: int, swap: float,
    ) -> int:  # fmt: skip
        now, ticket = self._now(), next(_deals)
        self.deals.append({
            "ticket": ticket, "order": order["ticket"], "time": now // 1000, "time_msc": now,
            "type": side, "entry": entry, "magic": order["magic"],
            "position_id": position["identifier"], "reason": order["reason"], "volume": volume,
            "price": price, "commission": -round(volume * 3.5, 2), "swap": swap, "profit": 0.0,
            "fee": 0.0, "symbol": order["symbol"], "comment": order["comment"], "external_id": "",
        })  # fmt: skip
        if self.hide_deals:
            self.late.add(ticket)
        return ticket

    def close_by(self, ticket: int, opposite: int) -> None:
        """Close two opposite positions by each other, as the owner does by hand: one order with a
        deal for each of them."""
        pair = [row for row in self.positions if row["ticket"] in (ticket, opposite)]
        volume = min(row["volume"] for row in pair)
        order = self.order(
            {"type": CLOSE_BY, "volume": volume, "symbol": pair[0]["symbol"], "position": ticket},
            BY_HAND,
        )
        order.update(position_by_id=opposite, volume_current=0.0)
        self.end(order, FILLED)
        for row in pair:
            side = SELL if row["type"] == BUY else BUY
            swap = self._release_swap(row, volume)
            self._deal(order, row, side, volume, pair[0]["price_open"], OUT_BY, swap)
            row["volume"] = round(row["volume"] - volume, 8)
        self.positions = [row for row in self.positions if row["volume"]]

    def roll_over(self, amount: float) -> None:
        """Charge or credit each open position for a night; it is booked when it closes."""
        for position in self.positions:
            position["swap"] = round(position["swap"] + amount, 2)

    def reopen(
        self, position: dict[str, Any], reason: int, *, closed: float, again: float,
        has_mark: bool = True, seconds_ago: int = 0,
    ) -> None:  # fmt: skip
        """Close lots of a position by the server itself, and open some of it again.

        Its identifier stays; its ticket is the second order's. reason: ENUM_DEAL_REASON. has_mark:
        the orders and deals have the position's magic number.
        """
        before = len(self.deals)
        sides = (SELL, BUY) if position["type"] == BUY else (BUY, SELL)
        for entry, side, lots in ((1, sides[0], closed), (0, sides[1], again)):
            if not lots:
                continue
            order = self.order(
                {
                    "type": side, "volume": lots, "symbol": position["symbol"],
                    "position": position["identifier"], "comment": "rollover",
                    "magic": position["magic"] if has_mark else 0,
                },
                reason,
            )  # fmt: skip
            order["volume_current"] = 0.0
            self.end(order, FILLED)
            swap = self._release_swap(position, lots) if entry else 0.0
            self._deal(order, position, side, lots, position["price_current"], entry, swap)
            position["volume"] = round(position["volume"] + (-lots if entry else lots), 8)
            position["ticket"] = position["ticket"] if entry else order["ticket"]
        for deal in self.deals[before:]:
            deal["time"] -= seconds_ago
            deal["time_msc"] -= 1000 * seconds_ago
        self.positions = [row for row in self.positions if row["volume"]]

    def _release_swap(self, position: dict[str, Any], volume: float) -> float:
        """Take the part of a position's swap that its close books, and return it."""
        share = min(1.0, volume / position["volume"])
        swap: float = round(position["swap"] * share, 2)
        position["swap"] = round(position["swap"] - swap, 2)
        self.balance += swap
        return swap

    def book(self, kind: int, amount: float, *, ahead_seconds: int = 0) -> int:
        """Book a deal that is no trade; return its ticket. kind: ENUM_DEAL_TYPE.

        ahead_seconds: by how much its time is after the clock's.
        """
        now, ticket = self._now() + 1000 * ahead_seconds, next(_deals)
        if kind == CREDIT:
            self.credit += amount
        else:
            self.balance += amount
        self.deals.append(_money_deal(ticket, amount, now, kind))
        return ticket

    # ---- the market -----------------------------------------------------------------------
    def quote(self, symbol: str, bid: float, ask: float) -> None:
        """Execute the working orders and levels that a price reaches."""
        self.expire()
        for order in [row for row in self.orders if row["symbol"] == symbol]:
            self._trigger(order, bid, ask)
            level, order_type = order["price_open"], order["type"]
            is_reached = {2: ask <= level, 3: bid >= level, 4: ask >= level, 5: bid <= level}
            if is_reached.get(order_type):
                self.execute(order, ask if order_type in (2, 4) else bid)
        for position in [row for row in self.positions if row["symbol"] == symbol]:
            price = bid if position["type"] == BUY else ask
            sign = 1 if position["type"] == BUY else -1
            if position["sl"] and (price - position["sl"]) * sign <= 0:
                self.close(position, price, BY_SL, f"[sl {position['sl']}]")
            elif position["tp"] and (price - position["tp"]) * sign >= 0:
                self.close(position, price, BY_TP, f"[tp {position['tp']}]")

    def _trigger(self, order: dict[str, Any], bid: float, ask: float) -> None:
        """Turn a stop-limit order whose stop price is reached into a limit order: the same ticket
        at its second price."""
        level, kind = order["price_open"], order["type"]
        if (kind == 6 and ask >= level) or (kind == 7 and bid <= level):
            order.update(type=kind - 4, price_open=order["price_stoplimit"], price_stoplimit=0.0)

    def expire(self) -> None:
        """End the orders whose expiry has passed."""
        now = self._now() // 1000
        for order in [row for row in self.orders if row["type_time"] == SPECIFIED]:
            if order["time_expiration"] <= now:
                self.end(order, EXPIRED)

    def close(
        self, position: dict[str, Any], price: float, reason: int, comment: str,
        volume: float | None = None, magic: int | None = None,
    ) -> None:  # fmt: skip
        """Close a position from the server's side or by hand.

        magic: the order's magic number; the position's by default.
        """
        order = self.order(
            {
                "type": SELL if position["type"] == BUY else BUY,
                "volume": volume or position["volume"],
                "symbol": position["symbol"],
                "position": position["ticket"],
                "magic": position["magic"] if magic is None else magic,
                "comment": comment,
            },
            reason,
        )
        self.execute(order, price)
