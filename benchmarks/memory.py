"""Memory of the whole stack, for each connection."""

from benchmarks import fanout, usage
from benchmarks.place import Place
from benchmarks.results import Result
from benchmarks.world import World

TARGET_MB = 1.0


def memory(place: Place, world: World, n: int) -> Result:
    """Proportional set size of every process of the stack after some signals to n connections."""
    place.run(workers=2)
    for _ in range(place.rounds):
        place.reset()
        fanout.ours(place, world, n)
    by_kind = usage.memory_mb({**place.pids(), "supervisor": [usage.me()]})
    place.reset()
    each = sum(by_kind.values()) / n
    return Result(
        name="memory",
        n=n,
        seconds=0.0,
        rate=0.0,
        p50_ms=None,
        p99_ms=None,
        baseline=None,
        ratio=each,
        target=TARGET_MB,
        ok=each <= TARGET_MB,
        half=each <= 2 * TARGET_MB,
        detail={"unit": "MB per connection, less is better", "mb": by_kind},
    )
