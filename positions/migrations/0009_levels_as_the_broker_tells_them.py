"""Which levels a broker holds is what it has said; what was only sent is not.

What stands in the books of open positions is what was sent, or told: nobody knows which any more.
It counts as told until the next comparison, which reads it.
"""

from django.db import migrations, models

from common.batches import run_by_id

# The predicate of `execution/exits/wishes.py LEVELS`, word for word.
TO_BE_TOLD = """(
  lifted AND (broker_sl IS NOT NULL OR broker_tp IS NOT NULL OR quantity > 0
    AND levels_told_at IS NULL AND (sl_guardian = 'BROKER' OR tp_guardian = 'BROKER'))
  OR quantity > 0 AND NOT lifted AND NOT levels_given_up AND (
    sl_guardian = 'BROKER' AND (coalesce(abs(sl - broker_sl) >= pip / 10,
      (sl IS NULL) <> (broker_sl IS NULL)) OR broker_sl_quantity <> quantity)
    OR coalesce(abs((CASE WHEN tp_guardian = 'BROKER' THEN tp END) - broker_tp) >= pip / 10,
      ((CASE WHEN tp_guardian = 'BROKER' THEN tp END) IS NULL) <> (broker_tp IS NULL))))
"""
BEFORE = """(
  lifted AND (broker_sl IS NOT NULL OR broker_tp IS NOT NULL)
  OR quantity > 0 AND NOT lifted AND (
    sl_guardian = 'BROKER' AND (sl IS DISTINCT FROM broker_sl OR broker_sl_quantity <> quantity)
    OR CASE WHEN tp_guardian = 'BROKER' THEN tp END IS DISTINCT FROM broker_tp))
"""
# Statements that can run again: an interrupted migration begins at the start.
COLUMNS = """
ALTER TABLE positions_executionposition
  ADD COLUMN IF NOT EXISTS levels_told_at timestamptz,
  ADD COLUMN IF NOT EXISTS levels_given_up boolean NOT NULL DEFAULT false
"""
NO_COLUMNS = """
ALTER TABLE positions_executionposition
  DROP COLUMN IF EXISTS levels_told_at, DROP COLUMN IF EXISTS levels_given_up
"""
TOLD = """
UPDATE positions_executionposition SET levels_told_at = clock_timestamp()
WHERE id BETWEEN %(first)s AND %(last)s AND quantity > 0 AND levels_told_at IS NULL
"""


def count_as_told(apps, schema_editor):
    run_by_id(schema_editor.connection, "positions_executionposition", TOLD)


def instead(predicate):
    """The new one stands before the old one goes."""
    return [
        "DROP INDEX CONCURRENTLY IF EXISTS position_levels_next",
        "CREATE INDEX CONCURRENTLY position_levels_next ON positions_executionposition (id)"
        f" WHERE {predicate}",
        "DROP INDEX CONCURRENTLY IF EXISTS position_levels_to_be_told",
        "ALTER INDEX position_levels_next RENAME TO position_levels_to_be_told",
    ]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("positions", "0008_fees_without_a_rate")]
    operations = [
        migrations.RunSQL(
            COLUMNS,
            NO_COLUMNS,
            state_operations=[
                migrations.AddField(
                    "executionposition",
                    "levels_told_at",
                    models.DateTimeField(
                        null=True,
                        help_text="When the broker said which levels it holds; NULL: it has not, or"
                        " not since it was asked to change them.",
                    ),
                ),
                migrations.AddField(
                    "executionposition",
                    "levels_given_up",
                    models.BooleanField(
                        default=False,
                        db_default=False,
                        help_text="The broker dropped a level that it was given again: we watch"
                        " it.",
                    ),
                ),
            ],
        ),
        migrations.RunPython(count_as_told, migrations.RunPython.noop),
        migrations.RunSQL(instead(TO_BE_TOLD), instead(BEFORE)),
    ]
