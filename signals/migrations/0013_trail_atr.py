"""The distance of a trailing stop in average true ranges."""

from django.conf import settings
from django.db import migrations, models

import common.fields

# An approved signal whose distance changes needs a new approval.
COMPARE_ATR = """
DO $do$ BEGIN
  EXECUTE (SELECT replace(replace(pg_get_functiondef(oid),
      'NEW.trail_percent', 'NEW.trail_percent, NEW.trail_atr, NEW.trail_atr_minutes'),
      'OLD.trail_percent', 'OLD.trail_percent, OLD.trail_atr, OLD.trail_atr_minutes')
    FROM pg_proc WHERE proname = 'signals_signal_approval');
END $do$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0012_oco_index"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="signal",
            name="trailing_has_one_distance",
        ),
        migrations.AddField(
            model_name="signal",
            name="trail_atr",
            field=common.fields.AmountField(
                blank=True,
                help_text="The same in average true ranges (ATR) of the last 14 candles.",
                null=True,
                verbose_name="trail ATR",
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="trail_atr_minutes",
            field=models.SmallIntegerField(
                blank=True,
                choices=[(1, "1"), (5, "5"), (15, "15"), (30, "30"), (60, "60"), (240, "240")],
                help_text="Length of these candles. Empty: an hour.",
                null=True,
                verbose_name="trail ATR minutes",
            ),
        ),
        migrations.AlterField(
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
                    ("ATR", "ATR"),
                ],
                db_default="",
                default="",
                help_text="Of all these distances. Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
                max_length=7,
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("order_type", "TRAILING_STOP"),
                        ("trail_atr__isnull", True),
                        ("trail_distance__gt", 0),
                        ("trail_distance__isnull", False),
                        ("trail_percent__isnull", True),
                        ("trail_pips__isnull", True),
                    ),
                    models.Q(
                        ("order_type", "TRAILING_STOP"),
                        ("trail_atr__isnull", True),
                        ("trail_distance__isnull", True),
                        ("trail_percent__isnull", True),
                        ("trail_pips__gt", 0),
                        ("trail_pips__isnull", False),
                    ),
                    models.Q(
                        ("order_type", "TRAILING_STOP"),
                        ("trail_atr__isnull", True),
                        ("trail_distance__isnull", True),
                        ("trail_percent__gt", 0),
                        ("trail_percent__isnull", False),
                        ("trail_pips__isnull", True),
                        ("trail_percent__lt", 100),
                    ),
                    models.Q(
                        ("order_type", "TRAILING_STOP"),
                        ("trail_atr__gt", 0),
                        ("trail_atr__isnull", False),
                        ("trail_distance__isnull", True),
                        ("trail_percent__isnull", True),
                        ("trail_pips__isnull", True),
                    ),
                    models.Q(
                        models.Q(("order_type", "TRAILING_STOP"), _negated=True),
                        ("activation_price__isnull", True),
                        ("trail_distance__isnull", True),
                        ("trail_pips__isnull", True),
                        ("trail_percent__isnull", True),
                        ("trail_atr__isnull", True),
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
                    ("trail_atr_minutes__isnull", True),
                    models.Q(
                        ("trail_atr__isnull", False),
                        ("trail_atr_minutes__in", (1, 5, 15, 30, 60, 240)),
                    ),
                    _connector="OR",
                ),
                name="trail_atr_minutes_of_atr",
            ),
        ),
        migrations.RunSQL(COMPARE_ATR),
    ]
