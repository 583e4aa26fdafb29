"""Changes of entries that have not filled."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import common.db_functions
import common.fields
from common.row_security import MY_CONNECTION_BY_SUBSELECT, tenant_rows


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0015_routes"),
        ("execution", "0012_scoped_actions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="requested_quantity",
            field=common.fields.AmountField(
                help_text="What a person wants it to be, instead of the preset's size.", null=True
            ),
        ),
        migrations.CreateModel(
            name="EntryChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("quantity", common.fields.AmountField(null=True)),
                ("limit_price", common.fields.AmountField(null=True)),
                ("stop_price", common.fields.AmountField(null=True)),
                (
                    "margin",
                    common.fields.AmountField(help_text="Estimated, account currency.", null=True),
                ),
                (
                    "risk",
                    common.fields.AmountField(
                        help_text="Lost if the stop is hit, account currency.", null=True
                    ),
                ),
                ("raises_risk", models.BooleanField(db_default=False, default=False)),
                ("old_quantity", common.fields.AmountField(null=True)),
                ("old_limit_price", common.fields.AmountField(null=True)),
                ("old_stop_price", common.fields.AmountField(null=True)),
                ("old_margin", common.fields.AmountField(null=True)),
                ("old_risk", common.fields.AmountField(null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("REQUESTED", "Requested"),
                            ("SENT", "Sent to the broker"),
                            ("UNKNOWN", "No answer yet; the order is read at the broker"),
                            ("DONE", "Done"),
                            ("REFUSED", "Not done"),
                        ],
                        db_default="REQUESTED",
                        default="REQUESTED",
                        max_length=9,
                    ),
                ),
                ("code", models.CharField(blank=True, db_default="", default="", max_length=64)),
                ("detail", models.CharField(blank=True, db_default="", default="", max_length=300)),
                (
                    "requested_at",
                    models.DateTimeField(db_default=common.db_functions.ClockTimestamp()),
                ),
                ("due_at", models.DateTimeField(db_default=common.db_functions.ClockTimestamp())),
                ("sent_at", models.DateTimeField(null=True)),
                ("answer_by", models.DateTimeField(null=True)),
                ("calls", models.IntegerField(db_default=0, default=0)),
                ("sends", models.SmallIntegerField(db_default=0, default=0)),
                ("absences", models.SmallIntegerField(db_default=0, default=0)),
                ("done_at", models.DateTimeField(null=True)),
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
                    "order",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="changes",
                        to="execution.order",
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(fields=["order", "-id"], name="change_of_order"),
                    models.Index(
                        condition=models.Q(("state__in", ("REQUESTED", "SENT", "UNKNOWN"))),
                        fields=["due_at"],
                        name="change_due",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ("REQUESTED", "SENT", "UNKNOWN"))),
                        fields=("order",),
                        name="one_open_change",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("state__in", ("REQUESTED", "SENT", "UNKNOWN")),
                                ("done_at__isnull", True),
                            ),
                            models.Q(
                                models.Q(
                                    ("state__in", ("REQUESTED", "SENT", "UNKNOWN")), _negated=True
                                ),
                                ("done_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="change_done_has_time",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("state__in", ("REQUESTED", "SENT", "UNKNOWN")), _negated=True
                            ),
                            models.Q(("quantity__gt", 0), ("quantity__isnull", False)),
                            _connector="OR",
                        ),
                        name="open_change_has_quantity",
                    ),
                ],
            },
        ),
        tenant_rows(
            "execution_entrychange",
            MY_CONNECTION_BY_SUBSELECT,
            write="false",
            add=MY_CONNECTION_BY_SUBSELECT,
        ),
    ]
