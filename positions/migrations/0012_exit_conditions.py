"""Positions that are closed by what becomes of another signal on their account."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

STATES = [
    ("FILLED", "Filled"),
    ("CLOSED", "Closed"),
    ("CLOSED_AT_STOP", "Closed at its stop"),
    ("CLOSED_AT_TARGET", "Closed at its target"),
    ("NOT_FILLED", "Ended without a fill"),
]


class Migration(migrations.Migration):
    dependencies = [("positions", "0011_time_exit_reason"), ("signals", "0016_exit_conditions")]

    operations = [
        migrations.AddField(
            model_name="executionposition",
            name="close_when_signal",
            field=models.ForeignKey(
                db_index=False,
                help_text="It is closed once its account has done with this signal what is next.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="signals.signal",
            ),
        ),
        migrations.AddField(
            model_name="executionposition",
            name="close_when_state",
            field=models.CharField(
                blank=True, choices=STATES, db_default="", default="", max_length=16
            ),
        ),
        migrations.AddField(
            model_name="executionposition",
            name="close_when_over",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="That cannot happen any more on its account.",
            ),
        ),
        migrations.AlterField(
            model_name="executionposition",
            name="close_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("sl", "Stop loss"),
                    ("tp", "Take profit"),
                    ("time_exit", "Time exit"),
                    ("condition_exit", "Condition exit"),
                    ("manual", "Closed through us"),
                    ("external_close", "Closed by its owner at the broker"),
                    ("dust", "The rest is too small to sell"),
                ],
                db_default="",
                default="",
                max_length=14,
            ),
        ),
        AddConstraintNotValid(
            model_name="executionposition",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("close_when_signal__isnull", True), ("close_when_state", "")),
                    models.Q(
                        ("close_when_signal__isnull", False),
                        ("close_when_state__in", [state for state, _ in STATES]),
                    ),
                    _connector="OR",
                ),
                name="position_exit_condition_is_whole",
            ),
        ),
    ]
