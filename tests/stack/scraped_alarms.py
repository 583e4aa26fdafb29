"""What the alarm rules make of scrapes: a time line of them, judged by promtool.

Prometheus reads every SCRAPE_SECONDS, so one scrape is one sample. A phase of the time line holds
what was scraped: gauges stay, and counters go on as they did. No test waits for a `for:`.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

MONITORING = Path(__file__).parents[2] / "deploy/monitoring"
RULES: dict[str, Any] = yaml.safe_load((MONITORING / "alarms.yml").read_text())["groups"][0]
PROMETHEUS = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
SCRAPE_SECONDS = int(PROMETHEUS["global"]["scrape_interval"].removesuffix("s"))
EVALUATION_SECONDS = int(RULES["interval"].removesuffix("s"))
NAMED = {name for rule in RULES["rules"] for name in re.findall(r"fillcast_\w+", rule["expr"])}
COUNTER = re.compile(r"_(total|count|sum|bucket)(\{|$)")
UP = 'up{instance="web",job="fillcast"}'
BEFORE_STEPS = AFTER_STEPS = 720 // SCRAPE_SECONDS  # longer than each window of a rule
FIRING = 'ALERTS{alertstate="firing"}'
Scrape = Mapping[str, float]
"""The value of each series that a rule names; without an answer only UP, which is 0 then."""


def scrape_of(text: str | None) -> Scrape:
    """Return what Prometheus stores of an answer of /metrics; None: there was none."""
    if text is None:
        return {UP: 0.0}
    found = {UP: 1.0}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in NAMED:
                labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@dataclass(slots=True)
class TimeLine:
    """Scrapes in their order, from which promtool makes series."""

    steps: list[Scrape] = field(default_factory=list)
    _totals: dict[str, float] = field(default_factory=dict)

    def hold(self, scrape: Scrape, steps: int, *, since: Scrape) -> None:
        """Add so many steps. Counters rise in each as they did from `since` to this scrape."""
        for _ in range(steps):
            step = dict(scrape)
            for name in filter(COUNTER.search, scrape):
                more = scrape[name] - since.get(name, 0.0)
                more = scrape[name] if more < 0 else more  # its process has started again
                step[name] = self._totals[name] = self._totals.get(name, 0.0) + more
            self.steps.append(step)

    def seconds(self) -> int:
        """Return the time of the last step."""
        return (len(self.steps) - 1) * SCRAPE_SECONDS

    def series(self) -> list[dict[str, str]]:
        """Return the series with one value for each step."""
        names = sorted({name for step in self.steps for name in step})
        return [{"series": name, "values": " ".join(self._values(name))} for name in names]

    def _values(self, name: str) -> list[str]:
        values: list[str] = []
        was_there = False
        for step in self.steps:
            if (value := step.get(name)) is not None:
                values.append(f"{value:f}")
            else:  # Prometheus marks what is gone as stale
                values.append("stale" if was_there else "_")
            was_there = value is not None
        return values

    def judge(self, windows: Sequence[tuple[int, int]]) -> list[set[str]]:
        """Return the alarms that were firing in each of these times: its last second, its length.

        Each query expects what cannot be, so that promtool states what it found.
        """
        queries = [
            {
                "expr": f"count by (alertname) (last_over_time({FIRING}[{length}s]))",
                "eval_time": f"{end}s",
                "exp_samples": [{"labels": '{alertname="none"}', "value": -1}],
            }
            for end, length in windows
        ]
        case = {
            "interval": f"{SCRAPE_SECONDS}s",
            "input_series": self.series(),
            "promql_expr_test": queries,
        }
        file = {
            "rule_files": [str(MONITORING / "alarms.yml")],
            "evaluation_interval": f"{EVALUATION_SECONDS}s",
            "tests": [case],
        }
        with TemporaryDirectory() as folder:
            path = Path(folder) / "tests.yml"
            path.write_text(yaml.dump(file, Dumper=yaml.CSafeDumper))
            done = subprocess.run(
                ["promtool", "test", "rules", str(path)],
                capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
        answers = re.findall(r"^ +got: (.*)$", done.stdout + done.stderr, re.MULTILINE)
        assert len(answers) == len(windows), done.stdout + done.stderr
        return [set(re.findall(r'alertname="(\w+)"', answer)) for answer in answers]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure raised. seconds: from the failure until each alarm fires, at the latest.

    early: what fired before it; lasting: what has not ended long after its mend.
    """

    early: set[str]
    seconds: Mapping[str, int]
    lasting: set[str]

    @property
    def raised(self) -> set[str]:
        """The alarms that the failure raised."""
        return set(self.seconds)


def judge_failure(
    traffic: Scrape, before: Scrape, failed: Scrape, mended: Sequence[Scrape], *, lasts: int
) -> Verdict:
    """Judge a failure that lasts so many seconds, from the scrapes around it.

    traffic: a scrape before `before`; the counters rise that fast while nothing is wrong. mended:
    two scrapes, between which they rise as fast as they do then.
    A failure begins right after a scrape, and the rules are judged once after each one. Prometheus
    judges them at another moment, so that an alarm may come EVALUATION_SECONDS later.
    """
    line = TimeLine()
    line.hold(before, BEFORE_STEPS, since=traffic)
    begins = line.seconds()
    steps = lasts // SCRAPE_SECONDS
    line.hold(failed, steps, since=before)
    ends = line.seconds()
    line.hold(mended[-1], AFTER_STEPS, since=mended[0])
    times = [begins + SCRAPE_SECONDS * step for step in range(1, steps + 1)]
    found = line.judge(
        [(begins, begins), *((at, EVALUATION_SECONDS) for at in times),
         (line.seconds(), EVALUATION_SECONDS)]
    )  # fmt: skip
    early, *while_failed, lasting = found
    assert times[-1] == ends
    seconds: dict[str, int] = {}
    for at, names in zip(times, while_failed, strict=True):
        for name in names - early:
            seconds.setdefault(name, at - begins + EVALUATION_SECONDS)
    return Verdict(early, seconds, lasting)
