"""Sizing modes, the allowed minimum and the risk of a single trade."""

from decimal import Decimal

from django.conf import settings
from django.db import migrations, models

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0003_ambiguous_symbols"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="tradingpreset",
            name="preset_mode_has_number",
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="allow_minimum_quantity",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Trade the broker's minimum if the calculated quantity is below it. Needs a limit of the risk of a single trade.",
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="large_risk_percent",
            field=common.fields.AmountField(db_default=Decimal("3"), default=Decimal("3")),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="max_trade_risk_percent",
            field=common.fields.AmountField(
                blank=True, help_text="Of equity, lost at the stop of a single entry.", null=True
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="normal_risk_percent",
            field=common.fields.AmountField(db_default=Decimal("2"), default=Decimal("2")),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="per_balance",
            field=common.fields.AmountField(
                blank=True,
                help_text="Account currency: the fixed quantity is traded for each such amount of balance.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="percent_of_equity",
            field=common.fields.AmountField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="risk_amount",
            field=common.fields.AmountField(
                blank=True, help_text="Account currency, lost at the stop.", null=True
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="small_risk_percent",
            field=common.fields.AmountField(db_default=Decimal("1"), default=Decimal("1")),
        ),
        migrations.AlterField(
            model_name="tradingpreset",
            name="sizing_mode",
            field=models.CharField(
                choices=[
                    ("FIXED", "Fixed quantity"),
                    ("PER_BALANCE", "Fixed quantity for each amount of balance"),
                    ("PERCENT_BALANCE", "Percent of balance as notional"),
                    ("PERCENT_EQUITY", "Percent of equity as notional"),
                    ("FIXED_AMOUNT", "Fixed amount as notional"),
                    ("RISK_PERCENT", "Percent of equity at risk"),
                    ("RISK_AMOUNT", "Amount at risk"),
                    ("RISK_CATEGORY", "Percent of equity at risk, by the signal's risk category"),
                    ("PROVIDER_MULTIPLE", "The provider's quantity, times the multiplier"),
                    ("EQUITY_RATIO", "The provider's quantity, in proportion to equity"),
                ],
                default="RISK_PERCENT",
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        models.Q(("sizing_mode", "FIXED"), _negated=True),
                        ("fixed_quantity__isnull", False),
                        _connector="OR",
                    ),
                    models.Q(
                        models.Q(("sizing_mode", "PER_BALANCE"), _negated=True),
                        models.Q(("fixed_quantity__isnull", False), ("per_balance__isnull", False)),
                        _connector="OR",
                    ),
                    models.Q(
                        models.Q(("sizing_mode", "PERCENT_BALANCE"), _negated=True),
                        ("percent_of_balance__isnull", False),
                        _connector="OR",
                    ),
                    models.Q(
                        models.Q(("sizing_mode", "PERCENT_EQUITY"), _negated=True),
                        ("percent_of_equity__isnull", False),
                        _connector="OR",
                    ),
                    models.Q(
                        models.Q(("sizing_mode", "FIXED_AMOUNT"), _negated=True),
                        ("fixed_amount__isnull", False),
                        _connector="OR",
                    ),
                    models.Q(
                        models.Q(("sizing_mode", "RISK_PERCENT"), _negated=True),
                        ("risk_percent__isnull", False),
                        _connector="OR",
                    ),
                    models.Q(
                        models.Q(("sizing_mode", "RISK_AMOUNT"), _negated=True),
                        ("risk_amount__isnull", False),
                        _connector="OR",
                    ),
                ),
                name="preset_mode_has_number",
                violation_error_message="The sizing mode needs its number: percent of equity at risk needs risk percent, amount at risk its amount, fixed quantity its quantity, fixed quantity for each amount of balance both, percent of balance or equity its percent, fixed amount its amount.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("per_balance__isnull", True), ("per_balance__gt", 0), _connector="OR"
                    ),
                    models.Q(
                        ("risk_amount__isnull", True), ("risk_amount__gt", 0), _connector="OR"
                    ),
                ),
                name="preset_amounts_gt_0",
                violation_error_message="The amount of balance and the amount at risk are above 0, or empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("percent_of_equity__isnull", True),
                    models.Q(("percent_of_equity__gt", 0), ("percent_of_equity__lte", 10000)),
                    _connector="OR",
                ),
                name="percent_of_equity_range",
                violation_error_message="Percent of equity is above 0 and at most 10,000.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("large_risk_percent__gt", 0),
                    ("large_risk_percent__lte", 100),
                    ("normal_risk_percent__gt", 0),
                    ("normal_risk_percent__lte", 100),
                    ("small_risk_percent__gt", 0),
                    ("small_risk_percent__lte", 100),
                ),
                name="category_risk_percents_0_100",
                violation_error_message="The risk percent of each category is above 0 and at most 100.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("max_trade_risk_percent__isnull", True),
                    models.Q(
                        ("max_trade_risk_percent__gt", 0), ("max_trade_risk_percent__lte", 100)
                    ),
                    _connector="OR",
                ),
                name="max_trade_risk_0_100",
                violation_error_message="Max trade risk percent is above 0 and at most 100, or empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("allow_minimum_quantity", False),
                    ("max_trade_risk_percent__isnull", False),
                    _connector="OR",
                ),
                name="minimum_needs_trade_risk",
                violation_error_message="Trading the broker's minimum needs max trade risk percent: it limits what the minimum may lose.",
            ),
        ),
    ]
