"""When each list of instruments was read: so that it is read again once a day."""

from django.db import migrations, models

from common.row_security import shared_rows

KNOWN = """
INSERT INTO connections_instrumentbook (book, read_at)
SELECT book, max(read_at) FROM connections_instrument GROUP BY book
"""


class Migration(migrations.Migration):
    dependencies = [("connections", "0033_limits_in_pips")]

    operations = [
        migrations.CreateModel(
            name="InstrumentBook",
            fields=[
                ("book", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("read_at", models.DateTimeField(null=True)),
                ("asked_at", models.DateTimeField(null=True)),
            ],
        ),
        shared_rows("connections_instrumentbook"),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
    ]
