"""Indexes over open positions only, for what is asked of them every few seconds.

Django's conditions cannot say IS DISTINCT FROM, so the second one is SQL; its predicate is that of
`execution/exits/wishes.py LEVELS`, word for word.
"""

from django.db import migrations, models

TO_BE_TOLD = """
CREATE INDEX position_levels_to_be_told ON positions_executionposition (id) WHERE quantity > 0 AND (
  (sl_guardian = 'BROKER' AND sl IS DISTINCT FROM broker_sl)
  OR CASE WHEN tp_guardian = 'BROKER' THEN tp END IS DISTINCT FROM broker_tp)
"""


class Migration(migrations.Migration):
    dependencies = [("positions", "0002_row_security")]
    operations = [
        migrations.AddIndex(
            model_name="executionposition",
            index=models.Index(
                condition=models.Q(("quantity__gt", 0)),
                fields=["signal"],
                name="position_open_of_signal",
            ),
        ),
        migrations.RunSQL(TO_BE_TOLD, "DROP INDEX position_levels_to_be_told"),
    ]
