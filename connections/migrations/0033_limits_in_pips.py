"""Slippage limits that are in force keep the unit that they were written in: pips.

Since 0028 an empty unit means basis points where there are no pips. That is for new presets. A
preset without a limit whose alert threshold is the default one keeps the empty unit.
"""

from django.db import migrations

from common.batches import run_by_id

PRESETS = """
UPDATE connections_tradingpreset SET slippage_unit = 'PIPS'
WHERE id BETWEEN %(first)s AND %(last)s AND slippage_unit = ''
  AND (max_slippage_pips IS NOT NULL OR slippage_alert_threshold_pips <> 5)
"""


def name_units(apps, schema_editor):
    run_by_id(schema_editor.connection, "connections_tradingpreset", PRESETS)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("connections", "0032_tick_of_an_instrument")]
    operations = [migrations.RunPython(name_units, migrations.RunPython.noop)]
