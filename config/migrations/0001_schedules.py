"""What beat starts, and how often. Only what is missing is written: operators may change it all.

Each message expires when the next one is due, so that a worker that was away does not find a pile.
Due orders need no schedule: each worker looks for them by itself.
"""

from django.db import migrations
from django.utils import timezone

# name, task, seconds, description
EVERY = [
    ("watch positions", "execution.watch_positions", 60, "Stop losses and targets that were hit."),
    ("reconcile", "execution.reconcile", 300, "Compare every account with its broker."),
    ("audit", "execution.audit", 3600, "Count what must be zero."),
    ("deliver events", "events.deliver", 2, "Inboxes, e-mail, webhooks."),
    ("look for tests", "connections.look_for_tests", 5, "Connection tests that were asked for."),
    ("refresh accounts", "connections.refresh_accounts", 60, "Balances and instruments."),
]
DAILY = ("compute daily results", "analytics.compute_daily", "The trading day ends at 17:00 there.")
QUEUE = "maintenance"
# Stops must not wait behind e-mail, tests and reads of slow brokers.
QUEUES = {"execution.watch_positions": "exits"}


def write(apps, schema_editor):
    task = apps.get_model("django_celery_beat", "PeriodicTask")
    interval = apps.get_model("django_celery_beat", "IntervalSchedule")
    crontab = apps.get_model("django_celery_beat", "CrontabSchedule")
    for name, path, seconds, description in EVERY:
        every, _ = interval.objects.get_or_create(every=seconds, period="seconds")
        task.objects.get_or_create(
            name=name,
            defaults={
                "task": path,
                "interval": every,
                "queue": QUEUES.get(path, QUEUE),
                "expire_seconds": seconds,
                "description": description,
            },
        )
    name, path, description = DAILY
    after_the_close, _ = crontab.objects.get_or_create(
        minute="10",
        hour="17",
        day_of_week="*",
        day_of_month="*",
        month_of_year="*",
        timezone="America/New_York",
    )
    task.objects.get_or_create(
        name=name,
        defaults={
            "task": path,
            "crontab": after_the_close,
            "queue": QUEUE,
            "expire_seconds": 12 * 3600,
            "description": description,
        },
    )
    # a beat that runs already reads its schedules again when this moves
    apps.get_model("django_celery_beat", "PeriodicTasks").objects.update_or_create(
        ident=1, defaults={"last_update": timezone.now()}
    )


class Migration(migrations.Migration):
    initial = True
    dependencies = [("django_celery_beat", "0019_alter_periodictasks_options")]
    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
