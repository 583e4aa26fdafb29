"""Which lane a shared session is in, and who holds a lane."""

from django.db import models


class LaneLease(models.Model):
    """One row per lane that was ever held: by whom, and until when nobody else may take it.

    fence: how often it was taken. A process that stood still finds its row gone to another.
    """

    lane = models.CharField(primary_key=True, max_length=64)
    owner = models.CharField(max_length=80, help_text="A trading process, as in its own lease.")
    fence = models.BigIntegerField(default=1, db_default=1)
    acquired_at = models.DateTimeField(help_text="No comparison that began before counts.")
    until = models.DateTimeField(help_text="By the database's clock.")

    def __str__(self) -> str:
        return f"{self.lane} of {self.owner}"


class LaneAssignment(models.Model):
    """The lane of a session that several connections may share (a folder), decided once.

    Two connections are in one lane or two processes own one folder, so it does not follow from a
    setting that operators change while the first of them lives.
    """

    session_key = models.CharField(primary_key=True, max_length=200)
    lane = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.session_key} in {self.lane}"
