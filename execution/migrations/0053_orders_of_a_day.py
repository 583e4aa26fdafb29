"""The orders of a day, for figures of the installation: a few pages, and no cost for an order."""

import django.contrib.postgres.indexes
from django.db import migrations

from common.index_migrations import BuildIndex


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("execution", "0052_backlog")]

    operations = [
        BuildIndex(
            model_name="order",
            index=django.contrib.postgres.indexes.BrinIndex(
                fields=["created_at"], name="order_created_at"
            ),
        ),
    ]
