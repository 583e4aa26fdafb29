"""Which scheduled tasks have nothing to do now: their messages need not be sent.

A task that finds nothing costs its message, a turn of a worker and a query of its own, every few
seconds. Beat asks for all of them at once (`config/beat.py`).
"""

from common.db.sql import Params, exchange

_questions: dict[str, tuple[str, Params]] = {}


def send_only_if_waiting(task: str, sql: str, params: Params = None) -> None:
    """Let beat send a task only if `sql` finds work: a row whose first column is true.

    sql: one statement that an index answers. It must find all that the task would do, also what it
    removes.
    """
    _questions[task] = (sql, params)


def has_question(task: str) -> bool:
    """Return whether anything was registered for a task."""
    return task in _questions


def tasks_without_work() -> set[str]:
    """Return the registered tasks that would find nothing. Raises DatabaseError."""
    answers = exchange(list(_questions.values()))
    return {
        task
        for task, found in zip(_questions, answers, strict=True)
        if not any(row[0] for row in found)
    }
