"""Lets the trading processes analyze tables that have just grown."""

from django.db import migrations

from common.row_security import TRADE
from common.table_statistics import CREATE_ANALYZE, DROP_ANALYZE, FUNCTION


class Migration(migrations.Migration):
    dependencies = [("common", "0004_archive_files")]

    operations = [
        migrations.RunSQL(CREATE_ANALYZE, DROP_ANALYZE),
        migrations.RunSQL(f"REVOKE ALL ON {FUNCTION} FROM PUBLIC", migrations.RunSQL.noop),
        migrations.RunSQL(f"GRANT EXECUTE ON {FUNCTION} TO {TRADE}", migrations.RunSQL.noop),
    ]
