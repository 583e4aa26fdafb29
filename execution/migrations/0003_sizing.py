"""The quantity of an entry before rounding."""

from django.db import migrations

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0002_order_types"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="unrounded_quantity",
            field=common.fields.AmountField(
                help_text="An entry's, before the broker's step, minimum and maximum.", null=True
            ),
        ),
    ]
