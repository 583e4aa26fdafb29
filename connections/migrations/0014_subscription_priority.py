"""The priority class of a subscription."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0013_stop_rules")]

    operations = [
        migrations.AddField(
            model_name="subscription",
            name="priority",
            field=models.SmallIntegerField(
                choices=[(1, "High"), (2, "Normal"), (3, "Low")],
                db_default=2,
                default=2,
                help_text="Whose entries are sent first while many wait. Only an operator gives HIGH (1).",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(("priority__in", [1, 2, 3])),
                name="subscription_priority_known",
                violation_error_message="The priority is 1 (high), 2 (normal) or 3 (low).",
            ),
        ),
    ]
