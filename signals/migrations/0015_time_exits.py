"""When positions are closed by time."""

from django.conf import settings
from django.db import migrations, models

# An approved signal whose closing time changes needs a new approval.
COMPARE_TIMES = """
DO $do$ BEGIN
  EXECUTE (SELECT replace(replace(pg_get_functiondef(oid),
      'NEW.not_before', 'NEW.not_before, NEW.close_at, NEW.close_after_seconds'),
      'OLD.not_before', 'OLD.not_before, OLD.close_at, OLD.close_after_seconds')
    FROM pg_proc WHERE proname = 'signals_signal_approval');
END $do$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0014_conditions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="signal",
            name="close_after_seconds",
            field=models.IntegerField(
                blank=True,
                help_text="The position is closed so long after its first fill.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="close_at",
            field=models.DateTimeField(
                blank=True,
                help_text="The position is closed at this time; an entry that still works then ends.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("close_at__isnull", True),
                        models.Q(("action", "CLOSE"), _negated=True),
                        _connector="OR",
                    ),
                    models.Q(
                        ("close_after_seconds__isnull", True),
                        models.Q(("action", "OPEN"), ("close_after_seconds__gt", 0)),
                        _connector="OR",
                    ),
                ),
                name="time_exit_of_entry",
                violation_error_message="Close after seconds is above 0 and of an entry.",
            ),
        ),
        migrations.RunSQL(COMPARE_TIMES),
    ]
