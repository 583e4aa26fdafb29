"""The owner of a position may set by hand how its stop trails, and end that."""

from django.db import migrations, models

from common.row_security import MY_CONNECTION_BY_SUBSELECT, tenant_rows

MY_POSITION = f"position_id IN (SELECT id FROM positions_executionposition WHERE {MY_CONNECTION_BY_SUBSELECT})"
# The columns that `positions/owner_rules.py` sets; never whose rule it is.
WEB_SETS_TRAILING = """
GRANT DELETE ON positions_stoprule TO fillcast_web;
GRANT UPDATE (trailing_origin, trailing_distance, trailing_step, trailing_activation, trailing_unit,
  known_stop, water_mark, water_mark_at, resumes_beyond, due_at) ON positions_stoprule
  TO fillcast_web
"""
WEB_ONLY_MAKES_DUE = """
REVOKE UPDATE, DELETE ON positions_stoprule FROM fillcast_web;
GRANT UPDATE (due_at) ON positions_stoprule TO fillcast_web
"""


class Migration(migrations.Migration):
    dependencies = [
        ("positions", "0013_exit_condition_index"),
    ]

    operations = [
        migrations.AlterField(
            model_name="stoprule",
            name="break_even_origin",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "No rule"),
                    ("SIGNAL", "The signal"),
                    ("SUBSCRIPTION", "The subscription"),
                    ("PRESET", "The preset"),
                    ("OWNER", "Set by hand"),
                ],
                db_default="",
                default="",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="stoprule",
            name="trailing_origin",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "No rule"),
                    ("SIGNAL", "The signal"),
                    ("SUBSCRIPTION", "The subscription"),
                    ("PRESET", "The preset"),
                    ("OWNER", "Set by hand"),
                ],
                db_default="",
                default="",
                max_length=12,
            ),
        ),
        tenant_rows("positions_stoprule", MY_POSITION),
        migrations.RunSQL(WEB_SETS_TRAILING, WEB_ONLY_MAKES_DUE),
    ]
