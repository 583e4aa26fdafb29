"""What a poll of an account must not miss: that it was woken while it was running."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0038_remove_archived_lines")]

    operations = [
        migrations.AddField(
            model_name="accountsyncstate",
            name="poll_began_at",
            field=models.DateTimeField(
                null=True, help_text="Machine time: of the poll that is running."
            ),
        ),
        migrations.AddField(
            model_name="accountsyncstate",
            name="woken_at",
            field=models.DateTimeField(
                null=True, help_text="Machine time: a poll from then on was requested."
            ),
        ),
    ]
