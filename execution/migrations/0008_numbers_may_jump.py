"""Trading processes may move the numbers of rows forward: after a restore none is given out twice."""

from django.db import migrations

from common.row_security import TRADE

TABLES = ("signals_signal", "positions_executionposition", "execution_order", "events_event")
ALLOW = """
DO $$
BEGIN
  EXECUTE format('GRANT UPDATE ON SEQUENCE %s TO {role}', pg_get_serial_sequence('{table}', 'id'));
END $$
"""


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0007_what_becomes_of_an_order"),
        ("signals", "0001_initial"),
        ("positions", "0001_initial"),
        ("events", "0001_initial"),
        ("common", "0001_roles"),
    ]
    operations = [
        migrations.RunSQL(ALLOW.format(role=TRADE, table=table), migrations.RunSQL.noop)
        for table in TABLES
    ]
