"""Decision providers whom API keys named: they are not asked once the key has ended."""

from collections.abc import Collection, Iterator

from connections.models import DecisionProvider, ProviderKind
from users.keys.setups import SetUp


def setups(keys: Collection[int]) -> Iterator[SetUp]:
    """Return the providers of which these keys named who is asked."""
    found = DecisionProvider.objects.filter(made_with__in=keys).order_by("pk")
    for provider in found.exclude(kind=ProviderKind.RULES):
        yield SetUp(provider.made_with_id, "decision provider", provider.name, ends_with_key=True)
