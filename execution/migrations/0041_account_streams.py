"""An index of the accounts that a process listens to: each looks for its own every five seconds."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0040_order_streams")]

    operations = [
        migrations.AddIndex(
            model_name="accountsyncstate",
            index=models.Index(
                condition=models.Q(("stream_holder", ""), _negated=True),
                fields=["stream_holder"],
                name="account_streams",
            ),
        ),
    ]
