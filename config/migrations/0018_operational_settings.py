"""The audit trail follows the versions of the operational settings."""

from django.db import migrations

from common.audit_trail_sql import track


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0017_execution_figures"),
        ("common", "0008_settings_versions"),
    ]
    operations = [track("common_settingsversion", secrets=(), ignored=())]
