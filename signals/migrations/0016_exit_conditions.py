"""Positions that are closed by what an account does with another signal."""

import django.db.models.deletion
from django.db import migrations, models

# An approved signal whose closing condition changes needs a new approval.
COMPARE_CONDITIONS = """
DO $do$ BEGIN
  EXECUTE (SELECT replace(replace(pg_get_functiondef(oid),
      'NEW.close_at', 'NEW.close_when_signal_id, NEW.close_when_state, NEW.close_at'),
      'OLD.close_at', 'OLD.close_when_signal_id, OLD.close_when_state, OLD.close_at')
    FROM pg_proc WHERE proname = 'signals_signal_approval');
END $do$;
"""
STATES = ["FILLED", "CLOSED", "CLOSED_AT_STOP", "CLOSED_AT_TARGET", "NOT_FILLED"]


class Migration(migrations.Migration):
    dependencies = [("signals", "0015_time_exits")]

    operations = [
        migrations.AddField(
            model_name="signal",
            name="close_when_signal",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text=(
                    "The position is closed on an account once that has done with this signal what "
                    "is next; an entry that still works then ends."
                ),
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="signals.signal",
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="close_when_state",
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
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("close_when_signal__isnull", True), ("close_when_state", "")),
                    models.Q(
                        models.Q(("action", "CLOSE"), _negated=True),
                        ("close_when_signal__isnull", False),
                        ("close_when_state__in", STATES),
                    ),
                    _connector="OR",
                ),
                name="exit_condition_is_whole",
                violation_error_message="A condition of the exit has a signal and a state.",
            ),
        ),
        migrations.RunSQL(COMPARE_CONDITIONS),
    ]
