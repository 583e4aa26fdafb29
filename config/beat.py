"""Beat's scheduler: schedules are rows that operators edit, read and written sparingly.

The package's own asks several times a second whether a row has changed, and writes each run in four
statements. An installation with nothing to do would spend most of beat's time on that.
"""

from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from common.clocks import machine_time

LOOK_SECONDS = 2.0  # until a change in the console counts


class BeatEntry(ModelEntry):  # type: ignore[misc]  # celery-beat has no types
    """A schedule, whose runs are stored by one statement."""

    def save(self) -> None:
        """Store when it last ran, for the console and `doctor`."""
        stored = type(self.model)._default_manager.filter(pk=self.model.pk)
        stored.update(
            last_run_at=self.model.last_run_at, total_run_count=self.model.total_run_count
        )


class BeatScheduler(DatabaseScheduler):  # type: ignore[misc]
    """Reads the schedules again within LOOK_SECONDS of a change."""

    Entry = BeatEntry
    _looks_at = 0.0  # machine time

    def schedule_changed(self) -> bool:
        """Return whether an operator or a migration has changed a schedule since the last look."""
        if machine_time() < self._looks_at:
            return False
        self._looks_at = machine_time() + LOOK_SECONDS
        return bool(super().schedule_changed())
