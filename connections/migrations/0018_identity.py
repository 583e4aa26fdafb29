"""What its broker called an account in its last passed test: other keys must be of the same one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0017_silence_that_was_told"),
    ]

    operations = [
        migrations.AddField(
            model_name="executionconnection",
            name="identity",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="What its broker called the account in its last passed test, where it"
                " says so.",
                max_length=120,
            ),
        ),
    ]
