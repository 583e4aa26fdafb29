"""A time or another signal that entries wait for."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# An approved signal whose condition changes needs a new approval.
COMPARE_CONDITION = """
DO $do$ BEGIN
  EXECUTE (SELECT replace(replace(pg_get_functiondef(oid),
      'NEW.activation_price', 'NEW.activation_price, NEW.not_before, NEW.after_signal_id,'
      ' NEW.after_state'),
      'OLD.activation_price', 'OLD.activation_price, OLD.not_before, OLD.after_signal_id,'
      ' OLD.after_state')
    FROM pg_proc WHERE proname = 'signals_signal_approval');
END $do$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0013_trail_atr"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="signal",
            name="after_signal",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="The entry works on an account once that has done with this signal what is next.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="signals.signal",
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="after_state",
            field=models.CharField(
                blank=True,
                choices=[
                    ("FILLED", "Filled"),
                    ("CLOSED", "Closed"),
                    ("CLOSED_AT_STOP", "Closed at its stop"),
                    ("CLOSED_AT_TARGET", "Closed at its target"),
                    ("NOT_FILLED", "Ended without a fill"),
                ],
                db_default="",
                default="",
                help_text="What must have become of that signal on the account.",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="not_before",
            field=models.DateTimeField(
                blank=True,
                help_text="The entry works from this time on; empty: at once.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("after_signal__isnull", True),
                        ("after_state", ""),
                        ("not_before__isnull", True),
                    ),
                    models.Q(
                        ("action", "OPEN"),
                        ("oco_group__isnull", True),
                        models.Q(
                            models.Q(("after_signal__isnull", True), ("after_state", "")),
                            models.Q(
                                ("after_signal__isnull", False),
                                (
                                    "after_state__in",
                                    [
                                        "FILLED",
                                        "CLOSED",
                                        "CLOSED_AT_STOP",
                                        "CLOSED_AT_TARGET",
                                        "NOT_FILLED",
                                    ],
                                ),
                            ),
                            _connector="OR",
                        ),
                    ),
                    _connector="OR",
                ),
                name="condition_of_entry",
                violation_error_message="A condition has a signal and a state, and is an entry's.",
            ),
        ),
        migrations.RunSQL(COMPARE_CONDITION),
    ]
