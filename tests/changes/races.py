"""Two acts of which one wins, made to meet in two sessions of the database."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.models import Model

from common.errors import FillcastError
from tests.changes.concurrent_forms import SECONDS, at_once, wait_until_they_wait

Act = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Race:
    """Two acts that must not both win.

    answers: what the first and the second one get (`text_of`). left: what is stored then. row: both
    have read this row before either may write, in any order. Without it the second one begins while
    the first one has done its part and has not committed.
    """

    first: Act
    second: Act
    answers: tuple[str, str]
    left: Callable[[], Any] = lambda: None
    stored: Any = None
    row: Model | None = field(default=None, kw_only=True)


def require_one_winner(race: Race) -> None:
    """Run a race, and compare what its acts get and what is stored with what is expected."""
    __tracebackhide__ = True
    if race.row is not None:
        one, other = sorted(map(text_of, at_once(race.row, race.first, race.second)))
        found, expected = (one, other), tuple(sorted(race.answers))
    else:
        found, expected = meet(race.first, race.second), race.answers
    if found != expected:
        raise AssertionError(f"the two acts were answered {found}, expected {expected}")
    if (left := race.left()) != race.stored:
        raise AssertionError(f"stored is {left!r}, expected {race.stored!r}")


def meet(first: Act, second: Act) -> tuple[str, str]:
    """Run `first`, then `second` in a session of its own before the first one's commit.

    It commits once the second one waits for it, or is done. Return the answers as texts.
    """
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(_answer_elsewhere(second)))
    with transaction.atomic():
        mine = _answer(first)
        thread.start()
        wait_until_they_wait([thread])
    thread.join(SECONDS)
    assert not thread.is_alive(), "the second act hangs"
    return text_of(mine), text_of(answers[0])


def text_of(answer: Any) -> str:
    """Return an answer as a text: a refusal's code, whether a pair's object is new, `done`."""
    if isinstance(answer, FillcastError):
        return str(answer.code)
    if isinstance(answer, Exception):
        return f"{type(answer).__name__}: {answer}"
    if isinstance(answer, tuple) and isinstance(answer[-1], bool):
        answer = answer[-1]
    return str(answer) if isinstance(answer, bool | int | str | list | dict) else "done"


def _answer(act: Act) -> Any:
    try:
        with transaction.atomic():
            return act()
    except Exception as error:
        return error


def _answer_elsewhere(act: Act) -> Any:
    try:
        return act()
    except Exception as error:
        return error
    finally:
        connection.close()
