"""Channels that API keys added: they outlive the key, since an alarm must not end by itself."""

from collections.abc import Collection, Iterator

from events.models import Channel
from users.keys.setups import SetUp


def setups(keys: Collection[int]) -> Iterator[SetUp]:
    """Return the channels that these keys added and that are on."""
    for channel in Channel.objects.filter(made_with__in=keys, is_active=True).order_by("pk"):
        name = f"{channel.name} ({channel.url_display})"
        yield SetUp(channel.made_with_id, "channel", name, ends_with_key=False)


def switch_off(keys: Collection[int]) -> int:
    """Switch off the channels that these keys added; return how many were on."""
    added = Channel.objects.filter(made_with__in=keys, is_active=True)
    return added.update(is_active=False)
