"""What was cancelled and closed at once, and for whom."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import common.db_functions
from common.audit_trail_sql import track
from common.row_security import MINE, append_only, tenant_rows


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0011_route_index"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ScopedAction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "request_id",
                    models.CharField(blank=True, db_default="", default="", max_length=100),
                ),
                ("at", models.DateTimeField(db_default=common.db_functions.ClockTimestamp())),
                ("cancels_entries", models.BooleanField()),
                ("closes_positions", models.BooleanField()),
                ("scope", models.JSONField()),
                ("scope_name", models.CharField(max_length=300)),
                (
                    "cancelled",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, size=None
                    ),
                ),
                (
                    "ended",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, size=None
                    ),
                ),
                (
                    "exits",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, size=None
                    ),
                ),
                ("shown_entries", models.IntegerField(null=True)),
                ("shown_positions", models.IntegerField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        help_text="Who asked for it; empty: a command on the server.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "cancellation or closing",
                "verbose_name_plural": "cancellations and closings",
                "ordering": ("-id",),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("request_id", ""), _negated=True),
                        fields=("user", "request_id"),
                        name="one_scoped_action_a_request",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("cancels_entries", True), ("closes_positions", True), _connector="OR"
                        ),
                        name="scoped_action_does_something",
                    ),
                ],
            },
        ),
        tenant_rows("execution_scopedaction", MINE, write="false", add=MINE),
        append_only("execution_scopedaction"),
        track("execution_scopedaction"),
    ]
