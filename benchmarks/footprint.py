"""What an idle connection and a watched position take: memory of each process, bytes on disk."""

import time

from benchmarks import process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, report_progress
from benchmarks.monitor import seed_positions
from benchmarks.results import Result, bounded

FEW, POSITIONS_EACH = 100, 10  # positions for each connection
SETTLE_SECONDS = 90.0  # each account is read once a minute
MOST_BYTES = 20_000.0  # of memory, for an idle connection: 10,000 of them are 200 MB
DISK = """
SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables WHERE relname LIKE %s
"""


def footprint(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Compare the stack with a few connections, with `count` more, and with their positions."""
    environment.run(workers=0)
    environment.reset()
    settle = SETTLE_SECONDS if count >= FEW else 1.0
    few = len(data.connections(FEW))
    data.feed(few)
    before, disk_before = _memory(environment, settle), _disk(environment, "connections_%")
    data.feed(few + count)
    connected, disk = _memory(environment, settle), _disk(environment, "connections_%")
    positions = POSITIONS_EACH * count
    rows_before = _disk(environment, "positions_%")
    seed_positions(environment, data, positions)
    watched = _memory(environment, settle)
    rows = _disk(environment, "positions_%")
    environment.run(workers=0)
    environment.reset()
    connection = _each(before, connected, count)
    position = _each(connected, watched, positions)
    each = max(sum(connection.values()), 1.0)
    return bounded(
        "footprint",
        count,
        each,
        target=MOST_BYTES,
        seconds=3 * settle,
        detail={
            "unit": "bytes of memory for an idle connection, less is better",
            "connection_bytes": connection,
            "connection_disk_bytes": (disk - disk_before) / count,
            "position_bytes": position,
            "position_bytes_in_all": sum(position.values()),
            "position_disk_bytes": (rows - rows_before) / positions,
        },
    )


def _memory(environment: BenchEnvironment, settle: float) -> dict[str, float]:
    """Start the stack, let every account be read, and return the bytes of each process."""
    environment.run(workers=0)
    environment.run(workers=2)
    report_progress(f"  waiting {settle:g} s until all has been read …")
    time.sleep(settle)
    mb = process_usage.memory_mb(environment.pids())
    return {name: 1024 * 1024 * used for name, used in mb.items()}


def _each(before: dict[str, float], after: dict[str, float], count: int) -> dict[str, float]:
    return {name: (used - before.get(name, 0.0)) / count for name, used in after.items()}


def _disk(environment: BenchEnvironment, like: str) -> float:
    return float(environment.sql(DISK, like)[0][0])
