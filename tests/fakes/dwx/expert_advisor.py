"""The expert advisor: a process on a folder. `python -m tests.fakes.dwx.expert_advisor FOLDER
PLACE`.

It does what DWX_Server_MT4.mq4 does, in its order: one thread, a timer, slots until the first empty
one, the command file deleted before its command is carried out, messages without a command's id, an
orders file that is emptied and written anew on a change and else each second. PLACE is the broker's
(server.py), `faults.json` in it and the test's wishes in `wishes/`.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tests.fakes.dwx.trade_server import DIGITS, TICK_VALUES, Ticket, TradeError, TradeServer

TIMER, REFRESH = 0.004, 0.05  # the real one: 25 ms and 1 s
KINDS = ("buy", "sell", "buylimit", "selllimit", "buystop", "sellstop")


class ExpertAdvisor:
    def __init__(self, folder: Path, place: Path) -> None:
        self.folder, self.place, self.server = folder, place, self.make_server(place)
        self.inputs = {"MaximumOrders": 1, "MaximumLotSize": 0.01}
        if (place / "inputs.json").exists():
            self.inputs |= json.loads((place / "inputs.json").read_text())
        self.symbols: list[str] = []
        self.ids: list[int] = []
        self.ring: list[tuple[int, str]] = []
        self.written = {"orders": "", "market": ""}
        self.wrote_at = 0.0
        self.has_traded = False
        self.late: list[tuple[float, Ticket]] = []
        self.reset_folder()

    def make_server(self, place: Path) -> TradeServer:
        return TradeServer(place)

    @property
    def faults(self) -> dict[str, Any]:
        try:
            self.server.faults = json.loads((self.place / "faults.json").read_text())
        except FileNotFoundError:
            self.server.faults = {}
        self.has_traded = self.has_traded and "half_after" in self.server.faults
        return self.server.faults

    def reset_folder(self) -> None:
        names = ["Orders", "Messages", "Market_Data", "Bar_Data", "Historic_Data"]
        for name in [*names, *(f"Commands_{slot}" for slot in range(50))]:
            (self.folder / f"DWX_{name}.txt").unlink(missing_ok=True)

    def tick(self) -> None:
        granted = self.run_requested_events()
        if not self.faults.get("hang"):
            self.apply_late()
            if not self.faults.get("deaf"):
                self.check_commands()
            self.write_orders()
            self.write_prices()
        for path in granted:
            path.unlink()

    # ---- commands -------------------------------------------------------------------------
    def check_commands(self) -> None:
        for slot in range(50):
            path = self.folder / f"DWX_Commands_{slot}.txt"
            if not path.exists():
                return None
            text = path.read_text()
            self.pause("read_then_wait")
            path.unlink(missing_ok=True)
            if not (text.startswith("<:") and text.endswith(":>")):
                return self.error("WRONG_FORMAT_END_IDENTIFIER", f"Wrong: {text}")
            number, command, content = text[2:-2].split("|")
            if int(number) in self.ids:
                return None  # only its own log says so
            self.ids = [*self.ids, int(number)][-1000:]
            self.note_command(command, content)
            if self.faults.get("swallow") and command.endswith("_ORDER"):
                return None
            {
                "OPEN_ORDER": self.open_order,
                "CLOSE_ORDER": self.close_order,
                "MODIFY_ORDER": self.modify_order,
                "SUBSCRIBE_SYMBOLS": self.subscribe,
                "GET_HISTORIC_TRADES": self.historic_trades,
            }[command](content)
        return None

    def open_order(self, content: str) -> None:
        symbol, kind, lots_said, price_said, sl, tp, magic, comment, _ = content.split(",")
        lots, price = round(float(lots_said), 2), float(price_said)
        is_open = len(self.server.state.tickets)
        known = symbol in DIGITS
        least, most = (0.01, 100.0) if known else (0.0, 0.0)
        own = self.inputs["MaximumLotSize"]
        if is_open >= self.inputs["MaximumOrders"]:
            most = self.inputs["MaximumOrders"]
            text = f"Number of orders ({is_open}) larger than or equal to MaximumOrders ({most})."
            return self.error("OPEN_ORDER_MAXIMUM_NUMBER", text)
        if lots < least or lots > most:
            text = f"Lot size out of range (min: {least:f}, max: {most:f}): {lots:f}"
            return self.error("OPEN_ORDER_LOTSIZE_OUT_OF_RANGE", text)
        if lots > own:
            text = f"Lot size ({lots:.2f}) larger than MaximumLotSize ({own:.2f})."
            return self.error("OPEN_ORDER_LOTSIZE_TOO_LARGE", text)
        if price == 0 and (kind not in ("buy", "sell") or not known):
            return self.error("OPEN_ORDER_PRICE_ZERO", f"Price is zero: {content}")
        ticket = Ticket(0, int(magic), symbol, lots, kind, price, "", float(sl), float(tp), comment)

        def act() -> None:
            number = self.server.send(ticket)
            shown = f"{symbol}, {kind}, {lots:.2f}, {ticket.price:.{DIGITS[symbol]}f}"
            self.info(f"Successfully sent order {number}: {shown}")

        return self.trade("OPEN_ORDER", "Could not open order: ", act, ticket)

    def close_order(self, content: str) -> None:
        said = content.split(",")
        number, lots = int(said[0]), round(float(said[1]), 2)
        mark = self.faults.get("stopped_first")
        if mark and str(number) in self.server.state.tickets:
            held = self.server.state.tickets[str(number)]
            self.server.close(number, held.lots, mark)
        if self.faults.get("filled_first"):
            self.server.trigger(number)
        state = self.server.state
        if str(number) not in {**state.tickets, **state.history}:
            text = f"Could not select order with ticket: {number}"
            return self.error("CLOSE_ORDER_SELECT_TICKET", text)
        ticket = {**state.history, **state.tickets}[str(number)]

        def act() -> None:
            if ticket.type in ("buy", "sell"):
                self.server.close(number, lots or ticket.lots)
            else:
                self.server.delete(number)
            self.info(f"Successfully closed order: {number}, {ticket.symbol}, {lots:.2f}")

        return self.trade("CLOSE_ORDER_TICKET", f"Could not close position {number}: ", act)

    def modify_order(self, content: str) -> None:
        number, _, sl, tp, _ = content.split(",")
        state = self.server.state
        if number not in {**state.tickets, **state.history}:
            text = f"Could not select order with ticket: {number}"
            return self.error("MODIFY_ORDER_SELECT_TICKET", text)

        def act() -> None:
            self.server.modify(int(number), float(sl), float(tp))
            self.info(f"Successfully modified order {number}: {sl}, {tp}")

        return self.trade("MODIFY_ORDER", f"Error in modifying order {number}: ", act)

    def trade(
        self, kind: str, text: str, act: Callable[[], None], ticket: Ticket | None = None
    ) -> None:
        faults = self.faults
        self.pause("slow_trade")
        self.has_traded = True
        try:
            if error := faults.get("error"):
                if faults.get("late") is not None and ticket is not None:
                    self.late.append((time.monotonic() + float(faults["late"]), ticket))
                raise TradeError(error)
            act()
            if faults.get("die"):
                os._exit(1)
            self.pause("mute")
        except TradeError as error:
            self.error(kind, f"{text}{self.said(error)}")
        if faults.get("once"):
            (self.place / "faults.json").unlink(missing_ok=True)

    def said(self, error: TradeError) -> str:
        """How it describes an error."""
        return str(error)

    def apply_late(self) -> None:
        due = [one for one in self.late if one[0] <= time.monotonic()]
        self.late = [one for one in self.late if one not in due]
        for _, ticket in due:
            self.server.send(ticket)

    def subscribe(self, content: str) -> None:
        wanted = content.split(",")
        self.symbols = [one for one in wanted if one in DIGITS]
        if bad := [one for one in wanted if one not in DIGITS]:
            self.error("SUBSCRIBE_SYMBOL", f"Could not subscribe to symbols: {', '.join(bad)}")
        if self.symbols:
            self.info(f"Successfully subscribed to: {', '.join(self.symbols)}")

    # ---- files ----------------------------------------------------------------------------
    def historic_trades(self, content: str) -> None:
        if self.faults.get("deaf_to_history"):
            return
        hidden = self.faults.get("hide_history")
        lines = (
            [] if hidden else [_closed_record(one) for one in self.server.state.history.values()]
        )
        lines.append(
            '"7": {"magic": 0, "symbol": "", "lots": 0.00, "type": "unknown", "open_time": '
            '"2020.01.01 00:00:00", "close_time": "2020.01.01 00:00:00", "comment": "Deposit"}'
        )
        if self.faults.get("no_deposit"):
            lines.pop()
        if self.faults.get("deals"):
            lines = ['"9": {"magic": 0, "type": "buy", "deal_price": 1.1}']
        self.write("Historic_Trades", "{" + ", ".join(lines) + "}")
        self.info("Successfully read historic trades.")

    def write_orders(self) -> None:
        state = self.server.state
        account = (
            f'{{"account_info": {{"name": "Zoé", "number": {state.account}, "currency": "USD", '
            f'"leverage": 100, "free_margin": {state.balance - 100:f}, '
            f'"balance": {state.balance:f}, "equity": {state.balance:f}}}, "orders": {{'
        )
        text = account + ", ".join(self.present(one) for one in self.shown()) + "}}"
        due = time.monotonic() >= self.wrote_at + REFRESH
        if (text != self.written["orders"] or due) and self.write("Orders", text):
            self.written["orders"], self.wrote_at = text, time.monotonic()

    def shown(self) -> list[Ticket]:
        """What is open, for all that can be seen."""
        return list(self.server.state.tickets.values())

    def present(self, one: Ticket) -> str:
        """A line of what is open."""
        return (
            f'"{one.number}": {{"magic": {one.magic}, "symbol": "{one.symbol}", '
            f'"lots": {one.lots:.2f}, "type": "{one.type}", "open_price": {one.price:.5f}, '
            f'"open_time": "{one.opened}", {_remainder_comment(one)}'
        )

    def write_prices(self) -> None:
        prices = self.server.state.prices
        text = ", ".join(
            f'"{one}": {{"bid": {prices[one][0]:.5f}, "ask": {prices[one][1]:.5f}, '
            f'"tick_value": {TICK_VALUES[one]:.5f}}}'
            for one in self.symbols
        )
        stands = self.faults.get("no_prices")  # the terminal has lost its broker; its timer runs on
        if self.symbols and text != self.written["market"] and not stands:
            self.write("Market_Data", "{" + text + "}")
            self.written["market"] = text

    def write(self, name: str, text: str) -> bool:
        path, faults = self.folder / f"DWX_{name}.txt", self.faults
        whole = (text + "\r\n").encode("cp1252")
        after = faults.get("half_after", ()) if self.has_traded else ()
        if name in (*faults.get("half", ()), *after):
            tail = str(faults.get("half_tail", "")).encode()
            path.write_bytes(whole[: len(whole) // 2] + tail)
            time.sleep(float(faults.get("half_seconds", 0.1)))
            if faults.get("half_seconds") is None:
                return True
        with path.open("wb") as file:
            file.write(whole)
        if disk := faults.get("disk_skew"):
            at = time.time() + float(disk)
            os.utime(path, (at, at))
        return True

    def info(self, text: str) -> None:
        self.tell(f'{{"type": "INFO", "time": "{self.server.now()}", "message": "{text}"}}')

    def error(self, kind: str, text: str) -> None:
        self.tell(
            f'{{"type": "ERROR", "time": "{self.server.now()}", "error_type": "{kind}", '
            f'"description": "{text}"}}'
        )

    def tell(self, message: str) -> None:
        last = self.ring[-1][0] if self.ring else 0
        self.ring = [*self.ring, (max(int(time.monotonic() * 1000), last + 1), message)][-50:]
        if not self.faults.get("lose_messages"):
            self.write("Messages", "{" + ", ".join(f'"{k}": {m}' for k, m in self.ring) + "}")

    # ---- the test's hand ------------------------------------------------------------------
    def pause(self, fault: str) -> None:
        """Wait as long as asked, or until the fault is taken back."""
        until = time.monotonic() + float(self.faults.get(fault, 0))
        while time.monotonic() < until and self.faults.get(fault):
            time.sleep(TIMER)

    def note_command(self, command: str, content: str) -> None:
        with (self.place / "commands.jsonl").open("a") as file:
            file.write(json.dumps([command, content]) + "\n")

    def run_requested_events(self) -> list[Path]:
        paths = sorted((self.place / "wishes").glob("*.json"))
        for path in paths:
            wish = json.loads(path.read_text())
            getattr(self, f"wish_{wish.pop('wish')}")(**wish)
            self.server.save()
        return paths

    def wish_price(self, symbol: str, bid: float, ask: float) -> None:
        self.server.state.prices[symbol] = [bid, ask]
        self.server.react(symbol)

    def wish_account(self, number: str) -> None:
        self.server.log_in(number)

    def wish_end(self, ticket: int, mark: str, lots: float = 0, at: float | None = None) -> None:
        held = self.server.state.tickets[str(ticket)]
        if held.type in ("buy", "sell"):
            self.server.close(ticket, lots or held.lots, mark, at)
        else:
            self.server.delete(ticket, mark)

    def wish_trigger(self, ticket: int) -> None:
        self.server.trigger(ticket)

    def wish_levels(self, ticket: int, sl: float, tp: float) -> None:
        """Somebody else than we sets a position's levels; 0 is none."""
        held = self.server.state.tickets[str(ticket)]
        held.sl, held.tp = sl, tp

    def wish_place(self, **said: Any) -> None:
        self.server.send(Ticket(0, said.pop("magic", 0), price=0, opened="", **said))

    def wish_hours(self, hours: float) -> None:
        self.server.state.hours = hours


def _closed_record(one: Ticket) -> str:
    return (
        f'"{one.number}": {{"magic": {one.magic}, "symbol": "{one.symbol}", '
        f'"lots": {one.lots:.2f}, "type": "{one.type}", "open_time": "{one.opened}", '
        f'"close_time": "{one.closed}", "open_price": {one.price:.5f}, '
        f'"close_price": {one.close_price:.5f}, {_remainder_comment(one)}'
    )


def _remainder_comment(one: Ticket) -> str:
    return (
        f'"SL": {one.sl:.5f}, "TP": {one.tp:.5f}, "pnl": 0.00, '
        f'"commission": {one.commission:.2f}, "swap": 0.00, "comment": "{one.comment}"}}'
    )


def run(folder: Path, place: Path) -> NoReturn:
    """Be the expert advisor of a folder until this process ends."""
    (place / "wishes").mkdir(exist_ok=True)
    from tests.fakes.dwx.mt5_expert_advisor import advisor_of

    advisor: ExpertAdvisor = advisor_of(folder, place)

    def leave(*_: object) -> None:
        advisor.reset_folder()  # OnDeinit
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)
    while True:
        advisor.tick()
        time.sleep(TIMER)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
