"""The figures that the benchmarks are expected to reach, and what has become worse.

`expected.json` holds one figure for each benchmark, with the machine and the load at which it was
measured. Ratios to a baseline of the same run are compared on every machine; by processor time
where a benchmark states it, which varies least; with small numbers by the number of called
functions, which does not vary at all. Where less is better most figures are seconds or
megabytes: those are compared on the same processor only.

A shared machine is twice as fast on some days as on others, and a ratio moves with it. So a figure
that is recorded again keeps the worst of its runs. To expect more after an improvement, remove its
figure from the file first.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.results import Result

PATH = Path(__file__).with_name("expected.json")
SMALL_PATH = PATH.with_name("expected_small.json")  # of `suite.SMALL`
TOLERANCE = 0.2


@dataclass(frozen=True, slots=True)
class Figure:
    """One benchmark's figure, the worst of so many runs.

    name: what it is (`ratio`, `cpu_ratio` or `calls_ratio`); measured_on, load: when, and of the
    machine then.
    """

    n: int
    name: str
    value: float
    more_is_better: bool
    measured_on: str
    processor: str
    cores: int
    load: float
    runs: int = 1


class Comparison(NamedTuple):
    """How one result compares with what is expected. text: a line for people."""

    text: str
    is_worse: bool = False


def read(path: Path = PATH) -> dict[str, Figure]:
    if not path.exists():
        return {}
    return {name: Figure(**values) for name, values in json.loads(path.read_text()).items()}


def record(facts: Mapping[str, Any], results: Sequence[Result], path: Path = PATH) -> None:
    """Expect no more than these results from now on; figures of other benchmarks stay."""
    figures = read(path)
    names = ("calls_ratio",) if path == SMALL_PATH else ("cpu_ratio",)
    for result in results:
        name = next((name for name in names if name in result.detail), "ratio")
        figures[result.name] = _worst(figures.get(result.name), _figure(facts, result, name))
    text = json.dumps({name: asdict(figures[name]) for name in sorted(figures)}, indent=2)
    path.write_text(f"{text}\n")


def compare(
    facts: Mapping[str, Any], results: Sequence[Result], expected: Mapping[str, Figure]
) -> list[Comparison]:
    """Compare each result with what is expected: worse by more than a fifth is a regression."""
    return [_compare(facts, result, expected.get(result.name)) for result in results]


def _compare(facts: Mapping[str, Any], result: Result, expected: Figure | None) -> Comparison:
    if expected is None:
        return Comparison(f"{result.name}: nothing is expected yet; record it")
    if result.n != expected.n:
        return Comparison(f"{result.name}: not compared, n is {result.n:,} and was {expected.n:,}")
    machine = (facts["processor"], facts["cores"])
    if not expected.more_is_better and machine != (expected.processor, expected.cores):
        text = f"{result.name}: not compared, it was measured on {expected.processor}"
        return Comparison(f"{text} with {expected.cores} cores")
    value = _value(result, expected.name)
    change = value / expected.value - 1
    is_worse = (-change if expected.more_is_better else change) > TOLERANCE
    text = (
        f"{result.name}: {expected.name} {value:.3g}, expected {expected.value:.3g}"
        f" ({change:+.0%}, {'more' if expected.more_is_better else 'less'} is better;"
        f" measured on {expected.measured_on} at load {expected.load:g})"
    )
    return Comparison(f"{text}: WORSE" if is_worse else text, is_worse)


def _figure(facts: Mapping[str, Any], result: Result, name: str) -> Figure:
    return Figure(
        n=result.n, name=name, value=float(f"{_value(result, name):.3g}"),
        more_is_better=result.more_is_better, measured_on=datetime.now(UTC).date().isoformat(),
        processor=facts["processor"], cores=facts["cores"], load=facts["load"],
    )  # fmt: skip


def _worst(before: Figure | None, now: Figure) -> Figure:
    """Return the worse one, if both are the same figure of the same size; otherwise the new one."""
    if before is None or (before.n, before.name) != (now.n, now.name):
        return now
    is_worse = now.value < before.value if now.more_is_better else now.value > before.value
    return replace(now if is_worse else before, runs=before.runs + 1)


def _value(result: Result, name: str) -> float:
    return float(result.ratio if name == "ratio" else result.detail[name])
