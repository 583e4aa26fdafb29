"""OCO pairs: two entries of which each account sends at most one (docs/adr/0027)."""

from django.conf import settings
from django.db import migrations, models

# An approved signal that gets another group needs a new approval.
COMPARE_GROUP = """
DO $do$ BEGIN
  EXECUTE (SELECT replace(replace(pg_get_functiondef(oid),
      'NEW.activation_price', 'NEW.activation_price, NEW.oco_group'),
      'OLD.activation_price', 'OLD.activation_price, OLD.oco_group')
    FROM pg_proc WHERE proname = 'signals_signal_approval');
END $do$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0010_triggers"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="signal",
            name="oco_group",
            field=models.UUIDField(
                blank=True,
                editable=False,
                help_text="Shared by the two legs of an OCO pair: one cancels the other.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("oco_group__isnull", True),
                    models.Q(
                        ("action", "OPEN"),
                        ("execution_style", ""),
                        models.Q(("order_type", "MARKET"), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="oco_leg_is_held",
            ),
        ),
        migrations.RunSQL(COMPARE_GROUP),
    ]
