"""Give the refusal of another signal or account for an order the code of other refused changes."""

from django.db import migrations

from common.migration_sql import run_file


class Migration(migrations.Migration):
    dependencies = [("execution", "0046_index_of_pending_orders")]

    operations = [run_file(__file__, "keys_refusal.sql")]
