"""The audit trail reads a program's name also from what a transaction pooler passes on."""

from django.db import migrations

from common.audit_trail_sql import ADD_LINE


class Migration(migrations.Migration):
    dependencies = [("common", "0005_analyze_new_tables")]

    operations = [migrations.RunSQL(ADD_LINE, migrations.RunSQL.noop)]
