"""The equity of the last state that was stored with its deposits and withdrawals."""

from django.db import migrations

import common.fields


class Migration(migrations.Migration):
    dependencies = [("connections", "0021_level_deviation")]

    operations = [
        migrations.AddField(
            model_name="cashflowread",
            name="equity",
            field=common.fields.AmountField(help_text="Of that state.", null=True),
        ),
    ]
