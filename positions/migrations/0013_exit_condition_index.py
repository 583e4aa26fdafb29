"""The index of positions with a condition, built while the table is used."""

from django.contrib.postgres.operations import AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("positions", "0012_exit_conditions")]

    operations = [
        ValidateConstraint(model_name="executionposition", name="position_exit_condition_is_whole"),
        AddIndexConcurrently(
            model_name="executionposition",
            index=models.Index(
                condition=models.Q(
                    ("quantity__gt", 0),
                    ("close_when_over", False),
                    ("close_when_signal__isnull", False),
                ),
                fields=["close_when_signal"],
                name="position_close_when",
            ),
        ),
    ]
