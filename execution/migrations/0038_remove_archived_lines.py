"""The function by which lines of the execution log are removed once the archive has them."""

from django.db import migrations

from common.migration_sql import run_file


class Migration(migrations.Migration):
    dependencies = [("common", "0004_archive_files"), ("execution", "0037_fill_swap")]

    operations = [run_file(__file__, "archived_lines.sql")]
