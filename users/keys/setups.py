"""What an API key set up and that acts on its own, as the apps that keep it list it.

Some of it ends with the key (users/joins.py). What does not, an owner must know of who revokes a
key that was stolen: so each app registers a function that lists its own.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import chain

from users.models import ApiKey


@dataclass(frozen=True, slots=True)
class SetUp:
    """One thing that the key `key_id` set up.

    kind: such as "Telegram bot". ends_with_key: it counts no more once the key is revoked or over.
    """

    key_id: int | None
    kind: str
    name: str
    ends_with_key: bool

    def __str__(self) -> str:
        return f"{self.kind} “{self.name}”"


_sources: list[Callable[[Collection[int]], Iterable[SetUp]]] = []


def register_setups(source: Callable[[Collection[int]], Iterable[SetUp]]) -> None:
    """Let a function list what keys set up, by the keys' numbers. Call it once, in ready()."""
    _sources.append(source)


def with_its_keys(key_id: int) -> list[int]:
    """Return the numbers of a key and of those that were made with it."""
    return [key_id, *ApiKey.objects.filter(made_with=key_id).values_list("pk", flat=True)]


def set_up_with(key_id: int) -> list[SetUp]:
    """Return what a key, and those that were made with it, set up and that was not ended since."""
    return set_up_by_key([key_id])[key_id]


def set_up_by_key(key_ids: Collection[int]) -> dict[int, list[SetUp]]:
    """Return `set_up_with` of several keys, in as many statements as for one."""
    made = list(ApiKey.objects.filter(made_with__in=key_ids).values_list("pk", "made_with"))
    parents: dict[int | None, int | None] = dict(made)
    keys = {*key_ids, *(key for key, _ in made)}
    found: dict[int, list[SetUp]] = {key: [] for key in key_ids}
    for one in chain.from_iterable(source(keys) for source in _sources):
        for key in (one.key_id, parents.get(one.key_id)):
            if key in found:
                found[key].append(one)
    return found
