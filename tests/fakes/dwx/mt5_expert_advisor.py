"""The expert advisor of MetaTrader 5, and a trade server with hedging or netting.

DWX_Server_MT5.mq5 differs from the one of MetaTrader 4: positions keep their tickets; open
positions have no commission; the history consists of deals, without their orders and positions;
errors are numbers; a close has the magic number of the last order that was opened.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.fakes.dwx.expert_advisor import ExpertAdvisor
from tests.fakes.dwx.trade_server import Ticket, TradeError, TradeServer

MOMENT = "%Y.%m.%d %H:%M:%S"
SEND_FAILED, DISABLED = "ErrorCode: 4756", "ErrorCode: 4752"


@dataclass
class Deal:
    number: int
    magic: int
    symbol: str
    lots: float
    type: str
    entry: str
    at: str
    price: float
    commission: float = 0.0
    comment: str = ""
    swap: float = 0.0


class Mt5TradeServer(TradeServer):
    """One account. Its deals are on disk, too."""

    def __init__(self, state_folder: Path) -> None:
        self.deals: list[Deal] = []
        self.other_deals: dict[str, list[Deal]] = {}  # by account
        self.unlisted: set[int] = set()  # magic numbers: filled, and not yet in any file
        self.taken_away: dict[int, Ticket] = {}
        self.last_magic = 0  # lost when the expert advisor restarts
        path = state_folder / "deals.json"
        if path.exists():
            self.deals = [Deal(**values) for values in json.loads(path.read_text())]
        self.is_netting = (state_folder / "netting").exists()
        super().__init__(state_folder)

    def save(self) -> None:
        super().save()
        fresh = self._state_folder / "deals.new"
        fresh.write_text(json.dumps([asdict(one) for one in self.deals]))
        fresh.replace(self._state_folder / "deals.json")

    def log_in(self, account: str) -> None:
        self.other_deals[self.state.account] = self.deals
        self.deals = self.other_deals.pop(account, [])
        super().log_in(account)

    def send(self, ticket: Ticket) -> int:
        at_market = ticket.type in ("buy", "sell")
        other = next((t for t in self.state.tickets.values() if t.symbol == ticket.symbol), None)
        if at_market and self.is_netting and other is not None:
            return self._net(ticket, other)
        number = super().send(ticket)
        ticket.commission = 0.0
        if at_market:
            self._deal(ticket, ticket.lots, "entry_in", ticket.price, ticket.magic, ticket.comment)
        elif self.faults.get("fill_half"):
            self.trigger(number, round(ticket.lots / 2, 2))
        self.save()
        return number

    def delete(self, number: int, mark: str = "cancelled") -> None:
        """End a working order. The rest of a partial fill has the ticket of its position."""
        rest = self.state.tickets.pop(f"{number}w", None)
        if rest is None:
            super().delete(number, mark)
        else:
            self.record("delete", rest)

    def trigger(self, number: int, lots: float = 0) -> None:
        """Fill a working order, or `lots` of it: the rest keeps working under the same ticket."""
        ticket = self.state.tickets[str(number)]
        part = lots or ticket.lots
        self.unlisted = {ticket.magic} if self.faults.get("unlisted") else set()
        super().trigger(number)
        if part < ticket.lots:
            rest = Ticket(**{**asdict(ticket), "lots": round(ticket.lots - part, 2)})
            rest.type = f"{ticket.type}limit"
            self.state.tickets[f"{number}w"] = rest
            ticket.lots = part
        self._deal(ticket, part, "entry_in", ticket.price, ticket.magic, ticket.comment)
        self.save()

    def trigger_rest(self, number: int) -> None:
        """Fill what a partial fill has left; its position may be closed."""
        ticket = self.state.tickets.pop(f"{number}w")
        ticket.type = ticket.type.removesuffix("limit")
        self.state.tickets[str(number)] = ticket
        self._deal(ticket, ticket.lots, "entry_in", ticket.price, ticket.magic, ticket.comment)
        self.record("trigger", ticket)

    def close(
        self, number: int, lots: float, mark: str = "", at: float | None = None, magic: int = -1
    ) -> None:
        """Close a position or a part of it; it keeps its ticket.

        magic: the deal's; by default the position's if a level closed it, else 0.
        """
        ticket = self.state.tickets.get(str(number))
        if ticket is None or not 0 < lots <= ticket.lots + 1e-9:
            raise TradeError("10014")
        bid, ask = self.state.prices[ticket.symbol]
        price = at if at is not None else bid if ticket.type == "buy" else ask
        ticket.lots = round(ticket.lots - lots, 2)
        if ticket.lots <= 0:
            del self.state.tickets[str(number)]
        own = ticket.magic if mark else 0
        self._deal(ticket, lots, "entry_out", price, own if magic < 0 else magic, mark)
        self.record("close", Ticket(**{**asdict(ticket), "lots": lots, "comment": mark}))

    def take_away(self, number: int, *, has_mark: bool = True) -> None:
        """Close a position by the server itself, which `open_again` opens again.

        has_mark: the deal has the position's magic number."""
        ticket = self.state.tickets.pop(str(number))
        self.taken_away[number] = ticket
        magic = ticket.magic if has_mark else 0
        self._deal(ticket, ticket.lots, "entry_out", ticket.price, magic, "rollover")
        self.record("take_away", ticket)

    def open_again(self, number: int, *, has_mark: bool = True) -> None:
        """Open again what the server took away, under a new ticket."""
        ticket = self.taken_away.pop(number)
        magic = ticket.magic if has_mark else 0
        self._deal(ticket, ticket.lots, "entry_in", ticket.price, magic, "rollover")
        self.state.last += 1
        ticket.number = self.state.last
        self.state.tickets[str(ticket.number)] = ticket
        self.record("open_again", ticket)

    def age(self, seconds: float) -> None:
        """Let all deals have happened so much earlier."""
        for deal in self.deals:
            at = datetime.strptime(deal.at, MOMENT).replace(tzinfo=UTC)
            deal.at = (at - timedelta(seconds=seconds)).strftime(MOMENT)

    def _net(self, ticket: Ticket, position: Ticket) -> int:
        bid, ask = self.state.prices[ticket.symbol]
        price = ask if ticket.type == "buy" else bid
        self.state.last += 1
        if position.type == ticket.type:
            position.lots = round(position.lots + ticket.lots, 2)
            self._deal(ticket, ticket.lots, "entry_in", price, ticket.magic, ticket.comment)
        else:
            self.close(
                position.number,
                min(ticket.lots, position.lots),
                ticket.comment,
                price,
                ticket.magic,
            )
        ticket.number = self.state.last
        self.record("open", ticket)
        return ticket.number

    def _deal(
        self, ticket: Ticket, lots: float, entry: str, price: float, magic: int, comment: str
    ) -> None:
        deal_type = ticket.type
        if entry == "entry_out":
            deal_type = "sell" if ticket.type == "buy" else "buy"
        pieces = int(self.faults.get("pieces", 1))
        for piece in range(pieces):
            part = round(lots / pieces, 2)
            if piece == 0:
                part = round(lots - (pieces - 1) * part, 2)
            self.state.last += 1
            number = self.state.last
            commission = -round(part * 3.5, 2)
            self.deals.append(
                Deal(
                    number,
                    magic,
                    ticket.symbol,
                    part,
                    deal_type,
                    entry,
                    self.now(),
                    price,
                    commission,
                    comment,
                    self.faults.get("swap", 0.0) if entry == "entry_out" else 0.0,
                )
            )


class Mt5ExpertAdvisor(ExpertAdvisor):
    server: Mt5TradeServer

    def make_server(self, state_folder: Path) -> Mt5TradeServer:
        return Mt5TradeServer(state_folder)

    def simulate_trigger(self, ticket: int, lots: float = 0) -> None:
        self.server.trigger(ticket, lots)

    def simulate_trigger_rest(self, ticket: int) -> None:
        self.server.trigger_rest(ticket)

    def simulate_take_away(self, ticket: int, **how: bool) -> None:
        self.server.take_away(ticket, **how)

    def simulate_open_again(self, ticket: int, **how: bool) -> None:
        self.server.open_again(ticket, **how)

    def simulate_reopen(self, ticket: int, **how: bool) -> None:
        self.server.take_away(ticket, **how)
        self.server.open_again(ticket, **how)

    def simulate_age(self, seconds: float) -> None:
        self.server.age(seconds)

    def simulate_delete(self, ticket: int) -> None:
        self.server.delete(ticket)

    def open_order(self, content: str) -> None:
        before = len(self.server.state.tickets)
        magic = int(content.split(",")[6])
        super().open_order(content)
        if len(self.server.state.tickets) != before:
            self.server.last_magic = magic

    def close_order(self, content: str) -> None:
        fields = content.split(",")
        number, lots = int(fields[0]), round(float(fields[1]), 2)
        ticket = self.server.state.tickets.get(str(number))
        mark = self.faults.get("stopped_first")
        if mark and ticket is not None:
            self.server.close(number, ticket.lots, mark)
        if self.faults.get("taken_away_first"):
            self.server.take_away(number)
        if first := self.faults.get("filled_first"):
            self.server.trigger(number, 0 if first is True else first)
        tickets = self.server.state.tickets
        found = tickets.get(str(number)) or tickets.get(f"{number}w")
        if found is None:
            text = f"Could not select order with ticket: {number}"
            return self.error("CLOSE_ORDER_SELECT_TICKET", text)
        order = found

        def act() -> None:
            if order.type not in ("buy", "sell"):
                self.server.delete(number)
            elif self.server.is_netting and lots < order.lots:
                raise TradeError("0")  # PositionClosePartial is for hedging accounts only
            else:
                part = lots if lots and lots < order.lots else order.lots
                self.server.close(number, part, magic=self.server.last_magic)
            self.info(f"Successfully closed order: {number}, {order.symbol}, {lots:.2f}")

        return self.trade("CLOSE_ORDER_TICKET", f"Could not close position {number}: ", act)

    def describe_error(self, error: TradeError) -> str:
        """Errors are numbers, nearly always the same one."""
        text = str(error)
        return text if text.startswith("ErrorCode") else SEND_FAILED

    def historic_trades(self, content: str) -> None:
        if self.faults.get("ignore_history_requests"):
            return
        is_hidden = self.faults.get("hide_history")
        first = self.faults.get("oldest_deal", 0)
        listed = [
            deal
            for deal in self.server.deals
            if deal.magic not in self.server.unlisted and deal.number >= first
        ]
        lines = [] if is_hidden else [_deal_record(deal) for deal in reversed(listed)]
        lines.append(
            '"7": {"magic": 0, "symbol": "", "lots": 0.00, "type": "balance", "entry": "entry_in", '
            '"deal_time": "2020.01.01 00:00:00", "deal_price": 0.00000, "pnl": 10000.00, '
            '"commission": 0.00, "swap": 0.00, "comment": ""}'
        )
        if self.faults.get("deals"):  # it is a MetaTrader 4
            lines = ['"9": {"magic": 0, "type": "buy", "open_price": 1.1}']
        self.write("Historic_Trades", "{" + ", ".join(lines) + "}")
        self.info("Successfully read historic trades.")
        self.server.unlisted = set()

    def visible_tickets(self) -> list[Ticket]:
        """Return the tickets in the orders file.

        The fault `unlisted`: a filled order is in no file until the history was written once.
        """
        tickets = super().visible_tickets()
        return [one for one in tickets if one.magic not in self.server.unlisted]

    def open_record(self, ticket: Ticket) -> str:
        text = super().open_record(ticket)
        head, _, tail = text.partition('"commission"')
        return head + tail.partition(", ")[2]


def _deal_record(deal: Deal) -> str:
    return (
        f'"{deal.number}": {{"magic": {deal.magic}, "symbol": "{deal.symbol}", '
        f'"lots": {deal.lots:.2f}, "type": "{deal.type}", "entry": "{deal.entry}", '
        f'"deal_time": "{deal.at}", "deal_price": {deal.price:.5f}, "pnl": 0.00, '
        f'"commission": {deal.commission:.2f}, "swap": {deal.swap:.2f}, '
        f'"comment": "{deal.comment}"}}'
    )


def advisor_of(folder: Path, state_folder: Path) -> Any:
    """Return the expert advisor for a folder: MetaTrader 5's if the file `metatrader5` exists."""
    is_mt5 = (state_folder / "metatrader5").exists()
    return (Mt5ExpertAdvisor if is_mt5 else ExpertAdvisor)(folder, state_folder)
