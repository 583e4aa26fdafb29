"""Quotes may be pushed, and a source may have a fallback."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0044_least_worth_of_an_entry"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="dataconnection",
            name="fallback",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="The source that is used while this one is silent or suspect; its own fallback is the next one.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="connections.dataconnection",
            ),
        ),
        migrations.AlterField(
            model_name="dataconnection",
            name="kind",
            field=models.CharField(
                choices=[
                    ("replay", "Recorded quotes"),
                    ("static", "Constant quotes (benchmarks)"),
                    ("broker", "The broker's own stream"),
                    ("push", "Quotes that a program pushes (HTTP)"),
                ],
                default="replay",
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="dataconnection",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("fallback__isnull", True),
                    models.Q(("fallback", models.F("id")), _negated=True),
                    _connector="OR",
                ),
                name="source_is_not_its_own_fallback",
                violation_error_message="A price source cannot be its own fallback.",
            ),
        ),
    ]
    safe_beside_released_code = {
        "AddConstraint source_is_not_its_own_fallback": "the column is new, so that the released"
        " code writes none; the table has a row for each account at most"
    }
