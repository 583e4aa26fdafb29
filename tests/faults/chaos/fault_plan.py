"""The faults of a run and their times, drawn from a seed. Pure: equal seeds give equal plans."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

WORKERS = ("execution-1", "execution-2", "exits", "maintenance", "sessions", "sessions-2")
ENTRIES = ("execution-1", "execution-2", "sessions", "sessions-2")  # work on a burst
PROCESSES = (*WORKERS, "beat", "prices", "web", "fork-server")
FIRST, LEAST, MOST = 3.0, 1.0, 3.0  # seconds before the first fault, and between two
BURST_EVERY = 12  # faults
WEIGHTS = {
    "kill": 24,
    "stop": 10,
    "long-stop": 3,
    "term": 10,
    "redis-kill": 3,
    "redis-flush": 3,
    "redis-pause": 3,
    "postgres-restart": 2,
    "postgres-crash": 2,
    "broker-kill": 2,
    "broker-stop": 2,
    "broker-reset": 5,
    "broker-refuse": 4,
    "broker-half": 4,
    "broker-replay": 3,
    "silent-before": 3,
    "silent-after": 3,
    "slow": 4,
    "late": 5,
    "partition": 4,
    "mute": 3,
    "delay": 3,
}
LASTS = {  # seconds, from and to
    "stop": (1.0, 4.0),  # longer than the lease
    "long-stop": (15.0, 20.0),  # longer than the lease and both absence confirmations
    "redis-kill": (0.5, 4.0),
    "redis-pause": (1.0, 4.0),
    "postgres-restart": (0.0, 2.0),
    "postgres-crash": (0.0, 1.0),
    "broker-stop": (1.0, 7.0),
    "broker-refuse": (1.0, 4.0),
    "silent-before": (1.0, 4.0),
    "silent-after": (1.0, 4.0),
    "slow": (2.0, 5.0),
    "late": (3.0, 6.0),
    "partition": (1.0, 8.0),
    "mute": (0.5, 3.0),
    "delay": (1.0, 4.0),
}
WHO = {
    "kill": PROCESSES,
    "term": PROCESSES,
    "stop": (*WORKERS, "prices"),
    "long-stop": tuple(name for name in WORKERS if name != "maintenance"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One fault. at: seconds from the start; lasts: seconds; burst: signals published before it."""

    at: float
    kind: str
    who: str = ""
    lasts: float = 0.0
    burst: int = 0

    def __str__(self) -> str:
        parts = [self.kind, self.who, f"for {self.lasts:.1f} s" if self.lasts else ""]
        parts.append(f"in a burst of {self.burst} signals" if self.burst else "")
        return " ".join(part for part in parts if part)


def plan(seed: int, seconds: float) -> list[Step]:
    """Draw the faults of a run; a longer run begins like a shorter one."""
    rng = random.Random(seed)  # reproducible, not secret
    steps: list[Step] = []
    at = FIRST
    while at < seconds:
        steps.append(_step(rng, at, len(steps) + 1))
        at += rng.uniform(LEAST, MOST)
    return steps


def _step(rng: random.Random, at: float, number: int) -> Step:
    if number % BURST_EVERY == 4:
        return _in_a_burst(rng, at, "kill")
    if number % BURST_EVERY == 8:
        return _in_a_burst(rng, at, "long-stop")
    kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    who = WHO.get(kind, ("",))
    return Step(at, kind, rng.choice(who), rng.uniform(*LASTS.get(kind, (0.0, 0.0))))


def _in_a_burst(rng: random.Random, at: float, kind: str) -> Step:
    who, lasts = rng.choice(ENTRIES), rng.uniform(*LASTS.get(kind, (0.0, 0.0)))
    return Step(at, kind, who, lasts, burst=rng.randint(6, 8))


def by_kind(steps: Sequence[Step]) -> dict[str, int]:
    """Return the number of faults by kind."""
    return dict(sorted(Counter(step.kind for step in steps).items()))
