"""How far accounts are read and prices monitored, and which processes are alive."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from connections.models import DataConnection, ExecutionConnection


class AccountSyncState(models.Model):
    """How far a broker's account has been read. Reports that the broker pushes do not count."""

    connection = models.OneToOneField(
        ExecutionConnection, models.CASCADE, primary_key=True, related_name="sync_state"
    )
    fills_synced_until = models.DateTimeField(
        null=True, help_text="Broker's time: all executions before it have been requested."
    )
    fills_failing_since = models.DateTimeField(
        null=True, help_text="Machine time: since when executions cannot be read by polls."
    )
    poll_after = models.DateTimeField(
        null=True, help_text="Machine time; brokers without an event stream."
    )
    poll_began_at = models.DateTimeField(
        null=True, help_text="Machine time: of the poll that is running."
    )
    woken_at = models.DateTimeField(
        null=True, help_text="Machine time: a poll from then on was requested."
    )
    stream_holder = models.CharField(
        max_length=80, blank=True, default="", db_default="",
        help_text="The process (WorkerLease) that listens to its order stream; empty: none.",
    )  # fmt: skip
    stream_since = models.DateTimeField(
        null=True, help_text="From when on its order stream delivers; null: it does not."
    )
    stream_error = models.CharField(
        max_length=300, blank=True, default="", db_default="",
        help_text="Why its order stream does not deliver.",
    )  # fmt: skip
    reconcile_requested_at = models.DateTimeField(
        null=True, help_text="From when on a reconciliation is requested."
    )
    compared_at = models.DateTimeField(
        null=True, help_text="When the last requested reconciliation began."
    )

    class Meta:
        indexes = [
            models.Index(
                fields=["stream_holder"], name="account_streams", condition=~Q(stream_holder="")
            ),
            models.Index(
                fields=["reconcile_requested_at"],
                name="comparison_requests",
                condition=Q(reconcile_requested_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.connection_id)


class BrokerListing(models.Model):
    """What a broker listed of an account when an audit last requested it (audit/listings.py)."""

    connection = models.OneToOneField(
        ExecutionConnection, models.CASCADE, primary_key=True, related_name="+"
    )
    requested_at = models.DateTimeField(null=True, help_text="Machine time; an audit waits for it.")
    claimed_until = models.DateTimeField(
        null=True, help_text="Until then only one process reads it."
    )
    began_at = models.DateTimeField(null=True, help_text="When the last whole read began.")
    executed_since = models.DateTimeField(
        null=True, help_text="Broker's time: executions from then on are in the list."
    )
    orders = models.JSONField(
        default=list, db_default=[], help_text="Ours: client order id, broker's id, executed."
    )
    positions = models.JSONField(
        default=list, db_default=[], help_text="Position id, side, quantity, client order id."
    )
    failed_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=64, blank=True, default="", db_default="")
    detail = models.CharField(max_length=300, blank=True, default="", db_default="")

    def __str__(self) -> str:
        return str(self.connection_id)


class LevelMonitorHeartbeat(models.Model):
    """When our levels were last checked against a price source's quotes, machine time."""

    source = models.OneToOneField(
        DataConnection, models.CASCADE, primary_key=True, related_name="+"
    )
    last_evaluated_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"source {self.pk}"


class LevelScanHeartbeat(models.Model):
    """When all levels were last scanned against the latest quotes, and when the scheduler last
    requested it. One row, machine time. alerted_at: when operators were alerted that it is late.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    scanned_at = models.DateTimeField(null=True)
    scheduled_at = models.DateTimeField(null=True)
    alerted_at = models.DateTimeField(null=True)
    clock_set_back_at = models.DateTimeField(
        null=True, help_text="When stored times were last found to lie in the future."
    )
    clock_set_back_seconds = models.FloatField(null=True, help_text="How far they did.")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="one_heartbeat")]

    def __str__(self) -> str:
        return f"scanned {self.scanned_at}, scheduled {self.scheduled_at}"


class WatchdogPing(models.Model):
    """The last ping of the outside watchdog: monitoring/watchdog.py. One row, machine time.

    pinged_at: when a ping was last accepted. fault: why none was sent. error: why it was not
    accepted; error_since: since when.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    checked_at = models.DateTimeField()
    pinged_at = models.DateTimeField(null=True)
    fault = models.CharField(max_length=500, blank=True, db_default="")
    error = models.CharField(max_length=200, blank=True, db_default="")
    error_since = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="one_watchdog_ping")]

    def __str__(self) -> str:
        return f"checked {self.checked_at}, pinged {self.pinged_at}"


class OutcomeCheck(models.Model):
    """A signal whose rejected and skipped orders operators may still have to be notified of.

    Removed once it is settled (execution/signal_outcomes.py). The id is a plain number, written
    with the publication. reported: the counts of the first message; None: there was none. Machine
    time.
    """

    signal_id = models.BigIntegerField(primary_key=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    due_at = models.DateTimeField(db_index=True)
    reported = models.JSONField(null=True)

    def __str__(self) -> str:
        return f"signal {self.signal_id}"


class StreamLease(models.Model):
    """Which process drains a broker type's shared event stream (runtime/stream_lease.py).

    drained_at: when the last drain began that was completed. Machine time. The table is unlogged:
    after a crash of the server it is empty, and the next drain makes the row.
    """

    broker_type = models.CharField(primary_key=True, max_length=40)
    holder = models.CharField(max_length=32)
    lease_until = models.DateTimeField()
    began_at = models.DateTimeField()
    drained_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.broker_type


class WorkerLease(models.Model):
    """One row per process: until when it counts as alive, by the database's clock."""

    id = models.CharField(primary_key=True, max_length=80)
    role = models.CharField(max_length=400, help_text="Its queues, joined by +.")
    host = models.CharField(max_length=100)
    pid = models.IntegerField()
    lease_until = models.DateTimeField()
    started_at = models.DateTimeField(db_default=ClockTimestamp())

    def __str__(self) -> str:
        return self.id
