"""Each hour the owners of API keys that end soon, or have ended, are notified."""

from django.db import migrations
from django.utils import timezone


def write(apps, schema_editor):
    hourly, _ = apps.get_model("django_celery_beat", "IntervalSchedule").objects.get_or_create(
        every=3600, period="seconds"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="notify of ending API keys",
        defaults={
            "task": "users.notify_key_ends",
            "interval": hourly,
            "queue": "maintenance",
            "expire_seconds": 3600,
            "description": "Owners are notified 7 days and 1 day before, and when a key has ended.",
        },
    )
    apps.get_model("django_celery_beat", "PeriodicTasks").objects.update_or_create(
        ident=1, defaults={"last_update": timezone.now()}
    )


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0005_daily_trail_check"),
        ("users", "0011_key_notices"),
        ("events", "0010_api_keys_that_end"),
    ]
    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
