"""An index of the connection tests that are due: beat asks for them every few seconds."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0027_accounts_by_type"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="connectionhealth",
            index=models.Index(
                condition=models.Q(
                    ("test_requested_at__isnull", False),
                    models.Q(
                        ("last_tested_at", None),
                        ("last_tested_at__lt", models.F("test_requested_at")),
                        _connector="OR",
                    ),
                ),
                fields=["test_requested_at"],
                name="health_test_due",
            ),
        ),
    ]
