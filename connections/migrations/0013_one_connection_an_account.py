"""An account is connected once within its scope. After the rows were written: a migration that
changes rows leaves triggers pending, and no index can be made beside those."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0012_scope_of_accounts"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="executionconnection",
            name="one_connection_an_account",
        ),
        migrations.AddConstraint(
            model_name="executionconnection",
            constraint=models.UniqueConstraint(
                condition=models.Q(("archived_at__isnull", True)),
                fields=("type", "exchange_name", "account", "account_scope"),
                name="one_connection_an_account",
            ),
        ),
    ]
