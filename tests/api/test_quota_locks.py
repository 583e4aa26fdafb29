"""Who waits for a quota holds no lock that a publication, a trade or another request needs.

While a session has a quota's lock, each operation that creates what it counts is called: it must
wait before it has locked or written anything.
"""

import threading
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction
from rest_framework.test import APIClient

from common.db.sql import rows
from common.quota_kinds import QUOTAS
from common.web.quotas import lock_quota
from events import push_keys
from signals.models import Feed
from tests.api.calls import call, outcome
from tests.api.cases import CASES
from tests.api.factories import World
from tests.api.test_quotas import BODIES, CREATES
from tests.changes.concurrent_forms import SECONDS, wait_until_they_wait
from tests.operational import set_setting
from users.services import user_for_key

HELD = """
SELECT DISTINCT coalesce(c.relname, l.locktype)::text AS held FROM pg_locks l
LEFT JOIN pg_class c ON c.oid = l.relation AND l.locktype = 'relation'
WHERE l.granted AND (l.locktype = 'advisory'
    OR c.relkind = 'r' AND l.mode NOT IN ('AccessShareLock', 'SIReadLock'))
  AND l.pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)
ORDER BY held
"""


def held_by_who_waits(world: World, client: APIClient, name: str) -> tuple[list[str], str]:
    """Call an operation while its quota is locked: what it holds as it waits, and its outcome."""
    case, answers = CASES[name], list[Any]()
    if name in BODIES:
        case = replace(case, body=lambda world: BODIES[name]())

    def create() -> None:
        try:
            answers.append(call(world, client, name, case))
        finally:
            connection.close()

    thread = threading.Thread(target=create)
    with transaction.atomic():
        lock_quota(CREATES[name], world.alice.pk)
        thread.start()
        wait_until_they_wait([thread])
        held = [row.held for row in rows(HELD)]
    thread.join(SECONDS)
    assert not thread.is_alive(), f"{name} hangs"
    return held, outcome(answers[0]) if answers else "an error"


@pytest.mark.django_db(transaction=True)
def test_request_that_waits_for_a_quota_holds_no_lock(world: World, settings: Any) -> None:
    settings.FILLCAST_PUSH_PUBLIC_KEY = push_keys.public_key_of(push_keys.new_private_key())
    set_setting("users.quotas", dict.fromkeys(QUOTAS, 0))  # nothing is written
    Feed.objects.filter(pk=world.feed.pk).update(is_public=True, is_approved=False)
    client = APIClient()
    client.force_authenticate(user_for_key(world.keys["alice"]))
    wrong = []
    for name in CREATES:
        found = held_by_who_waits(world, client, name)
        if found != ([], "409 QUOTA_REACHED"):
            wrong.append(f"{name}: holds {found[0]}, was answered {found[1]}")
    assert not wrong, "\n".join([f"{len(wrong)} of {len(CREATES)} are wrong:", *wrong])
