"""Who guards a level, what the broker holds of a position, and how long it was without its stop."""

from decimal import Decimal

import common.fields
from django.db import migrations, models

POSITION = "executionposition"


class Migration(migrations.Migration):
    dependencies = [("positions", "0004_levels_are_claimed")]
    operations = [
        migrations.AddField(
            POSITION,
            "broker_sl_quantity",
            common.fields.AmountField(
                null=True, help_text="How much the broker's stop covers; NULL: all of it."
            ),
        ),
        migrations.AddField(
            POSITION,
            "lifted",
            models.BooleanField(
                default=False,
                db_default=False,
                help_text="The broker's levels make way for an exit.",
            ),
        ),
        migrations.AddField(
            POSITION,
            "beyond",
            models.CharField(
                max_length=2,
                blank=True,
                default="",
                db_default="",
                help_text="The broker's level that the price has passed.",
            ),
        ),
        migrations.AddField(POSITION, "beyond_since", models.DateTimeField(null=True)),
        migrations.AddField(
            POSITION,
            "ask_after",
            models.DateTimeField(
                null=True, help_text="From then on its broker is asked what it holds."
            ),
        ),
        migrations.AddField(
            POSITION,
            "held_quantity",
            common.fields.AmountField(
                null=True, help_text="Of it, at the broker, when last asked."
            ),
        ),
        migrations.AddField(
            POSITION,
            "held_at",
            models.DateTimeField(null=True, help_text="When that read began."),
        ),
        migrations.AddField(POSITION, "unprotected_since", models.DateTimeField(null=True)),
        migrations.AddField(
            POSITION,
            "unprotected_why",
            models.CharField(max_length=20, blank=True, default="", db_default=""),
        ),
        migrations.AddField(
            POSITION, "unprotected_told", models.BooleanField(default=False, db_default=False)
        ),
        migrations.AddField(
            POSITION,
            "unprotected_seconds",
            models.DecimalField(
                max_digits=12,
                decimal_places=1,
                default=Decimal(0),
                db_default=Decimal(0),
                help_text="Machine time without its stop, of all such times that are over.",
            ),
        ),
    ]
