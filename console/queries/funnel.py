"""The funnel of a signal's candidates: how many orders passed each step. Pure.

An order that has not passed a step either ended there or is still waiting there.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from common.web.formatting import STATES, number

STEPS = ("Candidates", "Eligible", "Within limits", "Answered by the broker", "Accepted", "Filled")
_PASSED = {  # order status → index of the last step that it passed
    "SKIPPED": 0,
    "PENDING": 1,
    "DENIED": 1,
    "SUBMITTING": 2,
    "UNKNOWN": 2,
    "FAILED": 2,
    "REJECTED": 3,
    "SUBMITTED": 4,
    "PARTIALLY_FILLED": 4,
    "CANCEL_REQUESTED": 4,
    "FILLED": 5,
}


def _waits(status: str) -> bool:
    """Whether an order of this status may still change on its own."""
    return STATES[status].share in {"working", "unknown"}


@dataclass(frozen=True, slots=True)
class Progress:
    """What decides an order's step in the funnel. sent: its intent is stored; answered: the broker
    acknowledged it.
    """

    status: str
    sent: bool
    answered: bool

    @property
    def passed(self) -> int:
        """Return the index of the last step that it passed."""
        if self.status in {"CANCELLED", "EXPIRED"}:  # in any state before
            return 4 if self.answered else 2 if self.sent else 1
        return _PASSED[self.status]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the funnel: how many passed, ended and wait here. Widths: percent as text."""

    name: str
    passed: int
    ended: int
    waiting: int
    total: int
    note: str

    @property
    def width(self) -> str:
        return _percent(self.passed, self.total)

    @property
    def waiting_x(self) -> str:
        return self.width

    @property
    def waiting_width(self) -> str:
        return _percent(self.waiting, self.total)

    @property
    def ended_x(self) -> str:
        return _percent(self.passed + self.waiting, self.total)

    @property
    def ended_width(self) -> str:
        return _percent(self.ended, self.total)


def _percent(part: int, total: int) -> str:
    return f"{part / total * 100 if total else 0:.1f}%"


def funnel(progress: Mapping[Progress, int]) -> list[Step]:
    """Return the steps from all candidates to the filled ones."""
    total = sum(progress.values())
    steps = [Step(STEPS[0], total, 0, 0, total, f"{number(total)} connections")]
    for index, name in enumerate(STEPS[1:], start=1):
        here = {at: count for at, count in progress.items() if at.passed == index - 1}
        passed = sum(count for at, count in progress.items() if at.passed >= index)
        waiting = sum(count for at, count in here.items() if _waits(at.status))
        ended = sum(here.values()) - waiting
        note = _note(here) or ("all of them" if passed and passed == steps[-1].passed else "")
        steps.append(Step(name, passed, ended, waiting, total, note))
    return steps


def _note(here: Mapping[Progress, int]) -> str:
    """Describe who did not pass: orders that ended first, then those that wait."""
    counts: Counter[str] = Counter()
    for at, count in sorted(here.items(), key=lambda item: _waits(item[0].status)):
        state = STATES[at.status]
        counts[state.word.lower() if _waits(at.status) else state.share] += count
    return ", ".join(f"{number(count)} {word}" for word, count in counts.items())
