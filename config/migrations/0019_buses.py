"""The schedule of `buses.watch`."""

from django.db import migrations
from django.utils import timezone

NAME, TASK = "watch buses", "buses.watch"
SECONDS = 30


def write(apps, schema_editor):
    """Create the schedule if it is missing; operators may change it."""
    every, _ = apps.get_model("django_celery_beat", "IntervalSchedule").objects.get_or_create(
        every=SECONDS, period="seconds"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name=NAME,
        defaults={
            "task": TASK,
            "interval": every,
            "queue": "maintenance",
            "expire_seconds": SECONDS,
            "description": "Alerts operators when a bus falls behind.",
        },
    )
    # a running beat reloads its schedules when this time changes
    apps.get_model("django_celery_beat", "PeriodicTasks").objects.update_or_create(
        ident=1, defaults={"last_update": timezone.now()}
    )


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0018_operational_settings"),
        ("buses", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
    safe_beside_released_code = {
        "RunPython write": "it adds a schedule; the released code knows no task of its name"
    }
