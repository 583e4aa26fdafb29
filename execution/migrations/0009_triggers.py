"""Orders that the engine holds until the market reaches their trigger."""

import django.db.models.deletion
from django.db import migrations, models

import common.db_functions
import common.fields
from common.row_security import MY_CONNECTION_BY_SUBSELECT, operator_rows, tenant_rows


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0008_loss_limits"),
        ("execution", "0008_vwap"),
    ]

    operations = [
        migrations.AlterField(
            model_name="order",
            name="order_type",
            field=models.CharField(
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
        migrations.AlterField(
            model_name="order",
            name="retried_at",
            field=models.DateTimeField(
                help_text="Market time from which its age counts: of its trigger, or of a manual retry.",
                null=True,
            ),
        ),
        migrations.CreateModel(
            name="OrderTrigger",
            fields=[
                (
                    "order",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="trigger",
                        serialize=False,
                        to="execution.order",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("STOP", "Stop"),
                            ("IF_TOUCHED", "If touched"),
                            ("TRAILING", "Trailing stop"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "sent_as",
                    models.CharField(
                        help_text="The type of the order that is sent.", max_length=16
                    ),
                ),
                ("pair", models.CharField(max_length=20)),
                ("side", models.CharField(max_length=4)),
                (
                    "level",
                    common.fields.AmountField(
                        help_text="Trigger price; a trailing stop's by its mark when it became active.",
                        null=True,
                    ),
                ),
                (
                    "distance",
                    common.fields.AmountField(help_text="TRAILING: quote currency.", null=True),
                ),
                ("activation_price", common.fields.AmountField(null=True)),
                (
                    "active_since",
                    models.DateTimeField(
                        help_text="Machine time; prices from then on count. Empty: not activated yet.",
                        null=True,
                    ),
                ),
                ("armed_at", models.DateTimeField(db_default=common.db_functions.ClockTimestamp())),
                ("is_armed", models.BooleanField(db_default=True, default=True)),
                ("fired_at", models.DateTimeField(null=True)),
                ("fired_price", common.fields.AmountField(null=True)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="connections.dataconnection",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("is_armed", True)),
                        fields=["source", "pair"],
                        name="trigger_armed",
                    ),
                    models.Index(
                        condition=models.Q(("is_armed", True), ("kind__in", ("STOP", "TRAILING"))),
                        fields=["source", "pair", "side", "level"],
                        name="trigger_beyond",
                    ),
                    models.Index(
                        condition=models.Q(("is_armed", True), ("kind", "IF_TOUCHED")),
                        fields=["source", "pair", "side", "level"],
                        name="trigger_if_touched",
                    ),
                    models.Index(
                        condition=models.Q(("is_armed", True), ("kind", "TRAILING")),
                        fields=["source", "pair", "side", "distance"],
                        name="trigger_trailing",
                    ),
                    models.Index(
                        condition=models.Q(("is_armed", True), ("kind", "TRAILING")),
                        fields=["source", "pair", "side", "active_since"],
                        name="trigger_active_since",
                    ),
                    models.Index(
                        condition=models.Q(("is_armed", True), ("active_since__isnull", True)),
                        fields=["source", "pair", "side", "activation_price"],
                        name="trigger_activation",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("is_armed", False), ("fired_at__isnull", True), _connector="OR"
                        ),
                        name="fired_is_not_armed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                models.Q(("kind", "TRAILING"), _negated=True),
                                ("active_since__isnull", False),
                                ("level__isnull", False),
                            ),
                            models.Q(
                                ("distance__gt", 0),
                                ("distance__isnull", False),
                                ("kind", "TRAILING"),
                                models.Q(
                                    models.Q(
                                        ("active_since__isnull", False), ("level__isnull", False)
                                    ),
                                    models.Q(
                                        ("activation_price__isnull", False),
                                        ("active_since__isnull", True),
                                    ),
                                    _connector="OR",
                                ),
                            ),
                            _connector="OR",
                        ),
                        name="trigger_is_complete",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PricePeak",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("pair", models.CharField(max_length=20)),
                ("side", models.CharField(max_length=4)),
                ("began_at", models.DateTimeField(help_text="Machine time.")),
                ("price", common.fields.AmountField()),
                (
                    "source",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="connections.dataconnection",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["source", "pair", "side", "-began_at"], name="peak_of_pair"
                    )
                ],
            },
        ),
        tenant_rows("execution_ordertrigger", MY_CONNECTION_BY_SUBSELECT, write="false"),
        operator_rows("execution_pricepeak"),
    ]
