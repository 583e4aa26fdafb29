"""Accounts by broker type: polls of types that no account has read nothing.

See `connections.joins.has_accounts_sql`."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0026_funding"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name="executionconnection",
            index=models.Index(
                condition=models.Q(("archived_at__isnull", True)),
                fields=["type"],
                name="connection_of_type",
            ),
        ),
    ]
