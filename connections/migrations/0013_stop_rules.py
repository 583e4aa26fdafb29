"""Break-even and trailing rules of presets and subscriptions."""

from django.conf import settings
from django.db import migrations, models

import common.fields


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0012_decision_step"),
        ("signals", "0007_stop_rules"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="subscription",
            name="break_even_offset",
            field=common.fields.AmountField(
                blank=True,
                help_text="How far beyond the entry price, on the side of the profit. Empty: 0.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="break_even_profit",
            field=common.fields.AmountField(
                blank=True,
                help_text="Move the stop to the entry price at this profit, in the unit below. 0: never.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="break_even_target",
            field=models.SmallIntegerField(
                blank=True,
                help_text="Move the stop to the entry price after so many targets. 0: never.",
                null=True,
            ),
        ),
        migrations.AddField(
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
                ],
                db_default="",
                default="",
                help_text="Of all these distances. Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
                max_length=7,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="trailing_activation",
            field=common.fields.AmountField(
                blank=True,
                help_text="The profit from which the stop trails. Empty: from the start.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="trailing_distance",
            field=common.fields.AmountField(
                blank=True,
                help_text="How far the stop follows behind the best price. 0: it does not trail.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="trailing_step",
            field=common.fields.AmountField(
                blank=True,
                help_text="The least move of a trailing stop. Empty: one pip.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="break_even_offset",
            field=common.fields.AmountField(
                blank=True,
                help_text="How far beyond the entry price, on the side of the profit. Empty: 0.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="break_even_profit",
            field=common.fields.AmountField(
                blank=True,
                help_text="Move the stop to the entry price at this profit, in the unit below. 0: never.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="break_even_target",
            field=models.SmallIntegerField(
                blank=True,
                help_text="Move the stop to the entry price after so many targets. 0: never.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="stop_move_seconds",
            field=models.SmallIntegerField(
                db_default=5,
                default=5,
                help_text="Break-even and trailing: the least time between two moves of a stop, in seconds.",
            ),
        ),
        migrations.AddField(
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
                ],
                db_default="",
                default="",
                help_text="Of all these distances. Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
                max_length=7,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="trailing_activation",
            field=common.fields.AmountField(
                blank=True,
                help_text="The profit from which the stop trails. Empty: from the start.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="trailing_distance",
            field=common.fields.AmountField(
                blank=True,
                help_text="How far the stop follows behind the best price. 0: it does not trail.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="tradingpreset",
            name="trailing_step",
            field=common.fields.AmountField(
                blank=True,
                help_text="The least move of a trailing stop. Empty: one pip.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("break_even_target__isnull", True),
                        models.Q(("break_even_target__gte", 0), ("break_even_target__lte", 10)),
                        _connector="OR",
                    ),
                    models.Q(
                        ("break_even_profit__isnull", True),
                        ("break_even_profit__gte", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("break_even_offset__isnull", True),
                        ("break_even_offset__gte", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("trailing_distance__isnull", True),
                        ("trailing_distance__gte", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("trailing_step__isnull", True), ("trailing_step__gte", 0), _connector="OR"
                    ),
                    models.Q(
                        ("trailing_activation__isnull", True),
                        ("trailing_activation__gte", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("trailing_step__isnull", True), ("trailing_step__gt", 0), _connector="OR"
                    ),
                ),
                name="subscription_stop_rule_range",
                violation_error_message="Break-even and trailing: distances are 0 or more, the step is above 0, and the target is 0 to 10.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(("stop_move_seconds__gte", 1), ("stop_move_seconds__lte", 3600)),
                name="stop_move_seconds_range",
                violation_error_message="Stop move seconds are 1 to 3,600.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingpreset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("break_even_target__isnull", True),
                        models.Q(("break_even_target__gte", 0), ("break_even_target__lte", 10)),
                        _connector="OR",
                    ),
                    models.Q(
                        ("break_even_profit__isnull", True),
                        ("break_even_profit__gte", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("break_even_offset__isnull", True),
                        ("break_even_offset__gte", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("trailing_distance__isnull", True),
                        ("trailing_distance__gte", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("trailing_step__isnull", True), ("trailing_step__gte", 0), _connector="OR"
                    ),
                    models.Q(
                        ("trailing_activation__isnull", True),
                        ("trailing_activation__gte", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("trailing_step__isnull", True), ("trailing_step__gt", 0), _connector="OR"
                    ),
                ),
                name="preset_stop_rule_range",
                violation_error_message="Break-even and trailing: distances are 0 or more, the step is above 0, and the target is 0 to 10.",
            ),
        ),
    ]
