"""An order is executed on its own connection: there are no fallback connections."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("execution", "0024_broker_listings")]
    operations = [migrations.RemoveField("order", "executed_on")]
