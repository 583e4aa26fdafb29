"""Run a model of the system through random interleavings of its events."""

import os

from hypothesis import HealthCheck, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
ATTEMPTS = 3


def explore(model: type[RuleBasedStateMachine], *, examples: int, deep_examples: int) -> None:
    """Run so many interleavings, the same ones each time; with HYPOTHESIS_PROFILE=deep others.

    Hypothesis runs the beginning of an interleaving several times. On a busy machine a lease may
    end in one of these runs an event earlier than in the others. It then gives up, although the
    invariants hold, so it is started again.
    """
    chosen = settings(
        max_examples=deep_examples if DEEP else examples,
        stateful_step_count=60 if DEEP else 40,
        deadline=None,
        derandomize=not DEEP,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    for _ in range(ATTEMPTS - 1):
        try:
            return run_state_machine_as_test(model, settings=chosen)
        except FlakyStrategyDefinition:
            continue
    return run_state_machine_as_test(model, settings=chosen)
