"""What processes cost, as the kernel counts it: CPU seconds and memory."""

import os
from collections.abc import Mapping
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
Pids = Mapping[str, list[int]]


def cpu_seconds(pids: Pids) -> dict[str, float]:
    """Return the CPU time that each kind of process has used so far."""
    return {kind: sum(map(_cpu, those)) for kind, those in pids.items()}


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return CPU seconds between two readings, by kind."""
    return {kind: round(after[kind] - before.get(kind, 0.0), 3) for kind in after}


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
