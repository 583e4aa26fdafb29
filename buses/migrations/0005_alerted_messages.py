"""Dead letters by when operators were alerted of them."""

from django.db import migrations, models

from common.index_migrations import BuildIndex


class Migration(migrations.Migration):
    atomic = False  # the table is used meanwhile

    dependencies = [("buses", "0004_lanes")]
    operations = [
        BuildIndex(
            model_name="busmessage",
            index=models.Index(
                fields=["alerted_at"],
                condition=models.Q(alerted_at__isnull=False),
                name="bus_message_alerted",
            ),
        ),
    ]
