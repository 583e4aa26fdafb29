"""CPU time and memory of processes, as the kernel counts them."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
_SESSION_TITLE = re.compile(r"postgres: \S+ \S+ \S+\(\d+\) ")
Pids = Mapping[str, list[int]]


def cpu_seconds(pids: Pids) -> dict[str, float]:
    """Return the CPU seconds that each named group of processes has used so far.

    Children that have ended count with their parent: of PostgreSQL's sessions some end meanwhile.
    They and threads that have ended are counted in ticks; all others exactly.
    """
    return {name: sum(map(_cpu, group)) for name, group in pids.items()}


class Meter:
    """CPU time per item over several rounds; wall time depends on the machine's other load."""

    def __init__(self, pids: Callable[[], Pids]) -> None:
        self._pids = pids
        self._spent: dict[str, float] = {}
        self._items = 0

    @contextlib.contextmanager
    def over(self, items: int) -> Iterator[None]:
        """Count the CPU time that is used inside for this number of items."""
        before = cpu_seconds(self._pids())
        yield
        for name, seconds in cpu_seconds(self._pids()).items():
            self._spent[name] = self._spent.get(name, 0) + seconds - before.get(name, 0)
        self._items += items

    @property
    def us_each(self) -> dict[str, float]:
        """Microseconds of CPU per item, by process name; without those that did nothing."""
        each = {name: 1e6 * s / max(self._items, 1) for name, s in self._spent.items()}
        return {name: us for name, us in each.items() if us > 0}

    @property
    def us_in_all(self) -> float:
        return sum(self.us_each.values())


def memory_mb(pids: Pids) -> dict[str, float]:
    """Return the proportional set size of each group in MB: shared pages are counted once."""
    return {name: sum(map(_pss, group)) / 1024 for name, group in pids.items()}


def database_sessions(pids: Iterable[int]) -> int:
    """Return how many of PostgreSQL's processes serve a client: their titles name its address."""
    return sum(_SESSION_TITLE.match(_read(pid, "cmdline")) is not None for pid in pids)


def children_of(parent: int) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if (fields := _stat(pid)) and int(fields[1]) == parent]


def parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def _read(pid: int, name: str) -> str:
    """Return a file of a process; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def _cpu(pid: int) -> float:
    """Return its seconds by its threads; those that have ended are only in the process' ticks."""
    seconds = 0.0
    for schedule in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # the thread has ended
            seconds += int(schedule.read_text().split()[0]) / 1e9
    # 11 to 14: user and system time, of itself and of its children that have ended
    ticks = [*map(int, _stat(pid)[11:15])]
    return max(seconds, sum(ticks[:2]) / TICK) + sum(ticks[2:]) / TICK


def _stat(pid: int) -> list[str]:
    return _read(pid, "stat").rpartition(")")[2].split()


def _pss(pid: int) -> int:
    """Return kilobytes; 0 if the process has ended."""
    lines = _read(pid, "smaps_rollup").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
