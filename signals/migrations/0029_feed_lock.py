"""A session that locks a feed reads nothing of it."""

from django.db import migrations

from common.migration_sql import run_file


class Migration(migrations.Migration):
    dependencies = [("signals", "0028_telegram_made_with")]

    operations = [run_file(__file__, "feed_lock.sql")]
