"""Who guards a level, what the broker holds of a position, and how long it was without its stop."""

from decimal import Decimal

import common.fields
from django.db import migrations, models
from django.db.models import F, Q

POSITION = "executionposition"
UNHELD = Q(Q(quantity__gt=0), sl__isnull=False) & (
    Q(sl_guardian="")
    | Q(sl_guardian="BROKER", broker_sl__isnull=True)
    | Q(sl_guardian="BROKER", broker_sl_quantity__lt=F("quantity"))
)
# The predicate of `execution/wishes.py LEVELS`, word for word.
TO_BE_TOLD = """
DROP INDEX position_levels_to_be_told;
CREATE INDEX position_levels_to_be_told ON positions_executionposition (id)
WHERE (
  lifted AND (broker_sl IS NOT NULL OR broker_tp IS NOT NULL)
  OR quantity > 0 AND NOT lifted AND (
    sl_guardian = 'BROKER' AND (sl IS DISTINCT FROM broker_sl OR broker_sl_quantity <> quantity)
    OR CASE WHEN tp_guardian = 'BROKER' THEN tp END IS DISTINCT FROM broker_tp))
"""
BEFORE = """
DROP INDEX position_levels_to_be_told;
CREATE INDEX position_levels_to_be_told ON positions_executionposition (id) WHERE quantity > 0 AND (
  (sl_guardian = 'BROKER' AND sl IS DISTINCT FROM broker_sl)
  OR CASE WHEN tp_guardian = 'BROKER' THEN tp END IS DISTINCT FROM broker_tp)
"""


def index(name, condition, field="id"):
    return migrations.AddIndex(
        POSITION, models.Index(fields=[field], name=name, condition=condition)
    )


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
        index("position_asked", Q(ask_after__isnull=False), "ask_after"),
        index("position_beyond", Q(beyond_since__isnull=False)),
        index("position_lifted", Q(lifted=True)),
        index("position_bare", UNHELD),
        index("position_unprotected", Q(unprotected_since__isnull=False)),
        migrations.RunSQL(TO_BE_TOLD, BEFORE),
    ]
