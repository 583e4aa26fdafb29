"""Start, stop and trouble the terminal's process, and read what it wrote down."""

import atexit
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]
_FORKING = threading.Lock()


def until(is_so: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.005)


@cache
def _forker() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.fakes.dwx.process_forker"]
    found = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(found.communicate)
    return found


def _start_process(folder: Path, place: Path) -> int:
    """Start a terminal's process; return its id. Any thread may ask."""
    with _FORKING:
        nursery = _forker()
        assert nursery.stdin
        assert nursery.stdout
        nursery.stdin.write(f"{folder}\t{place}\n")
        nursery.stdin.flush()
        return int(nursery.stdout.readline())


class Terminal:
    """A MetaTrader on root/name, logged in to account 4711."""

    key = "s3cret-key"

    def __init__(
        self, root: Path, place: Path, name: str = "alice", is_5: bool = False, **inputs: float
    ) -> None:
        self.folder, self.place = root / name, place
        self.folder.mkdir(parents=True, exist_ok=True)
        (place / "wishes").mkdir(parents=True, exist_ok=True)
        (self.folder / "fillcast.key").write_text(self.key + "\n")
        if is_5:
            (place / "metatrader5").touch()
        self._count = itertools.count()
        self._process: int | None = None
        self.inputs(**{"MaximumOrders": 100, "MaximumLotSize": 50.0, **inputs})

    def inputs(self, **said: float) -> None:
        (self.place / "inputs.json").write_text(json.dumps(said))

    def start(self) -> None:
        orders = self.folder / "DWX_Orders.txt"
        before = orders.stat().st_mtime_ns if orders.exists() else 0
        self._process = _start_process(self.folder, self.place)
        until(lambda: orders.exists() and orders.stat().st_mtime_ns != before)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """As its owner would: the folder is emptied."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.is_alive and self._process is not None:
            os.kill(self._process, how)
            until(lambda: not self.is_alive)
        self._process = None

    @property
    def pid(self) -> int:
        """Of its process, which runs."""
        assert self._process is not None
        return self._process

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        try:
            os.kill(self._process, 0) if self._process else None
        except ProcessLookupError:
            return False
        return self._process is not None

    def fault(self, **faults: Any) -> None:
        fresh = self.place / "faults.new"
        fresh.write_text(json.dumps(faults))
        os.replace(fresh, self.place / "faults.json")

    def halve(self, *names: str) -> None:
        """Have these files written by halves from now on, and wait until what is open is."""
        orders = self.folder / "DWX_Orders.txt"
        self.fault(half=names)
        self.wish("hours", hours=2.0)  # changes nothing: the fault is seen by then
        before = orders.stat().st_mtime_ns
        until(lambda: orders.stat().st_mtime_ns != before)

    def wish(self, wish: str, **said: Any) -> None:
        """Have something happen, and wait until it has, and the files show it."""
        name = f"{next(self._count):06}"
        fresh = self.place / f"{name}.new"
        fresh.write_text(json.dumps({"wish": wish, **said}))
        path = self.place / "wishes" / f"{name}.json"
        os.replace(fresh, path)
        until(lambda: not path.exists())

    def journal(self, what: str = "open") -> list[dict[str, Any]]:
        """What the broker accepted."""
        return [one for one in self._lines("journal.jsonl") if one["what"] == what]

    def commands(self) -> list[list[str]]:
        """What the expert advisor carried out."""
        return self._lines("commands.jsonl")

    def open_tickets(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.place / "state.json").read_text())["tickets"]
        return found

    def _lines(self, name: str) -> list[Any]:
        path = self.place / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]
