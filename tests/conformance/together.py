"""Runs several checks at the same time, each on its own stage: most of them wait for time-outs.
One stage shows for all of them which do not apply."""

import asyncio
from collections.abc import Callable, Sequence

from conformance.registry import ConformanceCheck
from conformance.runner import Mark, OpenHarness, Result, missing_requirement, run
from tests.steady_loop import run as run_steadily


def run_together(
    selected: Sequence[ConformanceCheck],
    open_harness: OpenHarness,
    on_result: Callable[[Result], None],
    at_once: int,
) -> list[Result]:
    """Run at most `at_once` checks at a time; call on_result as each ends; return all in order."""
    results = run_steadily(_run(selected, open_harness, on_result, at_once))
    positions = {item.number: index for index, item in enumerate(selected)}
    return sorted(results, key=lambda item: positions[item.number])


async def _run(
    selected: Sequence[ConformanceCheck],
    open_harness: OpenHarness,
    on_result: Callable[[Result], None],
    at_once: int,
) -> list[Result]:
    not_applicable = await _not_applicable(selected, open_harness)
    for result in not_applicable.values():
        on_result(result)
    remaining = [item for item in selected if item.number not in not_applicable]
    parts = (remaining[first::at_once] for first in range(at_once))
    batches = await asyncio.gather(*(run(part, open_harness, on_result) for part in parts))
    return [*not_applicable.values(), *(item for part in batches for item in part)]


async def _not_applicable(
    selected: Sequence[ConformanceCheck], open_harness: OpenHarness
) -> dict[str, Result]:
    """Return results of checks whose requirements are missing, by number."""
    if len(selected) == 1:
        return {}  # its own stage shows it
    async with open_harness() as harness:
        reasons = {
            item.number: (item.name, missing_requirement(item, harness)) for item in selected
        }
    return {
        number: Result(number, name, Mark.NOT_APPLICABLE, why, 0.0)
        for number, (name, why) in reasons.items()
        if why
    }
