"""Fillcast's own publication, in a process of its own like those of the peers."""

import os
from collections.abc import Sequence

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from benchmarks.trading import as_web  # noqa: E402
from signals.services import publish as publish_signal  # noqa: E402
from users.models import User  # noqa: E402
from users.tenancy import on_behalf_of  # noqa: E402


def publish(signal_id: int, connection_ids: Sequence[str]) -> None:
    """Publish a signal as the web process does. Who gets it is decided by the subscriptions."""
    operator = User.objects.get(username="operator")
    with as_web(), on_behalf_of(operator):
        publish_signal(signal_id, by=operator)
