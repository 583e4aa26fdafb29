"""A preset limits the spread, the symbols and the deviation of a signal's price."""

import django.contrib.postgres.fields
from django.conf import settings
from django.db import migrations, models

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0004_sizing"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="tradingpreset",
            name="allowed_symbols",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=20),
                blank=True,
                db_default=[],
                default=list,
                help_text="Symbols such as EUR/USD, or all of a currency: EUR/*, */USD. Empty: all.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="max_price_deviation_percent",
            field=common.fields.AmountField(
                blank=True,
                help_text="How far a signal's own price may be from the market, in percent of it.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="max_spread",
            field=common.fields.AmountField(
                blank=True,
                help_text="In its unit. Entries with a wider spread are denied.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="max_spread_unit",
            field=models.CharField(
                blank=True,
                choices=[
                    ("PIPS", "Pips"),
                    ("TICKS", "Ticks"),
                    ("BPS", "Basis points"),
                    ("PERCENT", "Percent"),
                ],
                db_default="",
                default="",
                help_text="Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
                max_length=7,
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("max_spread__isnull", True), ("max_spread__gte", 0), _connector="OR"
                ),
                name="preset_spread_gte_0",
                violation_error_message="Max spread is 0 or more, or empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("max_price_deviation_percent__isnull", True),
                    ("max_price_deviation_percent__gt", 0),
                    _connector="OR",
                ),
                name="preset_deviation_gt_0",
                violation_error_message="Max price deviation percent is above 0, or empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(("allowed_symbols__len__lte", 200)),
                name="preset_allowed_symbols_count",
                violation_error_message="At most 200 allowed symbols; EUR/* stands for all symbols of a currency.",
            ),
        ),
    ]
