"""For how long due orders of all accounts wait, as any process may ask."""

from django.db import migrations

from common.migration_sql import run_file


class Migration(migrations.Migration):
    dependencies = [("execution", "0051_unreadable_rows")]

    operations = [run_file(__file__, "backlog.sql")]
