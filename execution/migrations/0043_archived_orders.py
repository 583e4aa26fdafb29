"""What stays of archived orders, the function that removes those, and a trigger against a second
entry (docs/adr/0062)."""

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

import common.fields
from common.migration_sql import run_file
from common.row_security import MY_CONNECTION, append_only, tenant_rows
from common.table_statistics import ANALYZE_RARELY


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0030_kill_switch_sets"),
        ("execution", "0042_sets_of_tenants"),
        ("signals", "0026_sets_of_tenants"),
    ]

    operations = [
        migrations.AlterField(
            model_name="droppedmessagecount",
            name="name",
            field=models.CharField(
                choices=[
                    ("message.malformed", "Message that is no list of ids"),
                    ("message.unknown_ids", "Order in a message that does not exist"),
                    ("message.ended", "Order in a message that had ended"),
                    ("message.unknown_task", "Message for a task that does not exist"),
                    ("report.unknown_connection", "Report about an unknown connection"),
                    ("report.archived_order", "Report that repeats how an archived order ended"),
                ],
                max_length=40,
            ),
        ),
        migrations.CreateModel(
            name="ArchivedOrder",
            fields=[
                (
                    "id",
                    models.BigIntegerField(
                        help_text="The order's number.", primary_key=True, serialize=False
                    ),
                ),
                (
                    "signal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="signals.signal",
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("done_at", models.DateTimeField()),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="connections.executionconnection",
                    ),
                ),
                ("submitted_at", models.DateTimeField(null=True)),
                ("acknowledged_at", models.DateTimeField(null=True)),
                ("own_valid_until", models.DateTimeField(null=True)),
                (
                    "routed_from",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "route_state",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "None"),
                            ("OPEN", "No account is chosen yet"),
                            ("HERE", "This account was chosen"),
                            ("MOVED", "Proven unsent; another account has the entry"),
                            ("LAST", "This account was chosen; no other one follows"),
                        ],
                        db_default="",
                        default="",
                        max_length=5,
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
                        max_length=16,
                    ),
                ),
                ("reason", models.CharField(blank=True, db_default="", default="", max_length=64)),
                ("pair", models.CharField(max_length=20)),
                ("side", models.CharField(max_length=4)),
                (
                    "order_type",
                    models.CharField(
                        choices=[
                            ("MARKET", "Market"),
                            ("LIMIT", "Limit"),
                            ("STOP", "Stop"),
                            ("STOP_LIMIT", "Stop limit"),
                            ("IF_TOUCHED", "If touched"),
                            ("TRAILING_STOP", "Trailing stop"),
                        ],
                        max_length=16,
                    ),
                ),
                ("quantity", common.fields.AmountField(null=True)),
                ("limit_price", common.fields.AmountField(null=True)),
                ("stop_price", common.fields.AmountField(null=True)),
                (
                    "symbol",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Empty if it was not sent.",
                        max_length=40,
                    ),
                ),
                ("client_order_id", models.CharField(max_length=18, null=True)),
                (
                    "broker_order_id",
                    models.CharField(blank=True, db_default="", default="", max_length=64),
                ),
            ],
            options={
                "ordering": ("-id",),
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["signal"], name="archived_of_signal"),
                    models.Index(fields=["connection"], name="archived_of_connection"),
                    django.contrib.postgres.indexes.BrinIndex(
                        fields=["created_at"], name="archived_created_at"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("client_order_id__isnull", False)),
                        fields=("client_order_id",),
                        name="one_archived_client_order_id",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                ("SKIPPED", "DENIED", "REJECTED", "CANCELLED", "EXPIRED", "FAILED"),
                            )
                        ),
                        name="archived_has_ended_without_fill",
                    ),
                ],
            },
        ),
        tenant_rows("execution_archivedorder", MY_CONNECTION, write="false"),
        append_only("execution_archivedorder"),
        migrations.RunSQL(ANALYZE_RARELY, migrations.RunSQL.noop),
        run_file(__file__, "archived_orders.sql"),
    ]
