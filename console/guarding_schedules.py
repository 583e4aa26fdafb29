"""The schedules that guard money: they may be slowed within a limit, never removed or disabled.

The database refuses it to the web process, too (config/migrations/0015_guarding_schedules.py).
"""

from collections.abc import Iterable

from django_celery_beat.models import IntervalSchedule, PeriodicTask

from common.errors import ConflictError
from common.reason_codes import Code
from console.schedule_texts import interval as in_words

SLOWEST = {  # seconds: five times as seldom as it is installed
    "execution.watch_positions": 300,
    "execution.reconcile": 1500,
    "execution.audit": 18_000,
    "events.deliver": 10,
    "connections.refresh_accounts": 300,  # loss limits are judged by what it reads
}
FIXED = (
    "task", "queue", "exchange", "routing_key", "headers", "args", "kwargs", "one_off",
    "start_time", "expires",
)  # fmt: skip
LEAST_EXPIRY = 2
SECONDS = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1, "microseconds": 1e-6}


def require_guards_stay(tasks: Iterable[PeriodicTask], what: str) -> None:
    """Refuse to remove or disable what guards money. Raises ConflictError STATE_CONFLICT."""
    if names := sorted(task.name for task in tasks if task.task in SLOWEST):
        raise _refusal(f"{', '.join(names)} guards money, so it cannot be {what}.")


def require_still_guards(task: PeriodicTask, before: PeriodicTask) -> None:
    """Check a changed schedule. Raises ConflictError STATE_CONFLICT."""
    if before.task not in SLOWEST:
        return
    if not task.enabled:
        require_guards_stay([before], "disabled")
    changed = [name for name in FIXED if getattr(task, name) != getattr(before, name)]
    expiry = task.expire_seconds
    if expiry is not None and expiry < LEAST_EXPIRY:
        changed.append("expire_seconds")
    if changed or task.interval is None:
        stays = ", ".join(changed) or "its interval"
        raise _refusal(f"{before.name} guards money: only its interval may change, not {stays}.")
    _require_pace(before.name, before.task, task.interval)


def require_pace(interval: IntervalSchedule) -> None:
    """Check a changed interval for all that run by it. Raises ConflictError STATE_CONFLICT."""
    for task in PeriodicTask.objects.filter(interval=interval.pk, task__in=SLOWEST):
        _require_pace(task.name, task.task, interval)


def _require_pace(name: str, task: str, interval: IntervalSchedule) -> None:
    if interval.every * SECONDS[interval.period] > SLOWEST[task]:
        raise _refusal(f"{name} guards money: it runs at least {in_words(SLOWEST[task])}.")


def _refusal(sentence: str) -> ConflictError:
    return ConflictError(Code.STATE_CONFLICT, sentence)
