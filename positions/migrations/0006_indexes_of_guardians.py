"""Indexes over what guardians look for, built while positions are written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Q

UNHELD = Q(Q(quantity__gt=0), sl__isnull=False) & (
    Q(sl_guardian="")
    | Q(sl_guardian="BROKER", broker_sl__isnull=True)
    | Q(sl_guardian="BROKER", broker_sl_quantity__lt=F("quantity"))
)
# The predicate of `execution/exits/wishes.py LEVELS`, word for word.
TO_BE_TOLD = """(
  lifted AND (broker_sl IS NOT NULL OR broker_tp IS NOT NULL)
  OR quantity > 0 AND NOT lifted AND (
    sl_guardian = 'BROKER' AND (sl IS DISTINCT FROM broker_sl OR broker_sl_quantity <> quantity)
    OR CASE WHEN tp_guardian = 'BROKER' THEN tp END IS DISTINCT FROM broker_tp))
"""
BEFORE = """quantity > 0 AND (
  (sl_guardian = 'BROKER' AND sl IS DISTINCT FROM broker_sl)
  OR CASE WHEN tp_guardian = 'BROKER' THEN tp END IS DISTINCT FROM broker_tp)
"""


def index(name, condition, field="id"):
    return AddIndexConcurrently(
        "executionposition", models.Index(fields=[field], name=name, condition=condition)
    )


def instead(predicate):
    """The new one stands before the old one goes."""
    return [
        "CREATE INDEX CONCURRENTLY position_levels_next ON positions_executionposition (id)"
        f" WHERE {predicate}",
        "DROP INDEX CONCURRENTLY position_levels_to_be_told",
        "ALTER INDEX position_levels_next RENAME TO position_levels_to_be_told",
    ]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("positions", "0005_guardians_and_unprotected_seconds")]
    operations = [
        index("position_asked", Q(ask_after__isnull=False), "ask_after"),
        index("position_beyond", Q(beyond_since__isnull=False)),
        index("position_lifted", Q(lifted=True)),
        index("position_bare", UNHELD),
        index("position_unprotected", Q(unprotected_since__isnull=False)),
        migrations.RunSQL(instead(TO_BE_TOLD), instead(BEFORE)),
    ]
