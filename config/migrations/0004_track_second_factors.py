"""The audit trail follows second factors and recovery codes."""

from django.db import migrations

from common.trail_functions import track


class Migration(migrations.Migration):
    dependencies = [("config", "0003_checkpoint_schedule"), ("users", "0009_key_scopes")]
    operations = [
        track("users_secondfactor", secrets=("sealed_secret",), ignored=("last_step",)),
        track("users_recoverycode", secrets=("code_hash",)),
    ]
