"""How far a trailing stop follows that its broker holds."""

from django.db import migrations

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0028_exit_condition_index"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="trail_distance",
            field=common.fields.AmountField(
                help_text="How far a trailing stop follows that its broker holds.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="stop_price",
            field=common.fields.AmountField(
                help_text="Of a trailing stop at its broker the first one; it moves there.",
                null=True,
            ),
        ),
    ]
