"""Providers in installed Python packages: the entry points `fillcast.decision_providers`."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from execution.decision_step.types import (
    Answers,
    Decided,
    Failure,
    NoAnswerError,
    Question,
    checked,
)

ENTRY_POINTS = "fillcast.decision_providers"


def installed() -> list[str]:
    """Return the names of the installed providers, sorted."""
    return sorted({point.name for point in entry_points(group=ENTRY_POINTS)})


@cache
def load(name: str) -> Any:
    """Return an installed provider. Raises NoAnswerError if it is missing or cannot be imported."""
    found = [point for point in entry_points(group=ENTRY_POINTS) if point.name == name]
    if not found:
        raise NoAnswerError(Failure.NOT_INSTALLED, f"No package provides {name}.")
    try:
        provider = found[0].load()
    except Exception as error:  # any: importing a broken package may raise anything
        raise NoAnswerError(Failure.NOT_INSTALLED, f"{name}: {type(error).__name__}") from error
    if not callable(provider):
        raise NoAnswerError(Failure.NOT_INSTALLED, f"{name} is not callable.")
    return provider


def ask(name: str, questions: Sequence[Question]) -> Answers:
    """Call an installed provider and check what it returns. Raises NoAnswerError."""
    provider = load(name)
    try:
        returned = provider(tuple(questions))
    except NoAnswerError:
        raise
    except Exception as error:  # any: a package's code may raise anything
        raise NoAnswerError(Failure.ERROR, f"{name}: {type(error).__name__}") from error
    return read_returned(returned, {question.order_id for question in questions})


def read_returned(returned: object, order_ids: set[int]) -> Answers:
    """Return the checked answers. Raises NoAnswerError if they are about other orders."""
    if not isinstance(returned, Mapping):
        raise NoAnswerError(Failure.BAD_ANSWER, "It returned no mapping.")
    if unknown := [key for key in returned if key not in order_ids]:
        raise NoAnswerError(
            Failure.BAD_ANSWER, f"{str(unknown[0])[:40]!r} is no order asked about."
        )
    answers: dict[int, Decided | NoAnswerError] = {}
    for order_id, decided in returned.items():
        try:
            answers[order_id] = checked(
                getattr(decided, "factor", None), getattr(decided, "reason", "")
            )
        except NoAnswerError as error:
            answers[order_id] = error
    return answers
