"""What a model's rules say when they break: the rule in words, the rows, then what had happened."""

import traceback
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import pytest
from hypothesis.stateful import RuleBasedStateMachine


class BrokenRuleError(AssertionError):
    """A rule of a model does not hold; its message is the rule and what breaks it."""


def in_words(_: RuleBasedStateMachine, rule: Any, data: Any, result: Any) -> str:
    """Return an event of a model as Hypothesis is to print it."""
    details = ", ".join(f"{name} {value}" for name, value in data.items())
    return f"event: {rule.function.__name__.replace('_', ' ')}" + (
        f" ({details})" if details else ""
    )


def holds(is_kept: bool, rule: str, *found: Any) -> None:
    """Fail with the rule and the rows that break it, if it is not kept."""
    if not is_kept:
        raise BrokenRuleError("\n".join([rule, *(f"  found: {described(one)}" for one in found)]))


def described(found: Any) -> str:
    """Return a row, an object or several as their values that are not empty."""
    if isinstance(found, list | tuple) and not hasattr(found, "_asdict"):
        return "; ".join(map(described, found)) or "none"
    values = found._asdict() if hasattr(found, "_asdict") else getattr(found, "__dict__", None)
    if not isinstance(values, dict):
        return f"{found}"
    shown = {name: one for name, one in values.items() if one not in (None, "", False, [], {}, ())}
    return " ".join(f"{name}={one}" for name, one in shown.items())


def fail_with_events(error: Exception) -> None:
    """Fail with the rule that broke, the rows, and the events before it."""
    __tracebackhide__ = True
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if "/tests/" in one.filename and one.name != "holds"]
    kept = f"{error}" if isinstance(error, BrokenRuleError) else f"{type(error).__name__}: {error}"
    lines = [f"Rule broken: {kept}"]
    if own:
        lines.append(
            f"  in: {own[-1].name} ({own[-1].filename.split('/tests/')[-1]}:{own[-1].lineno})"
        )
    lines.append("After these events:")
    for number, (event, times) in enumerate(_in_a_row(_events(error)), 1):
        lines.append(f"  {number}. {event}" + (f", {times} times" if times > 1 else ""))
    stack_trace = "".join(traceback.format_exception(error))
    pytest.fail("\n".join([*lines, "", stack_trace]), pytrace=False)


def _in_a_row(events: Iterable[str]) -> Iterator[tuple[str, int]]:
    for event, same in groupby(events):
        yield event, len(list(same))


def _events(error: BaseException) -> Iterator[str]:
    notes: Iterable[str] = getattr(error, "__notes__", ())
    for note in notes:
        for line in note.splitlines():
            if line.startswith("event: "):
                yield line.removeprefix("event: ")
            elif line.startswith("state.teardown"):
                yield "everything recovers and settles"
