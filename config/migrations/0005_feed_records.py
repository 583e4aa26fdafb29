"""The schedules of `analytics.compute_records` and `analytics.verify_records`."""

from django.db import migrations
from django.utils import timezone

# name, task, minute, hour, seconds until it expires, description
SCHEDULES = (
    (
        "compute the records of feeds",
        "analytics.compute_records",
        "5",
        "*",
        1800,
        "Signs the heads of all feeds' records, and computes their figures.",
    ),
    (
        "verify the records of feeds",
        "analytics.verify_records",
        "50",
        "3",
        12 * 3600,
        "Checks every link of every record; alerts operators if one is broken.",
    ),
)


def write(apps, schema_editor):
    """Create the schedules that are missing; operators may change them."""
    crontab = apps.get_model("django_celery_beat", "CrontabSchedule")
    task = apps.get_model("django_celery_beat", "PeriodicTask")
    for name, path, minute, hour, expires, description in SCHEDULES:
        at, _ = crontab.objects.get_or_create(
            minute=minute,
            hour=hour,
            day_of_week="*",
            day_of_month="*",
            month_of_year="*",
            timezone="UTC",
        )
        task.objects.get_or_create(
            name=name,
            defaults={
                "task": path,
                "crontab": at,
                "queue": "maintenance",
                "expire_seconds": expires,
                "description": description,
            },
        )
    # a running beat reloads its schedules when this time changes
    apps.get_model("django_celery_beat", "PeriodicTasks").objects.update_or_create(
        ident=1, defaults={"last_update": timezone.now()}
    )


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0004_sign_up"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
