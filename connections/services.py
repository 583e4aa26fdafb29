"""Write operations on connections, subscriptions and halts: other apps import them from here."""

from uuid import UUID

from django.db.models.functions import Now

from common.errors import ConflictError
from common.reason_codes import Code
from connections.accounts.cash_flows import store_cash_flows
from connections.accounts.funding import mark_funding_booked, unbooked_funding
from connections.accounts.history import add_cash_flow, record_cash_flow
from connections.accounts.login_deletion import delete_login, items_of_login
from connections.accounts.paper_accounts import BALANCES as PAPER_BALANCES
from connections.accounts.paper_accounts import open_paper_account, usual_balance
from connections.accounts.permissions import check_owner
from connections.accounts.services import (
    activate,
    archive_connection,
    create_connection,
    deactivate,
    lock_connection,
    pause,
    resume,
    set_credentials,
    update_connection,
    use_own_prices,
)
from connections.accounts.snapshots import (
    store_account_state,
    store_account_states,
    store_instruments,
)
from connections.credentials.provider_secrets import is_secret_sealed_with_current_key
from connections.decisions.calendars import import_calendar
from connections.decisions.services import (
    add_decision_provider,
    add_news_calendar,
    change_decision_provider,
    delete_decision_provider,
    delete_news_calendar,
)
from connections.health.account_polling import read_accounts, refresh_due_accounts
from connections.health.connection_checks import run_on_process_loop, run_test, set_call_runner
from connections.health.host_policy import deactivate_disallowed
from connections.health.instrument_polling import (
    doubt_instruments,
    refresh_due_instruments,
    renew_doubted_instruments,
)
from connections.health.probes import retry_failed
from connections.health.reconciliation import (
    mark_reconciled,
    require_reconciliation,
    require_reconciliation_of_lanes,
)
from connections.health.status_updates import (
    CONTACT_OPERATORS,
    OWN_FAULTS,
    UNUSABLE_ERRORS,
    RetryPolicy,
    mark_active,
    mark_connected,
    mark_errors,
    mark_failures,
    mark_refused,
    mark_used,
    retry_policy_for,
)
from connections.kill_switch import (
    TARGET_FIELDS,
    HaltTarget,
    earlier_providers,
    halt_errors,
    halt_target,
    read_target,
    release_kill_switch,
    set_kill_switch,
)
from connections.leases import free_lanes, release_leases, renew_leases, take_leases
from connections.loss_limits.figures import mark_checked
from connections.loss_limits.pauses import (
    end_due_pauses,
    lock_account,
    resume_after_limit,
    start_pauses,
)
from connections.loss_limits.services import add_loss_limit, change_loss_limit, delete_loss_limit
from connections.market_data.fallbacks import (
    FallbackChange,
    check_fallback,
    record_fallback_changes,
    set_fallback,
    show_fallback_use,
)
from connections.market_data.source_alarms import alarm_silent_sources
from connections.market_data.sources import (
    SourceReport,
    forget_suspects,
    get_or_create_broker_source,
    record_source_status,
    share_with_all,
    switch_source,
)
from connections.market_data.sources import (
    flag_without_worker as flag_sources_without_worker,
)
from connections.models import ConnectionHealth, ExecutionConnection
from connections.presets.services import (
    PRESET_FIELDS,
    change_preset,
    create_preset,
    delete_preset,
    preset_errors,
    preset_version,
)
from connections.sealing import (
    are_credentials_sealed_with_key,
    seal_credentials,
    sealing_key,
)
from connections.subscriptions.routes import (
    MAX_SHARE,
    RouteAccount,
    read_symbol_map,
    routable_accounts,
    route_errors,
    set_route,
)
from connections.subscriptions.services import (
    pause_subscription,
    resume_subscription,
    subscribe,
    subscription_errors,
    unsubscribe,
    update_subscription,
)
from connections.subscriptions.twins import (
    MAX_TWINS,
    end_twins_of_archived_feeds,
    start_twin,
    stop_twin,
    twin_obstacle,
)
from connections.twin_links import follow_twin
from users.models import User

__all__ = [
    "CONTACT_OPERATORS",
    "MAX_SHARE",
    "MAX_TWINS",
    "OWN_FAULTS",
    "PAPER_BALANCES",
    "PRESET_FIELDS",
    "TARGET_FIELDS",
    "UNUSABLE_ERRORS",
    "FallbackChange",
    "HaltTarget",
    "RetryPolicy",
    "RouteAccount",
    "SourceReport",
    "activate",
    "add_cash_flow",
    "add_decision_provider",
    "add_loss_limit",
    "add_news_calendar",
    "alarm_silent_sources",
    "archive_connection",
    "are_credentials_sealed_with_key",
    "change_decision_provider",
    "change_loss_limit",
    "change_preset",
    "check_fallback",
    "check_owner",
    "create_connection",
    "create_preset",
    "deactivate",
    "deactivate_disallowed",
    "delete_decision_provider",
    "delete_login",
    "delete_loss_limit",
    "delete_news_calendar",
    "delete_preset",
    "doubt_instruments",
    "earlier_providers",
    "end_due_pauses",
    "end_twins_of_archived_feeds",
    "flag_sources_without_worker",
    "follow_twin",
    "forget_suspects",
    "free_lanes",
    "get_or_create_broker_source",
    "halt_errors",
    "halt_target",
    "import_calendar",
    "is_secret_sealed_with_current_key",
    "items_of_login",
    "lock_account",
    "lock_connection",
    "mark_active",
    "mark_checked",
    "mark_connected",
    "mark_errors",
    "mark_failures",
    "mark_funding_booked",
    "mark_reconciled",
    "mark_refused",
    "mark_used",
    "open_paper_account",
    "pause",
    "pause_subscription",
    "preset_errors",
    "preset_version",
    "read_accounts",
    "read_symbol_map",
    "read_target",
    "record_cash_flow",
    "record_fallback_changes",
    "record_source_status",
    "refresh_due_accounts",
    "refresh_due_instruments",
    "release_kill_switch",
    "release_leases",
    "renew_doubted_instruments",
    "renew_leases",
    "request_test",
    "require_reconciliation",
    "require_reconciliation_of_lanes",
    "resume",
    "resume_after_limit",
    "resume_subscription",
    "retry_failed",
    "retry_policy_for",
    "routable_accounts",
    "route_errors",
    "run_on_process_loop",
    "run_test",
    "seal_credentials",
    "sealing_key",
    "set_call_runner",
    "set_credentials",
    "set_fallback",
    "set_kill_switch",
    "set_route",
    "share_with_all",
    "show_fallback_use",
    "start_pauses",
    "start_twin",
    "stop_twin",
    "store_account_state",
    "store_account_states",
    "store_cash_flows",
    "store_instruments",
    "subscribe",
    "subscription_errors",
    "switch_source",
    "take_leases",
    "twin_obstacle",
    "unbooked_funding",
    "unsubscribe",
    "update_connection",
    "update_subscription",
    "use_own_prices",
    "usual_balance",
]


def request_test(connection_id: UUID, *, by: User | None = None) -> bool:
    """Request a connection test, which a trading process runs. Return whether it was requested.

    The caller should enqueue it on commit (`connections.tasks.enqueue_test`). Without that the test
    only starts some seconds later, when a worker looks for due tests. Raises NotAllowedError;
    ConflictError STATE_CONFLICT if the connection is archived, since those are not tested.
    """
    needed = ("user_id", "admin_id", "archived_at")
    connection = ExecutionConnection.objects.only(*needed).get(pk=connection_id)
    check_owner(connection, by)
    if connection.archived_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, "The connection is archived.")
    mine = ConnectionHealth.objects.filter(pk=connection_id)
    return mine.update(test_requested_at=Now()) == 1
