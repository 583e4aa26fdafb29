"""The distance from the price within which a broker changes no level and no order."""

from decimal import Decimal

from django.db import migrations

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0017_atr_unit"),
    ]

    operations = [
        migrations.AddField(
            model_name="instrument",
            name="freeze_level",
            field=common.fields.AmountField(
                db_default=Decimal("0"),
                default=Decimal("0"),
                help_text="Nearer to the price the broker changes no level and no order; 0: none.",
            ),
        ),
    ]
