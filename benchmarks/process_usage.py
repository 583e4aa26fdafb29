"""CPU time and memory of processes, as the kernel counts them."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

TICK = os.sysconf("SC_CLK_TCK")
_SESSION_TITLE = re.compile(r"postgres: \S+ \S+ \S+\(\d+\) ")
Pids = Mapping[str, list[int]]


def cpu_seconds(pids: Pids) -> dict[str, float]:
    """Return the CPU seconds that each named group of processes has used so far.

    Children that have ended count with their parent: of PostgreSQL's sessions some end meanwhile.
    """
    return {name: sum(map(_cpu, group)) for name, group in pids.items()}


def run_seconds(pids: Pids) -> dict[str, float]:
    """Return as `cpu_seconds`, but exactly: also of threads that run for less than a tick.

    A process of which threads have ended, and ended processes, are counted in ticks.
    """
    return {name: sum(map(_ran, group)) for name, group in pids.items()}


def waited_seconds(pids: Iterable[int]) -> float:
    """Return how long the threads of these processes have been ready while others ran."""
    return sum(
        int(waited.read_text().split()[1]) / 1e9
        for pid in pids
        for waited in Path(f"/proc/{pid}/task").glob("*/schedstat")
    )


class Metered(Protocol):
    """Counts what is used while items are processed."""

    def over(self, items: int) -> contextlib.AbstractContextManager[None]:
        """Count what is used inside for this number of items."""
        ...


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
        """Microseconds of CPU per item, of all processes together."""
        return sum(self.us_each.values())


def memory_mb(pids: Pids) -> dict[str, float]:
    """Return the proportional set size of each group in MB: shared pages are counted once."""
    return {name: sum(map(_pss, group)) / 1024 for name, group in pids.items()}


def database_sessions(pids: Iterable[int]) -> int:
    """Return how many of PostgreSQL's processes serve a client: their titles name its address."""
    return sum(_SESSION_TITLE.match(_title(pid)) is not None for pid in pids)


def children_of(parent: int) -> list[int]:
    """Return the running processes that `parent` started."""
    children = []
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields and int(fields[1]) == parent:
            children.append(int(entry.name))
    return children


def parent_of(pid: int) -> int:
    """Return the parent of a running process."""
    return int(_stat(pid)[1])


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _ran(pid: int) -> float:
    """Return its seconds by its threads; those that have ended are only in the process' ticks."""
    seconds = 0.0
    for schedule in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # the thread has ended
            seconds += int(schedule.read_text().split()[0]) / 1e9
    ticks = [*map(int, _stat(pid)[11:15])]
    return max(seconds, sum(ticks[:2]) / TICK) + sum(ticks[2:]) / TICK


def _cpu(pid: int) -> float:
    # 11 to 14: user and system time, of itself and of its children that have ended
    return sum(map(int, _stat(pid)[11:15])) / TICK


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _pss(pid: int) -> int:
    """Return kilobytes; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
