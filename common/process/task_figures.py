"""Counts and times the Celery tasks of this process, for /metrics: by task and how they ended."""

from typing import Any

from celery import states
from celery.signals import task_postrun, task_prerun

from common.clocks import machine_time
from common.process.call_figures import FAILED, FIGURES, OK, Kind

MOST_RUNNING = 10_000  # a task that never ends is forgotten
_began: dict[str, float] = {}  # by the task's id, the oldest first


def connect() -> None:
    """Connect the signals of Celery that begin and end a task."""
    task_prerun.connect(_on_begin, dispatch_uid="common.process.task_figures.begin")
    task_postrun.connect(_on_end, dispatch_uid="common.process.task_figures.end")


def _on_begin(*, task_id: str, **_: Any) -> None:
    if len(_began) >= MOST_RUNNING:
        _began.pop(next(iter(_began)), None)
    _began[task_id] = machine_time()


def _on_end(*, task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
    began = _began.pop(task_id, None)
    if began is None:
        return
    outcome = OK if state in (None, states.SUCCESS) else FAILED
    FIGURES.count(Kind.TASK, task.name, "", outcome, machine_time() - began)
