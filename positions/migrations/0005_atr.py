"""Break-even and trailing rules in average true ranges."""

from django.db import migrations, models

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("positions", "0004_growing_positions"),
    ]

    operations = [
        migrations.AddField(
            model_name="stoprule",
            name="atr",
            field=common.fields.AmountField(
                help_text="The average true range that counts, if a distance is in ATR; empty: not known.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="stoprule",
            name="break_even_unit",
            field=models.CharField(
                blank=True,
                choices=[
                    ("PIPS", "Pips"),
                    ("TICKS", "Ticks"),
                    ("BPS", "Basis points"),
                    ("PERCENT", "Percent"),
                    ("PRICE", "Price"),
                    ("ATR", "ATR"),
                ],
                db_default="",
                default="",
                max_length=7,
            ),
        ),
        migrations.AlterField(
            model_name="stoprule",
            name="trailing_unit",
            field=models.CharField(
                blank=True,
                choices=[
                    ("PIPS", "Pips"),
                    ("TICKS", "Ticks"),
                    ("BPS", "Basis points"),
                    ("PERCENT", "Percent"),
                    ("PRICE", "Price"),
                    ("ATR", "ATR"),
                ],
                db_default="",
                default="",
                max_length=7,
            ),
        ),
    ]
