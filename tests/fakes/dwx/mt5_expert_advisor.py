"""The expert advisor of MetaTrader 5, and a trade server that hedges or nets.

What DWX_Server_MT5.mq5 does otherwise: positions keep their tickets, what is open shows no
commission, the history names deals and neither orders nor positions, errors are numbers, and what
it closes has the magic number of whatever it opened last.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.fakes.dwx.expert_advisor import ExpertAdvisor
from tests.fakes.dwx.trade_server import Ticket, TradeError, TradeServer

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


class Mt5TradeServer(TradeServer):
    """One account. Its deals are on disk as everything else."""

    def __init__(self, place: Path) -> None:
        self.deals: list[Deal] = []
        self.deals_away: dict[str, list[Deal]] = {}  # by account
        self.torn: set[int] = set()  # by magic: filled, and not in any file yet
        self.last_magic = 0  # of the expert advisor's object, gone with it
        if (place / "deals.json").exists():
            self.deals = [Deal(**one) for one in json.loads((place / "deals.json").read_text())]
        self.nets = (place / "nets").exists()
        super().__init__(place)

    def save(self) -> None:
        super().save()
        fresh = self._place / "deals.new"
        fresh.write_text(json.dumps([asdict(one) for one in self.deals]))
        fresh.replace(self._place / "deals.json")

    def log_in(self, account: str) -> None:
        self.deals_away[self.state.account] = self.deals
        self.deals = self.deals_away.pop(account, [])
        super().log_in(account)

    def send(self, ticket: Ticket) -> int:
        at_market = ticket.type in ("buy", "sell")
        other = next((t for t in self.state.tickets.values() if t.symbol == ticket.symbol), None)
        if at_market and self.nets and other is not None:
            return self._net(ticket, other)
        number = super().send(ticket)
        ticket.commission = 0.0
        if at_market:
            self._deal(ticket, ticket.lots, "entry_in", ticket.price, ticket.magic, ticket.comment)
        elif self.faults.get("halves"):
            self.trigger(number, round(ticket.lots / 2, 2))
        self.save()
        return number

    def delete(self, number: int, mark: str = "cancelled") -> None:
        """An order's end. The rest of one that was filled in part has its position's ticket."""
        rest = self.state.tickets.pop(f"{number}w", None)
        if rest is None:
            super().delete(number, mark)
        else:
            self.note("delete", rest)

    def trigger(self, number: int, lots: float = 0) -> None:
        """A waiting order is filled; of a part the rest waits on under the same ticket."""
        ticket = self.state.tickets[str(number)]
        part = lots or ticket.lots
        self.torn = {ticket.magic} if self.faults.get("torn") else set()
        super().trigger(number)
        if part < ticket.lots:
            rest = Ticket(**{**asdict(ticket), "lots": round(ticket.lots - part, 2)})
            rest.type = f"{ticket.type}limit"
            self.state.tickets[f"{number}w"] = rest
            ticket.lots = part
        self._deal(ticket, part, "entry_in", ticket.price, ticket.magic, ticket.comment)
        self.save()

    def close(
        self, number: int, lots: float, mark: str = "", at: float | None = None, magic: int = -1
    ) -> None:
        """The position keeps its ticket. magic: the deal's; by default a level's or the owner's."""
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
        self.note("close", Ticket(**{**asdict(ticket), "lots": lots, "comment": mark}))

    def _net(self, ticket: Ticket, held: Ticket) -> int:
        bid, ask = self.state.prices[ticket.symbol]
        price = ask if ticket.type == "buy" else bid
        self.state.last += 1
        if held.type == ticket.type:
            held.lots = round(held.lots + ticket.lots, 2)
            self._deal(ticket, ticket.lots, "entry_in", price, ticket.magic, ticket.comment)
        else:
            self.close(
                held.number, min(ticket.lots, held.lots), ticket.comment, price, ticket.magic
            )
        ticket.number = self.state.last
        self.note("open", ticket)
        return ticket.number

    def _deal(
        self, ticket: Ticket, lots: float, entry: str, price: float, magic: int, comment: str
    ) -> None:
        kind = ticket.type
        if entry == "entry_out":
            kind = "sell" if ticket.type == "buy" else "buy"
        pieces = int(self.faults.get("pieces", 1))
        for piece in range(pieces):
            part = (
                round(lots / pieces, 2)
                if piece
                else round(lots - (pieces - 1) * round(lots / pieces, 2), 2)
            )
            self.state.last += 1
            number = self.state.last
            paid = -round(part * 3.5, 2)
            self.deals.append(
                Deal(
                    number,
                    magic,
                    ticket.symbol,
                    part,
                    kind,
                    entry,
                    self.now(),
                    price,
                    paid,
                    comment,
                )
            )


class Mt5ExpertAdvisor(ExpertAdvisor):
    server: Mt5TradeServer

    def make_server(self, place: Path) -> Mt5TradeServer:
        return Mt5TradeServer(place)

    def wish_trigger(self, ticket: int, lots: float = 0) -> None:
        self.server.trigger(ticket, lots)

    def wish_delete(self, ticket: int) -> None:
        self.server.delete(ticket)

    def open_order(self, content: str) -> None:
        before = len(self.server.state.tickets)
        magic = int(content.split(",")[6])
        super().open_order(content)
        if len(self.server.state.tickets) != before:
            self.server.last_magic = magic

    def close_order(self, content: str) -> None:
        said = content.split(",")
        number, lots = int(said[0]), round(float(said[1]), 2)
        held = self.server.state.tickets.get(str(number))
        mark = self.faults.get("stopped_first")
        if mark and held is not None:
            self.server.close(number, held.lots, mark)
        if first := self.faults.get("filled_first"):
            self.server.trigger(number, 0 if first is True else first)
        tickets = self.server.state.tickets
        held = tickets.get(str(number)) or tickets.get(f"{number}w")
        if held is None:
            text = f"Could not select order with ticket: {number}"
            return self.error("CLOSE_ORDER_SELECT_TICKET", text)
        one = held

        def act() -> None:
            if one.type not in ("buy", "sell"):
                self.server.delete(number)
            elif self.server.nets and lots < one.lots:
                raise TradeError("0")  # PositionClosePartial is for hedging accounts only
            else:
                part = lots if lots and lots < one.lots else one.lots
                self.server.close(number, part, magic=self.server.last_magic)
            self.info(f"Successfully closed order: {number}, {one.symbol}, {lots:.2f}")

        return self.trade("CLOSE_ORDER_TICKET", f"Could not close position {number}: ", act)

    def said(self, error: TradeError) -> str:
        """Its errors are numbers, nearly always the same one."""
        text = str(error)
        return text if text.startswith("ErrorCode") else SEND_FAILED

    def historic_trades(self, content: str) -> None:
        if self.faults.get("deaf_to_history"):
            return
        hidden = self.faults.get("hide_history")
        seen = [one for one in self.server.deals if one.magic not in self.server.torn]
        lines = [] if hidden else [_deal_record(one) for one in reversed(seen)]
        lines.append(
            '"7": {"magic": 0, "symbol": "", "lots": 0.00, "type": "balance", "entry": "entry_in", '
            '"deal_time": "2020.01.01 00:00:00", "deal_price": 0.00000, "pnl": 10000.00, '
            '"commission": 0.00, "swap": 0.00, "comment": ""}'
        )
        if self.faults.get("deals"):  # it is the other MetaTrader after all
            lines = ['"9": {"magic": 0, "type": "buy", "open_price": 1.1}']
        self.write("Historic_Trades", "{" + ", ".join(lines) + "}")
        self.info("Successfully read historic trades.")
        self.server.torn = set()

    def shown(self) -> list[Ticket]:
        """A filled order is no longer an order, and not yet the position and the deal that it
        becomes: until the history was told once (`torn`)."""
        return [one for one in super().shown() if one.magic not in self.server.torn]

    def present(self, one: Ticket) -> str:
        text = super().present(one)
        head, _, tail = text.partition('"commission"')
        return head + tail.partition(", ")[2]


def _deal_record(one: Deal) -> str:
    return (
        f'"{one.number}": {{"magic": {one.magic}, "symbol": "{one.symbol}", '
        f'"lots": {one.lots:.2f}, "type": "{one.type}", "entry": "{one.entry}", '
        f'"deal_time": "{one.at}", "deal_price": {one.price:.5f}, "pnl": 0.00, '
        f'"commission": {one.commission:.2f}, "swap": 0.00, "comment": "{one.comment}"}}'
    )


def advisor_of(folder: Path, place: Path) -> Any:
    """The expert advisor for a place: MetaTrader 5's where its file says so."""
    return (Mt5ExpertAdvisor if (place / "metatrader5").exists() else ExpertAdvisor)(folder, place)
