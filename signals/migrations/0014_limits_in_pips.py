"""Slippage limits of signals keep the unit that they were written in: pips.

Since 0010 an empty unit means basis points where there are no pips. That is for new signals. What
is approved stays approved: what its approver agreed to does not change here.
"""

from django.db import migrations, transaction

from common.batches import run_by_id

NAME = """
UPDATE signals_signal SET max_slippage_unit = 'PIPS'
WHERE id BETWEEN %(first)s AND %(last)s AND max_slippage_unit = ''
  AND max_slippage_pips IS NOT NULL AND (approval <> 'APPROVED' OR published_at IS NOT NULL)
"""
# The trigger would ask for a new approval. Writers wait for these few rows.
NAME_APPROVED = """
ALTER TABLE signals_signal DISABLE TRIGGER signals_signal_approval;
UPDATE signals_signal SET max_slippage_unit = 'PIPS'
WHERE max_slippage_unit = '' AND max_slippage_pips IS NOT NULL
  AND approval = 'APPROVED' AND published_at IS NULL;
ALTER TABLE signals_signal ENABLE TRIGGER signals_signal_approval
"""


def name_units(apps, schema_editor):
    connection = schema_editor.connection
    run_by_id(connection, "signals_signal", NAME)
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '10s'")
        cursor.execute(NAME_APPROVED)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("signals", "0013_alert_sequence")]
    operations = [migrations.RunPython(name_units, migrations.RunPython.noop)]
