"""Deactivate accounts whose settings name a host that is no longer allowed.

A setting of the operators decides which hosts accounts may name. They change it, with a restart,
when an account has connected where it must not: for example a gateway without a password is now
reserved for its owner. Therefore the worker that takes over a lane checks its accounts, by the same
rules as when the settings were entered; other processes may run without these settings.
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
from connections.account_settings.validation import form_if_available, hosts_in_settings
from connections.health import status_updates
from connections.models import ConnectionHealth, ExecutionConnection

log = structlog.get_logger(__name__)


def deactivate_disallowed(lanes: Collection[str]) -> list[UUID]:
    """Put accounts of these lanes in error that name a host they may not name; return their ids.

    The error stays until a test passes, which checks the host too. Names are not resolved here:
    each connect checks the address. Exits of these accounts are still sent.
    """
    forms = dict(_forms_with_hosts())
    candidates = ExecutionConnection.objects.live().filter(
        lane__in=lanes, type__in=forms, health__needs_test=False
    )
    suspects = [pk for pk, _ in _disallowed(candidates, forms)]
    deactivated = _deactivate_locked(candidates.filter(pk__in=suspects), forms) if suspects else []
    if deactivated:
        log.error("accounts name hosts that are no longer allowed", accounts=len(deactivated))
    return deactivated


@transaction.atomic
def _deactivate_locked(
    candidates: QuerySet[ExecutionConnection], forms: Mapping[str, Form]
) -> list[UUID]:
    """Lock the candidates, check them again and put them in error.

    An edit, a test or another worker may have changed them since they were read.
    """
    rows = ExecutionConnection.objects.filter(pk__in=candidates.values("pk")).order_by("pk")
    list(rows.select_for_update(no_key=True).values_list("pk"))  # in the order of edits and tests
    disallowed = list(_disallowed(candidates, forms))  # a new statement, which sees the locked rows
    ids = [pk for pk, _ in disallowed]
    status_updates.mark_errors(disallowed)
    ConnectionHealth.objects.filter(pk__in=ids).update(needs_test=True)
    return ids


def _disallowed(
    candidates: QuerySet[ExecutionConnection], forms: Mapping[str, Form]
) -> Iterator[tuple[UUID, str]]:
    """Yield the id of each account with a disallowed host, and a sentence for its owner."""
    selected = candidates.select_related("user", "admin").defer("sealed_credentials")
    for connection in selected.iterator():
        try:
            hosts.check_named(
                *hosts_in_settings(forms[connection.type], connection.settings),
                connection.owner_name,
            )
        except InvalidInputError as error:
            yield connection.pk, f"{error.detail} {error.code.hint}"


def _forms_with_hosts() -> Iterator[tuple[str, Form]]:
    for broker_type in broker_types():
        form = form_if_available(broker_type)  # None: this process has no library for it either
        if form and any(setting.value_type is SettingType.HOST for setting in form.settings):
            yield broker_type, form
