"""The freeze level was stored and read by nobody: brokers refuse such a change themselves."""

import common.fields
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("connections", "0028_slippage_units")]
    operations = [
        migrations.RemoveField("instrument", "freeze_level"),
        migrations.AlterField(
            "instrument",
            "contract_size",
            common.fields.AmountField(help_text="Base units in one lot at the broker."),
        ),
    ]
