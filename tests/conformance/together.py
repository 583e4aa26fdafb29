"""Several checks at the same time, each on a stage of its own: most of them wait for time-outs.
What does not apply is seen on one stage for all of them."""

import asyncio
from collections.abc import Callable, Sequence

from conformance.registry import Case
from conformance.runner import Mark, OpenHarness, Result, missing_requirement, run


def run_together(
    chosen: Sequence[Case], opened: OpenHarness, tell: Callable[[Result], None], at_once: int
) -> list[Result]:
    """Run the checks, so many at a time. Tells each as it ends; returns them in their order."""
    results = asyncio.run(_run(chosen, opened, tell, at_once))
    place = {one.number: at for at, one in enumerate(chosen)}
    return sorted(results, key=lambda one: place[one.number])


async def _run(
    chosen: Sequence[Case], opened: OpenHarness, tell: Callable[[Result], None], at_once: int
) -> list[Result]:
    apart = await _not_applicable(chosen, opened)
    for result in apart.values():
        tell(result)
    played = [one for one in chosen if one.number not in apart]
    parts = (played[first::at_once] for first in range(at_once))
    found = await asyncio.gather(*(run(part, opened, tell) for part in parts))
    return [*apart.values(), *(one for part in found for one in part)]


async def _not_applicable(chosen: Sequence[Case], opened: OpenHarness) -> dict[str, Result]:
    """By number, what the account does not claim or the stage does not offer."""
    if len(chosen) == 1:
        return {}  # its own stage shows it
    async with opened() as stage:
        reasons = {one.number: (one.name, missing_requirement(one, stage)) for one in chosen}
    return {
        number: Result(number, name, Mark.NOT_APPLICABLE, why, 0.0)
        for number, (name, why) in reasons.items()
        if why
    }
