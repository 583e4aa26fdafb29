"""Leases of session lanes, and the lanes of shared sessions."""

from django.db import models


class LaneLease(models.Model):
    """The lease of a lane: which process holds it, and until when no other may take it.

    fence: the fencing token, increased with each new owner, by which a process that was suspended
    notices that another one holds its lane.
    """

    lane = models.CharField(primary_key=True, max_length=64)
    owner = models.CharField(max_length=80, help_text="A trading process, as in its own lease.")
    fence = models.BigIntegerField(default=1, db_default=1)
    acquired_at = models.DateTimeField(help_text="Reconciliations that began earlier are void.")
    until = models.DateTimeField(help_text="By the database's clock.")

    def __str__(self) -> str:
        return f"{self.lane} of {self.owner}"


class LaneAssignment(models.Model):
    """The lane of a session that several connections may share (a folder), assigned once.

    Connections that share a folder must be in one lane, or two processes would own the folder. So
    the lane does not change with the setting for the number of lanes.
    """

    session_key = models.CharField(primary_key=True, max_length=200)
    lane = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.session_key} in {self.lane}"
