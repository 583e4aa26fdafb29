"""Control a terminal from a test: start and stop its process, set faults, read its journal."""

import atexit
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

from tests.until import until

REPOSITORY = Path(__file__).parents[3]
_FORKING = threading.Lock()


@cache
def _forker() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.fakes.dwx.process_forker"]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(process.communicate)
    return process


def _start_process(folder: Path, state_folder: Path) -> int:
    """Start a terminal's process. Return its id. Any thread may call it."""
    with _FORKING:
        forker = _forker()
        assert forker.stdin
        assert forker.stdout
        forker.stdin.write(f"{folder}\t{state_folder}\n")
        forker.stdin.flush()
        return int(forker.stdout.readline())


class Terminal:
    """A MetaTrader that works on root/name and is logged in to account 4711.

    state_folder: has the state of its broker. inputs: of the expert advisor.
    """

    key = "s3cret-key"

    def __init__(
        self,
        root: Path,
        state_folder: Path,
        name: str = "alice",
        is_mt5: bool = False,
        **inputs: float,
    ) -> None:
        self.folder, self.state_folder = root / name, state_folder
        self.folder.mkdir(parents=True, exist_ok=True)
        (state_folder / "events").mkdir(parents=True, exist_ok=True)
        (self.folder / "fillcast.key").write_text(self.key + "\n")
        if is_mt5:
            (state_folder / "metatrader5").touch()
        self._count = itertools.count()
        self._process: int | None = None
        self.set_inputs(**{"MaximumOrders": 100, "MaximumLotSize": 50.0, **inputs})

    def set_inputs(self, **inputs: float) -> None:
        """Set the inputs of the expert advisor. It reads them when it starts."""
        (self.state_folder / "inputs.json").write_text(json.dumps(inputs))

    def start(self) -> None:
        """Start its process and wait until it has written its files."""
        orders = self.folder / "DWX_Orders.txt"
        before = orders.stat().st_mtime_ns if orders.exists() else 0
        self._process = _start_process(self.folder, self.state_folder)
        until(lambda: orders.exists() and orders.stat().st_mtime_ns != before)

    def kill(self) -> None:
        """Kill its process: its files stay as they are."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Close the terminal as its owner does: it deletes its files."""
        self._end(signal.SIGTERM)

    def _end(self, signal_number: signal.Signals) -> None:
        if self.is_alive and self._process is not None:
            os.kill(self._process, signal_number)
            until(lambda: not self.is_alive)
        self._process = None

    @property
    def pid(self) -> int:
        """The id of its running process."""
        assert self._process is not None
        return self._process

    @property
    def is_alive(self) -> bool:
        try:
            os.kill(self._process, 0) if self._process else None
        except ProcessLookupError:
            return False
        return self._process is not None

    def fault(self, **faults: Any) -> None:
        """Set the faults of the terminal and its broker. They replace the former ones.

        The expert advisor's (seconds last until the fault ends): hang, ignore_commands,
        read_then_wait (seconds after a command was read), swallow (orders vanish), crash (after a
        trade), slow_reply (seconds), lose_messages, no_prices.
        Its files: half (names: only a half is written; half_seconds: for so long), half_after
        (from the next trade on), half_tail (text behind the half), hide_history,
        ignore_history_requests, no_deposit, deals (the history is the other MetaTrader's),
        unlisted (MetaTrader 5: a fill is in no file until the history was written once),
        oldest_deal (MetaTrader 5: the history begins with this number), disk_skew (seconds).
        The broker's: slow_trade (seconds), error (text of each trade; late: executed after so many
        seconds nevertheless), once (only for one trade), stopped_first and filled_first (before a
        close arrives), stops_level (price), drops_levels, rewrite_comment, cut_comment (length),
        no_from (remainders do not name their origin), skew (seconds); of MetaTrader 5: pieces
        (deals for each fill), fill_half.
        """
        fresh = self.state_folder / "faults.new"
        fresh.write_text(json.dumps(faults))
        os.replace(fresh, self.state_folder / "faults.json")

    def write_half(self, *names: str) -> None:
        """Write only a half of these files from now on; wait until the orders file is written."""
        orders = self.folder / "DWX_Orders.txt"
        self.fault(half=names)
        self.simulate("time_zone", hours=2.0)  # changes nothing: now the fault is active
        before = orders.stat().st_mtime_ns
        until(lambda: orders.stat().st_mtime_ns != before)

    def simulate(self, event: str, **values: Any) -> None:
        """Make an event happen; wait until the files contain it.

        price (symbol, bid, ask), account (number), end (ticket, mark, lots, at), trigger (ticket,
        and at MetaTrader 5 lots), levels (ticket, sl, tp), order (a ticket's fields), time_zone
        (hours), renumber (all open tickets); at MetaTrader 5 also delete and trigger_rest (ticket),
        take_away and open_again (ticket, has_mark: the server closes and opens by itself), reopen
        (both of them), age (seconds: all deals are so much older).
        """
        name = f"{next(self._count):06}"
        fresh = self.state_folder / f"{name}.new"
        fresh.write_text(json.dumps({"event": event, **values}))
        path = self.state_folder / "events" / f"{name}.json"
        os.replace(fresh, path)
        until(lambda: not path.exists())

    def journal(self, action: str = "open") -> list[dict[str, Any]]:
        """Return what the broker accepted: open, close, delete, modify or trigger."""
        return [one for one in self._lines("journal.jsonl") if one["action"] == action]

    def commands(self) -> list[list[str]]:
        """Return the commands that the expert advisor executed, with their contents."""
        return self._lines("commands.jsonl")

    def open_tickets(self) -> dict[str, Any]:
        """Return the open positions and orders, by ticket."""
        state = json.loads((self.state_folder / "state.json").read_text())
        tickets: dict[str, Any] = state["tickets"]
        return tickets

    def _lines(self, name: str) -> list[Any]:
        path = self.state_folder / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]
