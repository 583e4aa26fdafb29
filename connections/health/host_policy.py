"""Accounts at hosts that they may not name any more.

What may be named is the operators' setting, and they change it, with a restart, because somebody
has connected where he should not: a gateway that asks for no password is now its owner's alone. So
whoever begins to speak for accounts judges them, as they were judged when they were typed: the
worker that takes their lane, for others may have been started without these settings.
"""

from collections.abc import Collection, Iterator, Mapping
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import QuerySet

from brokers.connection_form import Form, SettingType
from brokers.registry import broker_types
from common.errors import InvalidInputError
from connections.account_settings import hosts
from connections.account_settings.validation import known_form, named_hosts
from connections.health import status_updates
from connections.models import ConnectionHealth, ExecutionConnection

log = structlog.get_logger(__name__)


def mark_disallowed(lanes: Collection[str]) -> list[UUID]:
    """Put in error who of these lanes names a host that he may not name, until a test passes, which
    judges it too.

    Asks no name server: where a name leads is judged at each connect. Its exits go on. Returns who.
    """
    forms = dict(_forms_with_hosts())
    candidates = ExecutionConnection.objects.live().filter(
        lane__in=lanes, type__in=forms, health__needs_test=False
    )
    seen = [one for one, _ in _disallowed(candidates, forms)]
    found = _mark_locked(candidates.filter(pk__in=seen), forms) if seen else []
    if found:
        log.error("accounts at hosts that they may not name any more", accounts=len(found))
    return found


@transaction.atomic
def _mark_locked(
    candidates: QuerySet[ExecutionConnection], forms: Mapping[str, Form]
) -> list[UUID]:
    """Judge them anew and mark them while nobody else does, nor edits or tests them: whoever was
    first may have changed what was seen."""
    rows = ExecutionConnection.objects.filter(pk__in=candidates.values("pk")).order_by("pk")
    list(rows.select_for_update(no_key=True).values_list("pk"))  # as edits and tests do, in order
    found = list(_disallowed(candidates, forms))  # a statement of its own: it sees what is so now
    ids = [one for one, _ in found]
    status_updates.mark_errors(found)
    ConnectionHealth.objects.filter(pk__in=ids).update(needs_test=True)
    return ids


def _disallowed(
    candidates: QuerySet[ExecutionConnection], forms: Mapping[str, Form]
) -> Iterator[tuple[UUID, str]]:
    for one in candidates.select_related("user", "admin").defer("sealed_credentials").iterator():
        try:
            hosts.check_named(*named_hosts(forms[one.type], one.settings), one.owner_name)
        except InvalidInputError as error:
            yield one.pk, f"{error.detail} {error.code.hint}"


def _forms_with_hosts() -> Iterator[tuple[str, Form]]:
    for broker_type in broker_types():
        form = known_form(broker_type)  # None: nobody here can speak to one either
        if form and any(setting.value_type is SettingType.HOST for setting in form.settings):
            yield broker_type, form
