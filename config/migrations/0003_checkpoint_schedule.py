"""Every five minutes a worker checks the new lines of the audit trail and signs its head."""

from django.db import migrations
from django.utils import timezone


def write(apps, schema_editor):
    every, _ = apps.get_model("django_celery_beat", "IntervalSchedule").objects.get_or_create(
        every=300, period="seconds"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="sign the audit trail",
        defaults={
            "task": "users.checkpoint_trail",
            "interval": every,
            "queue": "maintenance",
            "expire_seconds": 300,
            "description": "Checks the trail's new lines and signs its head.",
        },
    )
    apps.get_model("django_celery_beat", "PeriodicTasks").objects.update_or_create(
        ident=1, defaults={"last_update": timezone.now()}
    )


class Migration(migrations.Migration):
    dependencies = [("config", "0002_audit_trail"), ("users", "0006_one_audit_trail")]
    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
