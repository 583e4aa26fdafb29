"""Break-even and trailing rules in average true ranges."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0016_market_hours"),
    ]

    operations = [
        migrations.AlterField(
            model_name="subscription",
            name="stop_rule_unit",
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
                help_text="Of all these distances. Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
                max_length=7,
            ),
        ),
        migrations.AlterField(
            model_name="tradingpreset",
            name="stop_rule_unit",
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
                help_text="Of all these distances. Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
                max_length=7,
            ),
        ),
    ]
