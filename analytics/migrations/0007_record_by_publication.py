"""The index of a feed's newest trades is in the order of their publication, as the record is."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("analytics", "0006_quality_by_money")]

    operations = [
        migrations.RemoveIndex(model_name="feedtrade", name="feed_trade_newest"),
        migrations.AddIndex(
            model_name="feedtrade",
            index=models.Index(
                fields=["feed", "-published_at", "-signal"], name="feed_trade_newest"
            ),
        ),
    ]
