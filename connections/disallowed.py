"""Accounts at hosts that they may not name any more.

What may be named is the operators' setting, and they change it, with a restart, because somebody
has connected where he should not: a gateway that asks for no password is now its owner's alone. So
whoever begins to speak for accounts judges them, as they were judged when they were typed: the
worker that takes their lane, for others may have been started without these settings.
"""

from collections.abc import Collection, Iterator
from uuid import UUID

import structlog
from django.db import transaction

from brokers.form import Form, SettingKind
from brokers.registry import kinds
from common.errors import InvalidInputError
from connections import health, hosts
from connections.account_settings import known_form, named_hosts
from connections.models import ConnectionHealth, ExecutionConnection

log = structlog.get_logger(__name__)


def mark_disallowed(lanes: Collection[str]) -> list[UUID]:
    """Put in error who of these lanes names a host that he may not name, until a test passes, which
    judges it too.

    Asks no name server: where a name leads is judged at each connect. Its exits go on. Returns who.
    """
    found = list(_disallowed(lanes))
    if not found:
        return []
    with transaction.atomic():
        health.mark_errors(found)
        mine = ConnectionHealth.objects.filter(pk__in=[one for one, _ in found])
        mine.update(needs_test=True)
    log.error("accounts at hosts that they may not name any more", accounts=len(found))
    return [one for one, _ in found]


def _disallowed(lanes: Collection[str]) -> Iterator[tuple[UUID, str]]:
    forms = dict(_forms_with_hosts())
    live = ExecutionConnection.objects.live().filter(
        lane__in=lanes, type__in=forms, health__needs_test=False
    )
    for one in live.select_related("user", "admin").defer("sealed_credentials").iterator():
        try:
            hosts.check_named(*named_hosts(forms[one.type], one.settings), one.owner_name)
        except InvalidInputError as error:
            yield one.pk, f"{error.detail} {error.code.hint}"


def _forms_with_hosts() -> Iterator[tuple[str, Form]]:
    for kind in kinds():
        form = known_form(kind)  # None: nobody here can speak to one either
        if form and any(setting.kind is SettingKind.HOST for setting in form.settings):
            yield kind, form
