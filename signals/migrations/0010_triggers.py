"""Orders that are sent when they are touched, and trailing stops.

Their fields are part of a signal's content: an approved signal whose trigger changes needs a new
approval.
"""

from django.conf import settings
from django.db import migrations, models

import common.fields

# `signals_signal_approval` compares the columns of a signal's content; the others stay.
COMPARE_TRIGGERS = """
DO $$
DECLARE
  source text := pg_get_functiondef('signals_signal_approval'::regproc);
  side text;
BEGIN
  FOREACH side IN ARRAY ARRAY['NEW', 'OLD'] LOOP
    source := replace(source, format('%s.stop_price', side), format(
      '%s.stop_price, %s.trail_distance, %s.trail_pips, %s.trail_percent, %s.activation_price',
      side, side, side, side, side));
  END LOOP;
  EXECUTE source;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0009_vwap"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="signal",
            name="stop_has_price",
        ),
        migrations.AddField(
            model_name="signal",
            name="activation_price",
            field=common.fields.AmountField(
                blank=True,
                help_text="A trailing stop follows from when the market is here; empty: at once.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="trail_distance",
            field=common.fields.AmountField(
                blank=True,
                help_text="How far a trailing stop follows, in quote currency.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="trail_percent",
            field=common.fields.AmountField(
                blank=True,
                help_text="The same in percent of the price from which it follows.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="trail_pips",
            field=common.fields.AmountField(blank=True, help_text="The same in pips.", null=True),
        ),
        migrations.AlterField(
            model_name="signal",
            name="order_type",
            field=models.CharField(
                choices=[
                    ("MARKET", "Market"),
                    ("LIMIT", "Limit"),
                    ("STOP", "Stop"),
                    ("STOP_LIMIT", "Stop limit"),
                    ("IF_TOUCHED", "If touched"),
                    ("TRAILING_STOP", "Trailing stop"),
                ],
                default="MARKET",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="signal",
            name="stop_price",
            field=common.fields.AmountField(
                blank=True,
                help_text="Trigger of a stop, stop-limit or if-touched order.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("order_type__in", ("STOP", "STOP_LIMIT", "IF_TOUCHED")), _negated=True
                    ),
                    ("stop_price__isnull", False),
                    _connector="OR",
                ),
                name="stop_has_price",
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("order_type", "TRAILING_STOP"),
                        ("trail_distance__gt", 0),
                        ("trail_distance__isnull", False),
                        ("trail_percent__isnull", True),
                        ("trail_pips__isnull", True),
                    ),
                    models.Q(
                        ("order_type", "TRAILING_STOP"),
                        ("trail_distance__isnull", True),
                        ("trail_percent__isnull", True),
                        ("trail_pips__gt", 0),
                        ("trail_pips__isnull", False),
                    ),
                    models.Q(
                        ("order_type", "TRAILING_STOP"),
                        ("trail_distance__isnull", True),
                        ("trail_percent__gt", 0),
                        ("trail_percent__isnull", False),
                        ("trail_percent__lt", 100),
                        ("trail_pips__isnull", True),
                    ),
                    models.Q(
                        models.Q(("order_type", "TRAILING_STOP"), _negated=True),
                        ("activation_price__isnull", True),
                        ("trail_distance__isnull", True),
                        ("trail_percent__isnull", True),
                        ("trail_pips__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="trailing_has_one_distance",
                violation_error_message="A trailing stop, and no other order, has one distance.",
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("activation_price__isnull", True), ("activation_price__gt", 0), _connector="OR"
                ),
                name="activation_price_gt_0",
            ),
        ),
        migrations.RunSQL(COMPARE_TRIGGERS),
    ]
