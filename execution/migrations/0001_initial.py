"""Orders, fills, the execution log, drift, and the state of the processes that trade."""

from decimal import Decimal

from django.conf import settings
from django.db import migrations, models

from common.db_functions import ClockTimestamp
from common.fields import AmountField
from common.migration_sql import run_file
from common.row_security import (
    MY_CONNECTION_BY_SUBSELECT,
    TRADE,
    append_only,
    operator_rows,
    shared_rows,
    tenant_rows,
)

# After a restore, trading processes move the numbers of rows forward: none is given out twice.
NUMBERED = ("signals_signal", "positions_executionposition", "execution_order", "events_event")
NUMBERS_MAY_JUMP = ";".join(
    f"GRANT UPDATE ON SEQUENCE {table}_id_seq TO {TRADE}" for table in NUMBERED
)
# Few live rows in a large table: dead versions are removed after so many changes, not after a fifth of
# the table. Otherwise each query for what is due reads past all of them, most in an outage. Migration
# config 0014 has raised the 5,000 to 20,000.
VACUUM_OFTEN = """
ALTER TABLE execution_order SET (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0)
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("connections", "0001_initial"),
        ("events", "0001_initial"),
        ("positions", "0001_initial"),
        ("signals", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="DriftItem",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=32)),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=models.CASCADE,
                        related_name="drift",
                        to="connections.executionconnection",
                    ),
                ),
                ("order_id", models.BigIntegerField(blank=True, null=True)),
                ("position_id", models.BigIntegerField(blank=True, null=True)),
                (
                    "key",
                    models.CharField(help_text="The subject of the difference.", max_length=120),
                ),
                ("evidence", models.JSONField(default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("OPEN", "Open"),
                            ("NOTED", "Noted"),
                            ("IGNORED", "Ignored"),
                            ("RESOLVED", "Resolved"),
                        ],
                        db_default="OPEN",
                        default="OPEN",
                        max_length=8,
                    ),
                ),
                (
                    "decision",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "None"),
                            ("ADOPT", "Adopt the broker's side"),
                            ("RELINK", "Relink it to one of ours"),
                            ("CLOSE", "Close it"),
                            ("IGNORE", "Ignore it until it changes"),
                        ],
                        db_default="",
                        default="",
                        max_length=6,
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                (
                    "resolution",
                    models.CharField(blank=True, db_default="", default="", max_length=300),
                ),
                ("found_at", models.DateTimeField(db_default=ClockTimestamp())),
                ("seen_at", models.DateTimeField(db_default=ClockTimestamp())),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ("-id",),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "RESOLVED"), _negated=True),
                        fields=("connection", "kind", "key"),
                        name="one_live_drift",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "signal",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="orders",
                        to="signals.signal",
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="orders",
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "position",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="exits",
                        to="positions.executionposition",
                    ),
                ),
                ("leg", models.CharField(max_length=16)),
                ("priority", models.SmallIntegerField(db_default=5, default=5)),
                ("client_order_id", models.CharField(max_length=18, null=True)),
                (
                    "broker_order_id",
                    models.CharField(blank=True, db_default="", default="", max_length=64),
                ),
                ("pair", models.CharField(max_length=20)),
                ("symbol", models.CharField(blank=True, db_default="", default="", max_length=40)),
                ("side", models.CharField(max_length=4)),
                (
                    "order_type",
                    models.CharField(
                        choices=[("MARKET", "Market"), ("LIMIT", "Limit"), ("STOP", "Stop")],
                        max_length=6,
                    ),
                ),
                (
                    "time_in_force",
                    models.CharField(
                        choices=[
                            ("GTC", "Good till cancelled"),
                            ("DAY", "Day"),
                            ("IOC", "Immediate or cancel"),
                            ("FOK", "Fill or kill"),
                        ],
                        max_length=3,
                    ),
                ),
                ("quantity", AmountField(null=True)),
                ("limit_price", AmountField(null=True)),
                ("stop_price", AmountField(null=True)),
                ("stop_loss", AmountField(null=True)),
                ("take_profit", AmountField(null=True)),
                ("expected_price", AmountField(null=True)),
                (
                    "worst_price",
                    AmountField(help_text="Limit for the fill price of a market entry.", null=True),
                ),
                ("pip", AmountField(null=True)),
                ("conversion_rate", AmountField(null=True)),
                ("margin", AmountField(help_text="Estimated, account currency.", null=True)),
                (
                    "risk",
                    AmountField(help_text="Lost if the stop is hit, account currency.", null=True),
                ),
                ("filled_quantity", AmountField(db_default=Decimal("0"), default=Decimal("0"))),
                (
                    "inferred_quantity",
                    AmountField(
                        db_default=Decimal("0"),
                        default=Decimal("0"),
                        help_text="The part of the filled quantity without fill ids: cumulative or inferred.",
                    ),
                ),
                ("avg_fill_price", AmountField(null=True)),
                (
                    "commission",
                    AmountField(
                        db_default=Decimal("0"),
                        default=Decimal("0"),
                        help_text="Account currency, without the fees that have no rate.",
                    ),
                ),
                (
                    "unconverted_fees",
                    models.JSONField(
                        blank=True,
                        db_default={},
                        default=dict,
                        help_text="Fees without a conversion rate, by currency; part of no total.",
                    ),
                ),
                (
                    "slippage_pips",
                    AmountField(
                        help_text="Signed, + is worse; in the slippage unit.",
                        null=True,
                        verbose_name="slippage",
                    ),
                ),
                (
                    "slippage_unit",
                    models.CharField(
                        choices=[
                            ("PIPS", "Pips"),
                            ("TICKS", "Ticks"),
                            ("BPS", "Basis points"),
                            ("PERCENT", "Percent"),
                        ],
                        db_default="PIPS",
                        default="PIPS",
                        max_length=7,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("PENDING", "Pending"),
                            ("SUBMITTING", "Submitting"),
                            ("SUBMITTED", "Submitted"),
                            ("PARTIALLY_FILLED", "Partially Filled"),
                            ("CANCEL_REQUESTED", "Cancel Requested"),
                            ("UNKNOWN", "Unknown"),
                            ("FILLED", "Filled"),
                            ("SKIPPED", "Skipped"),
                            ("DENIED", "Denied"),
                            ("REJECTED", "Rejected"),
                            ("FAILED", "Failed"),
                            ("CANCELLED", "Cancelled"),
                            ("EXPIRED", "Expired"),
                        ],
                        db_default="PENDING",
                        default="PENDING",
                        max_length=16,
                    ),
                ),
                ("reason", models.CharField(blank=True, db_default="", default="", max_length=64)),
                ("detail", models.CharField(blank=True, db_default="", default="", max_length=300)),
                (
                    "pending_action",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "None"),
                            ("CANCEL", "Cancel"),
                            ("CLOSE", "Cancel the rest and close what filled"),
                        ],
                        db_default="",
                        default="",
                        max_length=6,
                    ),
                ),
                ("pending_action_attempts", models.SmallIntegerField(db_default=0, default=0)),
                (
                    "pending_action_since",
                    models.DateTimeField(
                        help_text="Since when it waits for its cancellation at the broker.",
                        null=True,
                    ),
                ),
                ("attempt", models.SmallIntegerField(db_default=0, default=0)),
                ("send_retries", models.SmallIntegerField(db_default=0, default=0)),
                ("fence", models.BigIntegerField(db_default=0, default=0)),
                (
                    "worker_id",
                    models.CharField(blank=True, db_default="", default="", max_length=80),
                ),
                ("answer_by", models.DateTimeField(null=True)),
                ("due_at", models.DateTimeField(null=True)),
                (
                    "waiting_since",
                    models.DateTimeField(
                        help_text="Since when it waits, for the cause in `reason`; PENDING only.",
                        null=True,
                    ),
                ),
                (
                    "retried_at",
                    models.DateTimeField(
                        help_text="Market time of the last manual retry; its age counts from here.",
                        null=True,
                    ),
                ),
                ("lookup_after", models.DateTimeField(null=True)),
                (
                    "lookup_claimed_until",
                    models.DateTimeField(
                        help_text="Until then only one process looks it up.", null=True
                    ),
                ),
                ("absence_confirmations", models.SmallIntegerField(db_default=0, default=0)),
                ("created_at", models.DateTimeField(db_default=ClockTimestamp())),
                ("enqueued_at", models.DateTimeField(null=True)),
                ("validated_at", models.DateTimeField(null=True)),
                ("submitted_at", models.DateTimeField(null=True)),
                ("acknowledged_at", models.DateTimeField(null=True)),
                ("filled_at", models.DateTimeField(null=True)),
                ("done_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(
                        condition=models.Q(
                            (
                                "status__in",
                                (
                                    "SUBMITTING",
                                    "UNKNOWN",
                                    "SUBMITTED",
                                    "PARTIALLY_FILLED",
                                    "CANCEL_REQUESTED",
                                ),
                            )
                        ),
                        fields=["connection"],
                        name="order_with_broker",
                    ),
                    models.Index(
                        condition=models.Q(("status", "PENDING")),
                        fields=["due_at"],
                        name="order_due",
                    ),
                    models.Index(
                        condition=models.Q(
                            models.Q(("reason", ""), _negated=True), ("status", "PENDING")
                        ),
                        fields=["connection"],
                        name="order_waiting",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ("SUBMITTING", "UNKNOWN"))),
                        fields=["answer_by"],
                        name="order_in_flight",
                    ),
                    models.Index(
                        condition=models.Q(("pending_action", ""), _negated=True),
                        fields=["due_at"],
                        name="order_pending_action",
                    ),
                    models.Index(
                        condition=models.Q(("lookup_after__isnull", False)),
                        fields=["lookup_after"],
                        name="order_lookup",
                    ),
                    models.Index(fields=["connection", "-id"], name="order_of_connection"),
                    models.Index(
                        condition=models.Q(("inferred_quantity__gt", 0)),
                        fields=["position"],
                        name="order_inferred",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("leg__startswith", "entry")),
                        fields=("signal", "connection", "leg"),
                        name="one_entry",
                    ),
                    models.UniqueConstraint(
                        fields=("client_order_id",), name="one_client_order_id"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("position__isnull", False)),
                        fields=("position", "leg"),
                        name="one_exit",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("leg__startswith", "entry"),
                                ("position__isnull", True),
                                ("signal__isnull", False),
                            ),
                            models.Q(
                                models.Q(("leg__startswith", "entry"), _negated=True),
                                ("position__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="entry_has_signal_exit_position",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                ("PENDING", "SKIPPED", "DENIED", "CANCELLED", "EXPIRED", "FAILED"),
                            ),
                            models.Q(("quantity__gt", 0), ("quantity__isnull", False)),
                            _connector="OR",
                        ),
                        name="sent_is_sized",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("filled_quantity", 0),
                            models.Q(
                                ("filled_quantity__lte", models.F("quantity")),
                                ("quantity__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="filled_within_quantity",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Fill",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="fills",
                        to="connections.executionconnection",
                    ),
                ),
                ("broker_fill_id", models.CharField(max_length=100)),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=models.PROTECT, related_name="fills", to="execution.order"
                    ),
                ),
                ("side", models.CharField(max_length=4)),
                ("quantity", AmountField()),
                ("price", AmountField()),
                ("commission", AmountField(db_default=Decimal("0"), default=Decimal("0"))),
                (
                    "commission_currency",
                    models.CharField(blank=True, db_default="", default="", max_length=10),
                ),
                (
                    "commission_rate",
                    AmountField(
                        db_default=Decimal("1"),
                        default=Decimal("1"),
                        help_text="Account currency for one unit of the fee's; empty: there was no quote.",
                        null=True,
                    ),
                ),
                (
                    "commission_rate_at",
                    models.DateTimeField(
                        help_text="Time of the quote; empty: the fee is in the account's currency.",
                        null=True,
                    ),
                ),
                (
                    "fee_in_base",
                    AmountField(
                        db_default=Decimal("0"),
                        default=Decimal("0"),
                        help_text="Base units that the fee took out of the bought quantity.",
                    ),
                ),
                ("time", models.DateTimeField()),
                ("inferred", models.BooleanField(db_default=False, default=False)),
                (
                    "revision",
                    models.SmallIntegerField(
                        db_default=0, default=0, help_text="How often the broker has corrected it."
                    ),
                ),
                ("recorded_at", models.DateTimeField(db_default=ClockTimestamp())),
            ],
            options={
                "ordering": ("-id",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("connection", "broker_fill_id"), name="one_fill"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("quantity__gt", 0)), name="fill_quantity_gt_0"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AccountSyncState",
            fields=[
                (
                    "connection",
                    models.OneToOneField(
                        on_delete=models.CASCADE,
                        primary_key=True,
                        related_name="sync_state",
                        serialize=False,
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "fills_synced_until",
                    models.DateTimeField(
                        help_text="Broker's time: all executions before it have been requested.",
                        null=True,
                    ),
                ),
                (
                    "poll_after",
                    models.DateTimeField(
                        help_text="Machine time; brokers without an event stream.", null=True
                    ),
                ),
                (
                    "reconcile_requested_at",
                    models.DateTimeField(
                        help_text="From when on a reconciliation is requested.", null=True
                    ),
                ),
                (
                    "compared_at",
                    models.DateTimeField(
                        help_text="When the last requested reconciliation began.",
                        null=True,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="BrokerListing",
            fields=[
                (
                    "connection",
                    models.OneToOneField(
                        on_delete=models.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "requested_at",
                    models.DateTimeField(
                        help_text="Machine time; an audit waits for it.", null=True
                    ),
                ),
                (
                    "claimed_until",
                    models.DateTimeField(
                        help_text="Until then only one process reads it.", null=True
                    ),
                ),
                (
                    "began_at",
                    models.DateTimeField(help_text="When the last whole read began.", null=True),
                ),
                (
                    "executed_since",
                    models.DateTimeField(
                        help_text="Broker's time: executions from then on are in the list.",
                        null=True,
                    ),
                ),
                (
                    "orders",
                    models.JSONField(
                        db_default=[],
                        default=list,
                        help_text="Ours: client order id, broker's id, executed.",
                    ),
                ),
                (
                    "positions",
                    models.JSONField(
                        db_default=[],
                        default=list,
                        help_text="Position id, side, quantity, client order id.",
                    ),
                ),
                ("failed_at", models.DateTimeField(null=True)),
                ("reason", models.CharField(blank=True, db_default="", default="", max_length=64)),
                ("detail", models.CharField(blank=True, db_default="", default="", max_length=300)),
            ],
        ),
        migrations.CreateModel(
            name="LevelMonitorHeartbeat",
            fields=[
                (
                    "source",
                    models.OneToOneField(
                        on_delete=models.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="connections.dataconnection",
                    ),
                ),
                ("last_evaluated_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="LevelScanHeartbeat",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("scanned_at", models.DateTimeField(null=True)),
                ("scheduled_at", models.DateTimeField(null=True)),
                ("alerted_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="one_heartbeat")
                ]
            },
        ),
        migrations.CreateModel(
            name="OutcomeCheck",
            fields=[
                ("signal_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(db_default=ClockTimestamp())),
                ("due_at", models.DateTimeField(db_index=True)),
                ("reported", models.JSONField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="StreamLease",
            fields=[
                ("broker_type", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("holder", models.CharField(max_length=32)),
                ("lease_until", models.DateTimeField()),
                ("began_at", models.DateTimeField()),
                ("drained_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="WorkerLease",
            fields=[
                ("id", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("role", models.CharField(help_text="Its queues, joined by +.", max_length=400)),
                ("host", models.CharField(max_length=100)),
                ("pid", models.IntegerField()),
                ("lease_until", models.DateTimeField()),
                ("started_at", models.DateTimeField(db_default=ClockTimestamp())),
            ],
        ),
        migrations.CreateModel(
            name="ExecutionLog",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("order_id", models.BigIntegerField(null=True)),
                ("signal_id", models.BigIntegerField(null=True)),
                ("connection_id", models.UUIDField(null=True)),
                ("code", models.CharField(max_length=64)),
                ("status", models.CharField(blank=True, db_default="", default="", max_length=16)),
                (
                    "detail",
                    models.CharField(blank=True, db_default="", default="", max_length=2000),
                ),
                ("numbers", models.JSONField(db_default={}, default=dict)),
                ("at", models.DateTimeField(db_default=ClockTimestamp())),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [models.Index(fields=["order_id"], name="log_of_order")],
            },
        ),
        migrations.CreateModel(
            name="DroppedMessageCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        choices=[
                            ("message.malformed", "Message that is no list of ids"),
                            ("message.unknown_ids", "Order in a message that does not exist"),
                            ("message.ended", "Order in a message that had ended"),
                            ("message.unknown_task", "Message for a task that does not exist"),
                            ("report.unknown_connection", "Report about an unknown connection"),
                        ],
                        max_length=40,
                    ),
                ),
                ("count", models.BigIntegerField(db_default=0, default=0)),
                ("sample", models.CharField(blank=True, db_default="", default="", max_length=200)),
                ("sampled_at", models.DateTimeField(db_default=ClockTimestamp())),
            ],
            options={"verbose_name_plural": "dropped messages"},
        ),
        migrations.CreateModel(
            name="AuditRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(db_default=ClockTimestamp(), db_index=True)),
                ("ok", models.BooleanField()),
                ("counters", models.JSONField(default=dict)),
                (
                    "unread",
                    models.JSONField(
                        default=list, help_text="Broker types whose books could not be read."
                    ),
                ),
                (
                    "judged",
                    models.IntegerField(
                        db_default=0,
                        default=0,
                        help_text="Accounts judged by what their brokers listed.",
                    ),
                ),
                (
                    "not_judged",
                    models.JSONField(
                        db_default=[],
                        default=list,
                        help_text="Accounts that could not be judged, and why.",
                    ),
                ),
            ],
            options={"ordering": ("-at",)},
        ),
        tenant_rows("execution_order", MY_CONNECTION_BY_SUBSELECT),
        tenant_rows("execution_fill", MY_CONNECTION_BY_SUBSELECT, write="false"),
        tenant_rows(
            "execution_executionlog",
            MY_CONNECTION_BY_SUBSELECT,
            write="false",
            add=MY_CONNECTION_BY_SUBSELECT,
        ),
        append_only("execution_executionlog"),
        tenant_rows("execution_driftitem", MY_CONNECTION_BY_SUBSELECT),
        tenant_rows("execution_accountsyncstate", MY_CONNECTION_BY_SUBSELECT),
        operator_rows("execution_workerlease"),
        operator_rows("execution_droppedmessagecount"),
        operator_rows("execution_auditrun"),
        operator_rows("execution_levelmonitorheartbeat"),
        operator_rows("execution_brokerlisting"),
        operator_rows("execution_outcomecheck"),
        operator_rows("execution_streamlease"),
        shared_rows("execution_levelscanheartbeat"),
        run_file(__file__, "triggers.sql"),
        run_file(__file__, "order_status.sql"),
        migrations.RunSQL(NUMBERS_MAY_JUMP),
        migrations.RunSQL(VACUUM_OFTEN),
        # It changes with every drain, and nothing is lost with it.
        migrations.RunSQL("ALTER TABLE execution_streamlease SET UNLOGGED"),
        # The one row of the heartbeat, which is only updated.
        migrations.RunSQL("INSERT INTO execution_levelscanheartbeat (id) VALUES (1)"),
    ]
