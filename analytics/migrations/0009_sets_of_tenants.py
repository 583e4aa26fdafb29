"""What is of a tenant's connections is asked of a function (connections 0029, ADR 0061)."""

from django.db import migrations

from common.row_security import MY_CONNECTION, MY_CONNECTION_BY_SUBSELECT, replace_condition

ALL = "SELECT INSERT UPDATE DELETE"
TABLES = (  # table, commands; the other ones are for operators only
    ("analytics_analyticsdaily", "SELECT"),
    ("analytics_preflight", ALL),
    ("analytics_tradecost", "SELECT"),
)


class Migration(migrations.Migration):
    dependencies = [("analytics", "0008_sealed_results"), ("connections", "0029_sets_of_tenants")]
    operations = [
        replace_condition(table, commands, now=MY_CONNECTION, was=MY_CONNECTION_BY_SUBSELECT)
        for table, commands in TABLES
    ]
