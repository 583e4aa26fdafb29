"""A signal may spread its entry over time.

How is part of a signal's content: an approved signal whose style changes needs a new approval.
"""

from django.conf import settings
from django.db import migrations, models

import common.fields

COMPARE_STYLE = """
DO $$
DECLARE
  source text := pg_get_functiondef('signals_signal_approval'::regproc);
  side text;
BEGIN
  FOREACH side IN ARRAY ARRAY['NEW', 'OLD'] LOOP
    source := replace(source, format('%s.max_slippage_unit', side), format(
      '%s.max_slippage_unit, %s.execution_style, %s.duration_seconds, %s.slice_count, '
      || '%s.slice_variation, %s.price_limit, %s.catch_up, %s.at_end',
      side, side, side, side, side, side, side, side));
  END LOOP;
  EXECUTE source;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0007_stop_rules"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="signal",
            name="at_end",
            field=models.CharField(
                blank=True,
                choices=[("LEAVE", "It is left out"), ("MARKET", "It is sent at market")],
                db_default="",
                default="",
                help_text="What becomes of what is left at the end. Empty: it is left out.",
                max_length=6,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="catch_up",
            field=models.CharField(
                blank=True,
                choices=[("CATCH_UP", "The next slices send it too"), ("SKIP", "It is left out")],
                db_default="",
                default="",
                help_text="What becomes of a slice that was not sent. Empty: the next slices send it too.",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="duration_seconds",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Seconds from the first slice to the end, at most a day.",
                null=True,
                verbose_name="duration",
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="execution_style",
            field=models.CharField(
                blank=True,
                choices=[("TWAP", "TWAP: equal parts over time")],
                db_default="",
                default="",
                help_text="Empty: one order. TWAP sends the entry in slices over the duration.",
                max_length=4,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="price_limit",
            field=common.fields.AmountField(
                blank=True,
                help_text="No slice is sent while the market is beyond this price.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="slice_count",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="2 to 100, at least 10 seconds apart.",
                null=True,
                verbose_name="slices",
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="slice_variation",
            field=common.fields.AmountField(
                blank=True,
                help_text="Percent by which sizes and times of slices vary at random; 0 to 50.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("at_end", ""),
                        ("catch_up", ""),
                        ("duration_seconds__isnull", True),
                        ("execution_style", ""),
                        ("price_limit__isnull", True),
                        ("slice_count__isnull", True),
                        ("slice_variation__isnull", True),
                    ),
                    models.Q(
                        models.Q(("execution_style", ""), _negated=True),
                        ("action", "OPEN"),
                        ("duration_seconds__gt", 0),
                        ("duration_seconds__isnull", False),
                        ("duration_seconds__lte", 86400),
                        ("order_type", "MARKET"),
                        ("slice_count__gte", 2),
                        ("slice_count__isnull", False),
                        ("slice_count__lte", 100),
                        ("time_in_force", "GTC"),
                    ),
                    _connector="OR",
                ),
                name="style_is_complete",
                violation_error_message="TWAP needs OPEN, MARKET, GTC, a duration and a number of slices.",
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("slice_variation__isnull", True),
                        models.Q(("slice_variation__gte", 0), ("slice_variation__lte", 50)),
                        _connector="OR",
                    ),
                    models.Q(
                        ("price_limit__isnull", True), ("price_limit__gt", 0), _connector="OR"
                    ),
                ),
                name="style_in_range",
                violation_error_message="Variation is 0 to 50 percent; the price limit is above 0.",
            ),
        ),
        migrations.RunSQL(COMPARE_STYLE),
    ]
