"""Several checks at the same time, each on a stage of its own: most of them wait for time-outs."""

import asyncio
from collections.abc import Callable, Sequence

from brokers.conformance.case import Case
from brokers.conformance.run import Open, Result, run


def run_together(
    chosen: Sequence[Case], opened: Open, tell: Callable[[Result], None], at_once: int
) -> list[Result]:
    """Run the checks, so many at a time. Tells each as it ends; returns them in their order."""
    results = asyncio.run(_run(chosen, opened, tell, at_once))
    place = {one.number: at for at, one in enumerate(chosen)}
    return sorted(results, key=lambda one: place[one.number])


async def _run(
    chosen: Sequence[Case], opened: Open, tell: Callable[[Result], None], at_once: int
) -> list[Result]:
    parts = (chosen[first::at_once] for first in range(at_once))
    found = await asyncio.gather(*(run(part, opened, tell) for part in parts))
    return [one for part in found for one in part]
