"""Calls in a test map no memory for their frames."""

import resource

DEPTHS = range(0, 400, 2)  # a chunk has 16 KB: some of these calls begin another one
TIMES, ATTEMPTS = 3, 5


def deep(depth: int) -> int:
    return deep(depth - 1) if depth else 0


def call_each() -> None:
    for depth in DEPTHS:
        deep(depth)


def test_calls_that_repeat_map_no_memory() -> None:
    """Outside of a large frame, each time takes a page or more for each depth.

    The least of some attempts counts: the system takes pages back on a machine that lacks memory.
    """
    call_each()
    assert min(pages_mapped() for _ in range(ATTEMPTS)) < TIMES * len(DEPTHS) / 2


def pages_mapped() -> int:
    """Return how many pages this thread maps while the calls repeat."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(TIMES):
        call_each()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before
