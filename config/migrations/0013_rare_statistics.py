"""Tables are vacuumed and analyzed after thousands of changed rows, not after fifty."""

from django.db import migrations

from common.table_statistics import ANALYZE_RARELY


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0012_archive"),
        ("analytics", "0008_sealed_results"),
        ("common", "0006_program_behind_a_pooler"),
        ("connections", "0028_due_connection_tests"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("events", "0010_channel_wants_opened"),
        ("execution", "0041_account_streams"),
        ("positions", "0017_funding"),
        ("prices", "0002_price_bars"),
        ("signals", "0025_sealed_results"),
        ("users", "0006_ran_preflight"),
    ]
    operations = [migrations.RunSQL(ANALYZE_RARELY, migrations.RunSQL.noop)]
