"""What guards money may be slowed within a limit by the web process, not removed or disabled."""

from django.db import migrations

from common.migration_sql import run_file


class Migration(migrations.Migration):
    dependencies = [("config", "0014_rarer_vacuums"), ("users", "0009_guard_of_made_with")]

    operations = [run_file(__file__, "guarding_schedules.sql")]
