"""Limits of entries that presets and subscriptions share; subscriptions have limits of their own."""

import django.contrib.postgres.fields
from django.conf import settings
from django.db import migrations, models

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0008_loss_limits"),
        ("signals", "0005_order_limits"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="subscription",
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
            model_name="subscription",
            name="market_hours_only",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="No entries while the market of the symbol is closed: currencies and metals at the weekend.",
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_currency_exposure_percent",
            field=common.fields.AmountField(
                blank=True,
                help_text="Buys less sells of a currency, coin or share, in percent of equity.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_daily_notional",
            field=common.fields.AmountField(
                blank=True,
                help_text="Account currency: notional of the entries of a trading day.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_daily_volume",
            field=common.fields.AmountField(
                blank=True,
                help_text="Base units: quantity of the entries of a trading day in a symbol.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_leverage",
            field=common.fields.AmountField(
                blank=True, help_text="Open notional / equity.", null=True
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_open_orders",
            field=models.IntegerField(
                blank=True, help_text="Entries of the account that are not filled yet.", null=True
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_open_positions",
            field=models.IntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_orders_per_minute",
            field=models.IntegerField(
                blank=True, help_text="Entries that the account sends within a minute.", null=True
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_portfolio_risk_percent",
            field=common.fields.AmountField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_price_deviation_percent",
            field=common.fields.AmountField(
                blank=True,
                help_text="How far a signal's own price may be from the market, in percent of it.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_quantity",
            field=common.fields.AmountField(blank=True, help_text="Base units.", null=True),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_size_multiple",
            field=common.fields.AmountField(
                blank=True,
                help_text="Largest quantity, as a multiple of the median of the account's last entries in the symbol.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_slippage_pips",
            field=common.fields.AmountField(
                blank=True,
                help_text="In the slippage unit, see below.",
                null=True,
                verbose_name="max slippage",
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_spread",
            field=common.fields.AmountField(
                blank=True,
                help_text="In its unit. Entries with a wider spread are denied.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
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
        migrations.AddField(
            model_name="subscription",
            name="max_symbol_exposure_percent",
            field=common.fields.AmountField(
                blank=True, help_text="Open notional of a symbol, in percent of equity.", null=True
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="max_trade_risk_percent",
            field=common.fields.AmountField(
                blank=True, help_text="Of equity, lost at the stop of a single entry.", null=True
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="same_trade_window_seconds",
            field=models.IntegerField(
                blank=True,
                help_text="Within this time after an entry, no second one of the same feed, symbol and side is sent.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="slippage_unit",
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
        migrations.AddField(
            model_name="subscription",
            name="trading_sessions",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=19),
                blank=True,
                db_default=[],
                default=list,
                help_text="When entries are sent, in the trading day's zone: MON-FRI 08:00-16:30. Empty: always.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="market_hours_only",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="No entries while the market of the symbol is closed: currencies and metals at the weekend.",
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="max_currency_exposure_percent",
            field=common.fields.AmountField(
                blank=True,
                help_text="Buys less sells of a currency, coin or share, in percent of equity.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="max_daily_notional",
            field=common.fields.AmountField(
                blank=True,
                help_text="Account currency: notional of the entries of a trading day.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="max_daily_volume",
            field=common.fields.AmountField(
                blank=True,
                help_text="Base units: quantity of the entries of a trading day in a symbol.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="max_orders_per_minute",
            field=models.IntegerField(
                blank=True, help_text="Entries that the account sends within a minute.", null=True
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="max_size_multiple",
            field=common.fields.AmountField(
                blank=True,
                help_text="Largest quantity, as a multiple of the median of the account's last entries in the symbol.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="same_trade_window_seconds",
            field=models.IntegerField(
                blank=True,
                help_text="Within this time after an entry, no second one of the same feed, symbol and side is sent.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="trading_sessions",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=19),
                blank=True,
                db_default=[],
                default=list,
                help_text="When entries are sent, in the trading day's zone: MON-FRI 08:00-16:30. Empty: always.",
                size=None,
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("max_quantity__isnull", True), ("max_quantity__gt", 0), _connector="OR"
                    ),
                    models.Q(
                        ("max_open_positions__isnull", True),
                        ("max_open_positions__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_leverage__isnull", True), ("max_leverage__gt", 0), _connector="OR"
                    ),
                    models.Q(
                        ("max_portfolio_risk_percent__isnull", True),
                        ("max_portfolio_risk_percent__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_trade_risk_percent__isnull", True),
                        ("max_trade_risk_percent__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_symbol_exposure_percent__isnull", True),
                        ("max_symbol_exposure_percent__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_open_orders__isnull", True),
                        ("max_open_orders__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_price_deviation_percent__isnull", True),
                        ("max_price_deviation_percent__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_currency_exposure_percent__isnull", True),
                        ("max_currency_exposure_percent__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_orders_per_minute__isnull", True),
                        ("max_orders_per_minute__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_daily_notional__isnull", True),
                        ("max_daily_notional__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_daily_volume__isnull", True),
                        ("max_daily_volume__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("same_trade_window_seconds__isnull", True),
                        ("same_trade_window_seconds__gt", 0),
                        _connector="OR",
                    ),
                ),
                name="subscription_limits_gt_0",
                violation_error_message="Max quantity, max open positions, max leverage, max portfolio risk percent, max trade risk percent, max symbol exposure percent, max open orders, max price deviation percent, max currency exposure percent, max orders per minute, max daily notional, max daily volume and same trade window seconds are above 0, or empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("max_spread__isnull", True), ("max_spread__gte", 0), _connector="OR"),
                    models.Q(
                        ("max_slippage_pips__isnull", True),
                        ("max_slippage_pips__gte", 0),
                        _connector="OR",
                    ),
                ),
                name="subscription_spread_slippage_gte_0",
                violation_error_message="Max spread and max slippage are 0 or more, or empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(("allowed_symbols__len__lte", 200)),
                name="subscription_allowed_symbols_count",
                violation_error_message="At most 200 allowed symbols.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("max_size_multiple__isnull", True),
                    ("max_size_multiple__gte", 1),
                    _connector="OR",
                ),
                name="subscription_size_multiple_gte_1",
                violation_error_message="Max size multiple is 1 or more, or empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(("trading_sessions__len__lte", 50)),
                name="subscription_sessions_count",
                violation_error_message="At most 50 trading sessions.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("max_currency_exposure_percent__isnull", True),
                        ("max_currency_exposure_percent__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_orders_per_minute__isnull", True),
                        ("max_orders_per_minute__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_daily_notional__isnull", True),
                        ("max_daily_notional__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_daily_volume__isnull", True),
                        ("max_daily_volume__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("same_trade_window_seconds__isnull", True),
                        ("same_trade_window_seconds__gt", 0),
                        _connector="OR",
                    ),
                ),
                name="preset_entry_limits_gt_0",
                violation_error_message="Max currency exposure percent, max orders per minute, max daily notional, max daily volume and same trade window seconds are above 0, or empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("max_size_multiple__isnull", True),
                    ("max_size_multiple__gte", 1),
                    _connector="OR",
                ),
                name="preset_size_multiple_gte_1",
                violation_error_message="Max size multiple is 1 or more, or empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(("trading_sessions__len__lte", 50)),
                name="preset_sessions_count",
                violation_error_message="At most 50 trading sessions.",
            ),
        ),
    ]
