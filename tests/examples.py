"""How many examples Hypothesis draws, and whether they are the same in every run.

`make test` draws few: the same ones in every run, on every Python and every machine. With
HYPOTHESIS_PROFILE=all (`make test-all`) a run draws five times as many, with `explore` (`make
explore`) fifty times as many, and others in each run. What they find becomes a fixed case, with its
mend.
"""

import os

import hypothesis
from hypothesis import HealthCheck
from hypothesis.internal.conjecture import providers

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "usual")
_FACTORS = {"usual": 0.2, "all": 1.0, "explore": 10.0}
FEWEST = 3
DRAWS_OTHERS = PROFILE != "usual"


def examples(number: int) -> int:
    """Return how many examples this run draws of a test that `make test-all` gives `number`."""
    return max(min(FEWEST, number), round(number * _FACTORS[PROFILE]))


def load_profile() -> None:
    """Set what applies to all tests of this run. Raises ValueError for an unknown profile."""
    if PROFILE not in _FACTORS:
        raise ValueError(f"HYPOTHESIS_PROFILE={PROFILE}: use one of {', '.join(_FACTORS)}.")
    hypothesis.settings.register_profile(
        "fillcast",
        max_examples=examples(100),
        derandomize=not DRAWS_OTHERS,
        database=None,  # an earlier run's finds would make this one's examples others
        deadline=None,  # no test fails because it is slow
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )
    hypothesis.settings.load_profile("fillcast")
    if not DRAWS_OTHERS:
        _draw_no_constants_of_modules()


def _draw_no_constants_of_modules() -> None:
    """Let no example depend on which modules are imported: which tests ran before in this process.

    Hypothesis sometimes draws a number or text that stands in the source of an imported module.
    """
    providers._get_local_constants = lambda: providers._local_constants  # empty
