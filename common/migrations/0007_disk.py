"""Neither role fills the disk by temporary tables or large objects, or adds tables of its own."""

from django.db import migrations

from common.migration_sql import run_file


class Migration(migrations.Migration):
    dependencies = [("common", "0006_program_behind_a_pooler")]

    operations = [run_file(__file__, "disk.sql")]
