"""Since when an account's executions cannot be read by polls."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0048_index_of_partly_known_orders")]

    operations = [
        migrations.AddField(
            model_name="accountsyncstate",
            name="fills_failing_since",
            field=models.DateTimeField(
                help_text="Machine time: since when executions cannot be read by polls.", null=True
            ),
        ),
    ]
