"""No SQL of the web role takes a key from the one that it was made with and is revoked with."""

from django.db import migrations

from common.migration_sql import run_file


class Migration(migrations.Migration):
    dependencies = [("users", "0008_keys_made_with_keys")]
    operations = [run_file(__file__, "key_guard.sql")]
