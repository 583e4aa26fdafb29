"""Memory of the whole stack per connection."""

from benchmarks import fanout, process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment
from benchmarks.results import Result, bounded

TARGET_MB = 1.0


def memory(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure the proportional set size of all processes after signals to `count` connections.

    Without the supervisor: here it is the benchmark's own process. `start` measures the real one.
    """
    environment.run(workers=2)
    for _ in range(environment.rounds):
        environment.reset()
        fanout.ours(environment, data, count)
    pids = environment.pids()
    by_name = process_usage.memory_mb(pids)
    environment.reset()
    each = sum(by_name.values()) / count
    return bounded(
        "memory",
        count,
        each,
        target=TARGET_MB,
        detail={
            "unit": "MB per connection, less is better",
            "mb": by_name,
            "database_sessions": process_usage.database_sessions(pids["postgres"]),
        },
    )
