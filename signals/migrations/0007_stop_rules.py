"""A signal may bring break-even and trailing rules for the positions that it opens.

They are part of its content: an approved signal whose rule changes needs a new approval.
"""

from django.conf import settings
from django.db import migrations, models

import common.fields

# `signals_signal_approval` compares the columns of a signal's content; the others stay.
COMPARE_RULES = """
DO $$
DECLARE
  source text := pg_get_functiondef('signals_signal_approval'::regproc);
  side text;
  name text;
  named text;
BEGIN
  FOREACH side IN ARRAY ARRAY['NEW', 'OLD'] LOOP
    named := format('%s.max_spread_unit', side);
    FOREACH name IN ARRAY ARRAY['break_even_target', 'break_even_profit', 'break_even_offset',
        'trailing_distance', 'trailing_step', 'trailing_activation', 'stop_rule_unit'] LOOP
      named := named || format(', %s.%s', side, name);
    END LOOP;
    source := replace(source, format('%s.max_spread_unit', side), named);
  END LOOP;
  EXECUTE source;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0006_signal_limit"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="signal",
            name="break_even_offset",
            field=common.fields.AmountField(
                blank=True,
                help_text="How far beyond the entry price, on the side of the profit. Empty: 0.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="break_even_profit",
            field=common.fields.AmountField(
                blank=True,
                help_text="Move the stop to the entry price at this profit, in the unit below. 0: never.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="break_even_target",
            field=models.SmallIntegerField(
                blank=True,
                help_text="Move the stop to the entry price after so many targets. 0: never.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
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
            model_name="signal",
            name="trailing_activation",
            field=common.fields.AmountField(
                blank=True,
                help_text="The profit from which the stop trails. Empty: from the start.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="trailing_distance",
            field=common.fields.AmountField(
                blank=True,
                help_text="How far the stop follows behind the best price. 0: it does not trail.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="trailing_step",
            field=common.fields.AmountField(
                blank=True,
                help_text="The least move of a trailing stop. Empty: one pip.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
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
                name="signal_stop_rule_range",
                violation_error_message="Break-even and trailing: distances are 0 or more, the step is above 0, and the target is 0 to 10.",
            ),
        ),
        migrations.RunSQL(COMPARE_RULES),
    ]
