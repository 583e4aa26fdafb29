"""Which process drains a broker type's shared event stream."""

from django.db import migrations, models

from common.row_security import operator_rows

# It changes with every drain, and nothing is lost with it.
UNLOGGED = "ALTER TABLE execution_streamlease SET UNLOGGED"
LOGGED = "ALTER TABLE execution_streamlease SET LOGGED"


class Migration(migrations.Migration):
    dependencies = [("execution", "0027_outcome_checks")]
    operations = [
        migrations.CreateModel(
            name="StreamLease",
            fields=[
                ("kind", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("holder", models.CharField(max_length=32)),
                ("lease_until", models.DateTimeField()),
                ("began_at", models.DateTimeField()),
                ("heard_at", models.DateTimeField(null=True)),
            ],
        ),
        operator_rows("execution_streamlease"),
        migrations.RunSQL(UNLOGGED, LOGGED),
    ]
