"""The index by which an alert finds its feed's trades, built while signals are written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("signals", "0014_limits_in_pips")]
    operations = [
        AddIndexConcurrently(
            model_name="signal",
            index=models.Index(
                fields=["feed", "currency_pair", "direction", "-published_at"],
                name="signal_opened_trades",
                condition=models.Q(action="OPEN", published_at__isnull=False),
            ),
        ),
    ]
