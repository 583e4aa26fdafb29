"""A signal may limit the spread at which accounts enter.

The limit is part of a signal's content: an approved signal whose limit changes needs a new approval.
"""

from django.conf import settings
from django.db import migrations, models

import common.fields

# `signals_signal_approval` compares the columns of a signal's content; the others stay.
COMPARE_SPREAD = """
DO $$
DECLARE
  source text := pg_get_functiondef('signals_signal_approval'::regproc);
  side text;
BEGIN
  FOREACH side IN ARRAY ARRAY['NEW', 'OLD'] LOOP
    source := replace(source, format('%s.max_slippage_unit', side), format(
      '%s.max_slippage_unit, %s.max_spread, %s.max_spread_unit', side, side, side));
  END LOOP;
  EXECUTE source;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0004_provider_figures"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="signal",
            name="max_spread",
            field=common.fields.AmountField(
                blank=True,
                help_text="In its unit. Accounts whose prices have a larger spread do not enter.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
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
                help_text="Empty: pips of currencies and metals, basis points (0.01 %) of all else.",
                max_length=7,
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("max_spread__isnull", True), ("max_spread__gte", 0), _connector="OR"
                ),
                name="signal_spread_gte_0",
                violation_error_message="Max spread is 0 or more, or empty.",
            ),
        ),
        migrations.RunSQL(COMPARE_SPREAD),
    ]
