"""The reads of balances guard money too; an interval in microseconds slows nothing further."""

from django.db import migrations

from common.migration_sql import run_file


class Migration(migrations.Migration):
    dependencies = [("config", "0015_guarding_schedules")]

    operations = [run_file(__file__, "guarding_seconds.sql")]
