"""The paper broker's books are its own: no tenant reaches them but through an adapter."""

from django.db import migrations

from common.row_security import operator_rows

TABLES = ("account", "instrument", "quote", "order", "fill", "position", "event")


class Migration(migrations.Migration):
    dependencies = [("paper", "0002_storage")]
    operations = [operator_rows(f"paper_{table}") for table in TABLES]
