"""Run a model of the system through random interleavings of its events."""

from hypothesis import HealthCheck, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.examples import PROFILE, examples
from tests.execution.model_rules import fail_with_events, in_words

TIMEOUT = 7200 if PROFILE == "explore" else 900
ATTEMPTS = 3


def explore(model: type[RuleBasedStateMachine], *, interleavings: int) -> None:
    """Run `examples(interleavings)` interleavings of the model's events.

    A failure begins with the rule that broke, the rows and the events before it.
    """
    chosen = settings(
        max_examples=examples(interleavings),
        stateful_step_count=60 if PROFILE == "explore" else 40,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    setattr(model, "_repr_step", in_words)  # noqa: B010 (a source that changes draws others)
    failure: Exception | None = None
    try:
        _run(model, chosen)
    except Exception as error:
        failure = error
    if failure:
        fail_with_events(failure)


def _run(model: type[RuleBasedStateMachine], chosen: settings) -> None:
    """Hypothesis runs the beginning of an interleaving several times. On a busy machine a lease may
    end in one of these runs an event earlier than in the others. It then gives up, although the
    invariants hold, so it is started again.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return run_state_machine_as_test(model, settings=chosen)
        except FlakyStrategyDefinition:
            continue
    return run_state_machine_as_test(model, settings=chosen)
