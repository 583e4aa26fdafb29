"""The expert advisor of MetaTrader 4, as a process that works on a folder:
`python -m tests.fakes.dwx.expert_advisor FOLDER STATE_FOLDER`.

It does what DWX_Server_MT4.mq4 does, in the same order: one thread with a timer; it reads command
slots until the first empty one; it deletes a command file before it executes the command; messages
have no command id; it truncates and rewrites the orders file on each change, else each second.

STATE_FOLDER has the broker's state (trade_server.py), `faults.json`, and in `events/` the events
that a test simulates.
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


class ExpertAdvisor:
    """The expert advisor on one folder; `tick` is its timer event."""

    def __init__(self, folder: Path, state_folder: Path) -> None:
        self.folder, self.state_folder = folder, state_folder
        self.server = self.make_server(state_folder)
        self.inputs = {"MaximumOrders": 1, "MaximumLotSize": 0.01}
        if (state_folder / "inputs.json").exists():
            self.inputs |= json.loads((state_folder / "inputs.json").read_text())
        self.symbols: list[str] = []
        self.ids: list[int] = []
        self.messages: list[tuple[int, str]] = []
        self.written = {"orders": "", "market": ""}
        self.wrote_at = 0.0
        self.has_traded = False
        self.late_orders: list[tuple[float, Ticket]] = []
        self.reset_folder()

    def make_server(self, state_folder: Path) -> TradeServer:
        """Return the trade server whose state is in this folder."""
        return TradeServer(state_folder)

    @property
    def faults(self) -> dict[str, Any]:
        """The faults that are active now, by name (see `Terminal.fault`)."""
        try:
            self.server.faults = json.loads((self.state_folder / "faults.json").read_text())
        except FileNotFoundError:
            self.server.faults = {}
        self.has_traded = self.has_traded and "half_after" in self.server.faults
        return self.server.faults

    def reset_folder(self) -> None:
        """Delete the files in the folder, as at the start and the end."""
        names = ["Orders", "Messages", "Market_Data", "Bar_Data", "Historic_Data"]
        for name in [*names, *(f"Commands_{slot}" for slot in range(50))]:
            (self.folder / f"DWX_{name}.txt").unlink(missing_ok=True)

    def tick(self) -> None:
        """Run the timer event once."""
        finished = self.simulate_events()
        if not self.faults.get("hang"):
            self.send_late_orders()
            self.server.expire()
            if not self.faults.get("ignore_commands"):
                self.check_commands()
            self.write_orders()
            self.write_prices()
        for path in finished:
            path.unlink()

    # ---- commands -------------------------------------------------------------------------
    def check_commands(self) -> None:
        """Execute the commands in the slots, until the first empty one."""
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
                return None  # reported only in its own log
            self.ids = [*self.ids, int(number)][-1000:]
            self.record_command(command, content)
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
        symbol, order_type, lots_text, price_text, sl, tp, magic, comment, end = content.split(",")
        lots, price = round(float(lots_text), 2), float(price_text)
        open_count = len(self.server.state.tickets)
        is_known = symbol in DIGITS
        minimum, maximum = (0.01, 100.0) if is_known else (0.0, 0.0)
        limit = self.inputs["MaximumLotSize"]
        if open_count >= self.inputs["MaximumOrders"]:
            maximum = self.inputs["MaximumOrders"]
            text = f"Number of orders ({open_count}) larger than or equal to "
            text += f"MaximumOrders ({maximum})."
            return self.error("OPEN_ORDER_MAXIMUM_NUMBER", text)
        if lots < minimum or lots > maximum:
            text = f"Lot size out of range (min: {minimum:f}, max: {maximum:f}): {lots:f}"
            return self.error("OPEN_ORDER_LOTSIZE_OUT_OF_RANGE", text)
        if lots > limit:
            text = f"Lot size ({lots:.2f}) larger than MaximumLotSize ({limit:.2f})."
            return self.error("OPEN_ORDER_LOTSIZE_TOO_LARGE", text)
        if price == 0 and (order_type not in ("buy", "sell") or not is_known):
            return self.error("OPEN_ORDER_PRICE_ZERO", f"Price is zero: {content}")
        ticket = Ticket(
            0, int(magic), symbol, lots, order_type, price, "", float(sl), float(tp), comment,
            expires=int(end),
        )  # fmt: skip

        def act() -> None:
            number = self.server.send(ticket)
            summary = f"{symbol}, {order_type}, {lots:.2f}, {ticket.price:.{DIGITS[symbol]}f}"
            self.info(f"Successfully sent order {number}: {summary}")

        return self.trade("OPEN_ORDER", "Could not open order: ", act, ticket)

    def close_order(self, content: str) -> None:
        fields = content.split(",")
        number, lots = int(fields[0]), round(float(fields[1]), 2)
        mark = self.faults.get("stopped_first")
        if mark and str(number) in self.server.state.tickets:
            position = self.server.state.tickets[str(number)]
            self.server.close(number, position.lots, mark)
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
        number, price, sl, tp, end = content.split(",")
        state = self.server.state
        if number not in {**state.tickets, **state.history}:
            text = f"Could not select order with ticket: {number}"
            return self.error("MODIFY_ORDER_SELECT_TICKET", text)

        def act() -> None:
            self.server.modify(int(number), float(price), float(sl), float(tp), int(end))
            self.info(f"Successfully modified order {number}: {sl}, {tp}")

        return self.trade("MODIFY_ORDER", f"Error in modifying order {number}: ", act)

    def trade(
        self, kind: str, text: str, act: Callable[[], None], ticket: Ticket | None = None
    ) -> None:
        """Call the trade server and report its error.

        ticket: the order that the fault `late` sends later.
        """
        faults = self.faults
        self.pause("slow_trade")
        self.has_traded = True
        try:
            if error := faults.get("error"):
                if faults.get("late") is not None and ticket is not None:
                    self.late_orders.append((time.monotonic() + float(faults["late"]), ticket))
                raise TradeError(error)
            act()
            if faults.get("crash"):
                os._exit(1)
            self.pause("slow_reply")
        except TradeError as error:
            self.error(kind, f"{text}{self.describe_error(error)}")
        if faults.get("once"):
            (self.state_folder / "faults.json").unlink(missing_ok=True)

    def describe_error(self, error: TradeError) -> str:
        """Return the expert advisor's text for an error."""
        return str(error)

    def send_late_orders(self) -> None:
        """Send the orders whose time-out was reported and that are executed now."""
        due = [one for one in self.late_orders if one[0] <= time.monotonic()]
        self.late_orders = [one for one in self.late_orders if one not in due]
        for _, ticket in due:
            self.server.send(ticket)

    def subscribe(self, content: str) -> None:
        symbols = content.split(",")
        self.symbols = [one for one in symbols if one in DIGITS]
        if unknown := [one for one in symbols if one not in DIGITS]:
            self.error("SUBSCRIBE_SYMBOL", f"Could not subscribe to symbols: {', '.join(unknown)}")
        if self.symbols:
            self.info(f"Successfully subscribed to: {', '.join(self.symbols)}")

    # ---- files ----------------------------------------------------------------------------
    def historic_trades(self, content: str) -> None:
        if self.faults.get("ignore_history_requests"):
            return
        closed = [] if self.faults.get("hide_history") else self.server.state.history.values()
        lines = [_closed_record(one) for one in closed]
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
        text = account + ", ".join(self.open_record(one) for one in self.visible_tickets()) + "}}"
        due = time.monotonic() >= self.wrote_at + REFRESH
        if (text != self.written["orders"] or due) and self.write("Orders", text):
            self.written["orders"], self.wrote_at = text, time.monotonic()

    def visible_tickets(self) -> list[Ticket]:
        """Return the positions and orders that the orders file contains."""
        return list(self.server.state.tickets.values())

    def open_record(self, ticket: Ticket) -> str:
        """Return the record of a position or order in the orders file."""
        return (
            f'"{ticket.number}": {{"magic": {ticket.magic}, "symbol": "{ticket.symbol}", '
            f'"lots": {ticket.lots:.2f}, "type": "{ticket.type}", '
            f'"open_price": {ticket.price:.5f}, "open_time": "{ticket.opened}", '
            f"{_common_fields(ticket)}"
        )

    def write_prices(self) -> None:
        prices = self.server.state.prices
        text = ", ".join(
            f'"{one}": {{"bid": {prices[one][0]:.5f}, "ask": {prices[one][1]:.5f}, '
            f'"tick_value": {TICK_VALUES[one]:.5f}}}'
            for one in self.symbols
        )
        is_disconnected = self.faults.get("no_prices")  # from the broker; the timer continues
        if self.symbols and text != self.written["market"] and not is_disconnected:
            self.write("Market_Data", "{" + text + "}")
            self.written["market"] = text

    def write(self, name: str, text: str) -> bool:
        """Write a file, or by a fault only its first half for a while. Return True."""
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
        if skew := faults.get("disk_skew"):
            at = time.time() + float(skew)
            os.utime(path, (at, at))
        return True

    def info(self, text: str) -> None:
        self.send_message(f'{{"type": "INFO", "time": "{self.server.now()}", "message": "{text}"}}')

    def error(self, kind: str, text: str) -> None:
        self.send_message(
            f'{{"type": "ERROR", "time": "{self.server.now()}", "error_type": "{kind}", '
            f'"description": "{text}"}}'
        )

    def send_message(self, message: str) -> None:
        """Add a message to the last 50 and write them."""
        last = self.messages[-1][0] if self.messages else 0
        key = max(int(time.monotonic() * 1000), last + 1)
        self.messages = [*self.messages, (key, message)][-50:]
        if not self.faults.get("lose_messages"):
            self.write("Messages", "{" + ", ".join(f'"{k}": {m}' for k, m in self.messages) + "}")

    # ---- simulated events -----------------------------------------------------------------
    def pause(self, fault: str) -> None:
        """Wait as long as the fault demands, or until it ends."""
        until = time.monotonic() + float(self.faults.get(fault, 0))
        while time.monotonic() < until and self.faults.get(fault):
            time.sleep(TIMER)

    def record_command(self, command: str, content: str) -> None:
        with (self.state_folder / "commands.jsonl").open("a") as file:
            file.write(json.dumps([command, content]) + "\n")

    def simulate_events(self) -> list[Path]:
        """Simulate what tests have requested; return the files of the requests."""
        paths = sorted((self.state_folder / "events").glob("*.json"))
        for path in paths:
            values = json.loads(path.read_text())
            getattr(self, f"simulate_{values.pop('event')}")(**values)
            self.server.save()
        return paths

    def simulate_price(self, symbol: str, bid: float, ask: float) -> None:
        self.server.state.prices[symbol] = [bid, ask]
        self.server.on_price(symbol)

    def simulate_account(self, number: str) -> None:
        self.server.log_in(number)

    def simulate_end(
        self, ticket: int, mark: str, lots: float = 0, at: float | None = None
    ) -> None:
        position = self.server.state.tickets[str(ticket)]
        if position.type in ("buy", "sell"):
            self.server.close(ticket, lots or position.lots, mark, at)
        else:
            self.server.delete(ticket, mark)

    def simulate_close_by(self, ticket: int, other: int) -> None:
        self.server.close_by(ticket, other)

    def simulate_renumber(self) -> None:
        """Move the account to another server: all that is open has other tickets from now on, and
        is as it was otherwise. The history has what was closed before."""
        tickets, self.server.state.tickets = self.server.state.tickets, {}
        self.server.state.last += 5000
        for one in tickets.values():
            self.server.state.last += 1
            one.number = self.server.state.last
            self.server.state.tickets[str(one.number)] = one

    def simulate_trigger(self, ticket: int) -> None:
        self.server.trigger(ticket)

    def simulate_levels(self, ticket: int, sl: float, tp: float) -> None:
        """Set a position's levels, as another client would; 0 is none."""
        position = self.server.state.tickets[str(ticket)]
        position.sl, position.tp = sl, tp

    def simulate_order(self, **values: Any) -> None:
        self.server.send(Ticket(0, values.pop("magic", 0), price=0, opened="", **values))

    def simulate_time_zone(self, hours: float) -> None:
        self.server.state.hours = hours


def _closed_record(ticket: Ticket) -> str:
    return (
        f'"{ticket.number}": {{"magic": {ticket.magic}, "symbol": "{ticket.symbol}", '
        f'"lots": {ticket.lots:.2f}, "type": "{ticket.type}", "open_time": "{ticket.opened}", '
        f'"close_time": "{ticket.closed}", "open_price": {ticket.price:.5f}, '
        f'"close_price": {ticket.close_price:.5f}, {_common_fields(ticket)}'
    )


def _common_fields(ticket: Ticket) -> str:
    """The fields at the end of every record, and its closing brace."""
    return (
        f'"SL": {ticket.sl:.5f}, "TP": {ticket.tp:.5f}, "pnl": 0.00, '
        f'"commission": {ticket.commission:.2f}, "swap": {ticket.swap:.2f}, '
        f'"comment": "{ticket.comment}"}}'
    )


def run(folder: Path, state_folder: Path) -> NoReturn:
    """Run the expert advisor of a folder until this process ends."""
    (state_folder / "events").mkdir(exist_ok=True)
    from tests.fakes.dwx.mt5_expert_advisor import advisor_of

    advisor: ExpertAdvisor = advisor_of(folder, state_folder)

    def stop(*_: object) -> None:
        advisor.reset_folder()  # OnDeinit
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    while True:
        advisor.tick()
        time.sleep(TIMER)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
