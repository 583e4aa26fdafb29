"""When funding of perpetuals was last read.

On its own: the table of payments (0026) locks connections, and one transaction that locks both can
wait for a worker that waits for it.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0024_subscription_twins")]

    operations = [
        migrations.AddField(
            model_name="accountsnapshot",
            name="funding_read_at",
            field=models.DateTimeField(
                help_text="Until when funding of perpetuals is read; empty: never.", null=True
            ),
        ),
        migrations.AddField(
            model_name="accountsnapshot",
            name="funding_tried_at",
            field=models.DateTimeField(
                help_text="When it was last asked for, with or without success.", null=True
            ),
        ),
    ]
