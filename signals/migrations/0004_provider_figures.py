"""The figures that a provider's followers may be sized by.

They became part of a signal's content: an approved signal whose figures change needs a new
approval. The function's other columns stay as they are, whatever they are by then.
"""

from django.conf import settings
from django.db import migrations, models

import common.fields

COMPARE_FIGURES = """
DO $$
DECLARE
  source text := pg_get_functiondef('signals_signal_approval'::regproc);
  side text;
BEGIN
  FOREACH side IN ARRAY ARRAY['NEW', 'OLD'] LOOP
    source := replace(source, format('%s.risk_category', side), format(
      '%s.risk_category, %s.provider_quantity, %s.provider_equity, %s.provider_currency',
      side, side, side, side));
  END LOOP;
  EXECUTE source;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0003_order_types"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="signal",
            name="provider_currency",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The currency of the provider's equity, for example USD.",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="signal",
            name="provider_equity",
            field=common.fields.AmountField(
                blank=True, help_text="In the provider's currency.", null=True
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("provider_quantity__isnull", True),
                        ("provider_quantity__gt", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("provider_equity__isnull", True),
                        ("provider_equity__gt", 0),
                        _connector="OR",
                    ),
                ),
                name="provider_figures_gt_0",
                violation_error_message="The provider's quantity and equity are above 0, or empty.",
            ),
        ),
        migrations.RunSQL(COMPARE_FIGURES),
    ]
