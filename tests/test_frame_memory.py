"""Calls in a test map no memory for their frames."""

import resource

DEPTHS = range(0, 400, 2)  # a chunk has 16 KB: some of these calls begin another one
TIMES = 3


def deep(depth: int) -> int:
    return deep(depth - 1) if depth else 0


def call_each() -> None:
    for depth in DEPTHS:
        deep(depth)


def test_calls_that_repeat_map_no_memory() -> None:
    """Outside of a large frame, each time takes a page or more for each depth."""
    call_each()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(TIMES):
        call_each()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < TIMES * len(DEPTHS) / 2
