"""What processes cost, as the kernel counts it: CPU seconds and memory."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
Pids = Mapping[str, list[int]]


def cpu_seconds(pids: Pids) -> dict[str, float]:
    """Return the CPU time that each kind of process has used so far."""
    return {kind: sum(map(_cpu, those)) for kind, those in pids.items()}


class Meter:
    """CPU seconds per thing over several rounds, since walls lie on a machine that others use."""

    def __init__(self, pids: Callable[[], Pids]) -> None:
        self._pids = pids
        self._spent: dict[str, float] = {}
        self._things = 0

    @contextlib.contextmanager
    def over(self, things: int) -> Iterator[None]:
        """Count what is spent inside for so many things."""
        before = cpu_seconds(self._pids())
        yield
        for kind, seconds in cpu_seconds(self._pids()).items():
            self._spent[kind] = self._spent.get(kind, 0) + seconds - before.get(kind, 0)
        self._things += things

    @property
    def us_each(self) -> dict[str, float]:
        """Microseconds of CPU per thing, by kind of process; those that did nothing left out."""
        each = {kind: 1e6 * s / max(self._things, 1) for kind, s in self._spent.items()}
        return {kind: us for kind, us in each.items() if us > 0}

    @property
    def us_in_all(self) -> float:
        """Microseconds of CPU per thing."""
        return sum(self.us_each.values())


def memory_mb(pids: Pids) -> dict[str, float]:
    """Return the proportional set size of each kind in MB: shared pages are counted once."""
    return {kind: sum(map(_pss, those)) / 1024 for kind, those in pids.items()}


def offspring(parent: int) -> list[int]:
    """Return the processes that `parent` started and that live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields and int(fields[1]) == parent:
            found.append(int(entry.name))
    return found


def me() -> int:
    """Return our own process, which supervises the others."""
    return os.getpid()


def parent_of(pid: int) -> int:
    """Return who started a process that lives."""
    return int(_stat(pid)[1])


def _cpu(pid: int) -> float:
    fields = _stat(pid)  # 11, 12: user and system time
    return (int(fields[11]) + int(fields[12])) / TICK if fields else 0.0


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _pss(pid: int) -> int:
    """Kilobytes; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
