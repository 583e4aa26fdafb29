"""Which roles may do what in the console: one line for each page and each list.

A letter stands for a role that may: A administrator, O operator, R risk officer, S support. Staff
without a role may do nothing here, a superuser everything. Written by hand, so that a change of
common/permissions.py is seen here; a missing address or list fails a test.
"""

from dataclasses import dataclass

READERS = "AORS"
TRADERS = "AO"
HALTS = "AOR"
LIMITS = "AR"
ADMINISTRATORS = "A"
EVERYONE = "AORSN"  # about oneself: signing out, one's own password
NO_ROLE = ""


@dataclass(frozen=True)
class Page:
    """roles: by the letters above. on: the row that the page is about, by its name in the test.

    get, post: what these roles are answered, for a form without fields.
    """

    roles: str
    on: str = ""
    query: str = ""
    get: int = 200
    post: int = 200


PAGES: dict[str, Page] = {
    "index": Page(READERS),
    "app_list": Page(READERS, "app"),
    "search": Page(READERS),
    "autocomplete": Page(
        READERS, query="?app_label=signals&model_name=signal&field_name=feed", post=405
    ),
    "jsi18n": Page(READERS, post=405),
    "view_on_site": Page(READERS, "type", get=404, post=404),
    "login": Page(EVERYONE),
    "password_change": Page(EVERYONE),
    "password_change_done": Page(EVERYONE, post=405),
    "console_live": Page(READERS),
    "console_scan_alarm": Page(READERS),
    "console_trail": Page(READERS),
    "console_execution": Page(READERS),
    "console_execution_month": Page(READERS, "month"),
    "console_settings": Page(READERS, post=405),
    "console_settings_change": Page(ADMINISTRATORS, get=405, post=302),
    "console_settings_restore": Page(ADMINISTRATORS, "version", get=405, post=302),
    "console_messages": Page(READERS, post=405),
    "console_message": Page(READERS, "kind", post=405),
    "console_message_change": Page(ADMINISTRATORS, "kind", get=405, post=400),
    "console_settings_export": Page(READERS, post=405),
    "console_reason": Page(READERS, "code"),
    "signals_signal_oco": Page(TRADERS),
    "signals_signal_bracket": Page(TRADERS),
    "signals_signal_page": Page(READERS, "waiting"),
    "signals_signal_export": Page(READERS, "signal"),
    "signals_signal_publish": Page(TRADERS, "waiting", post=302),
    "signals_signal_cancel": Page(TRADERS, "waiting", post=302),
    "signals_signal_approve": Page(TRADERS, "unapproved", get=302, post=302),
    "signals_signal_reject": Page(TRADERS, "unapproved", get=302, post=302),
    "execution_order_page": Page(READERS, "pending"),
    "execution_order_cancel": Page(TRADERS, "pending", post=302),
    "execution_order_terms": Page(TRADERS, "pending", post=302),
    "execution_order_retry": Page(TRADERS, "failed", post=302),
    "positions_executionposition_page": Page(READERS, "position"),
    "positions_executionposition_close": Page(TRADERS, "position"),
    "connections_executionconnection_page": Page(READERS, "connection"),
    "connections_executionconnection_checks": Page(READERS, "connection"),
    "connections_executionconnection_edit": Page(TRADERS, "connection"),
    "connections_executionconnection_test": Page(TRADERS, "connection", get=302, post=302),
    "connections_executionconnection_credentials": Page(TRADERS, "connection"),
    "connections_executionconnection_pause": Page(TRADERS, "connection", get=302, post=302),
    "connections_executionconnection_archive": Page(TRADERS, "connection", post=302),
    "connections_executionconnection_own_prices": Page(TRADERS, "connection", get=302, post=302),
    "connections_executionconnection_offer_prices": Page(TRADERS, "connection", get=302, post=302),
    "connections_executionconnection_compare": Page(TRADERS, "connection", get=302, post=302),
    "execution_driftitem_page": Page(READERS, "drift"),
    "execution_driftitem_adopt": Page(TRADERS, "drift", post=302),
    "execution_driftitem_relink": Page(TRADERS, "drift", post=302),
    "execution_driftitem_close": Page(TRADERS, "drift", post=302),
    "execution_driftitem_ignore": Page(TRADERS, "drift"),
    "connections_subscription_pause": Page(TRADERS, "subscription", get=302, post=302),
    "connections_subscription_priority": Page(TRADERS, "subscription"),
    "connections_subscription_route": Page(TRADERS, "subscription", post=302),
    "connections_subscription_end": Page(TRADERS, "subscription", post=302),
    "execution_scopedaction_ask": Page(TRADERS),
    "execution_scopedaction_page": Page(READERS, "scoped"),
    "connections_killswitch_set": Page(HALTS),
    "connections_killswitch_release": Page(HALTS, "switch", post=302),
    "connections_tradingpause_resume": Page(LIMITS, "pause", post=302),
    "connections_epoch_page": Page(READERS, "epoch"),
    "connections_epoch_release": Page(HALTS, "epoch"),
    "signals_feed_token": Page(TRADERS, "feed"),
    "signals_feed_close_trades": Page(TRADERS, "feed"),
    "signals_feed_requests": Page(READERS),
    "signals_feed_request_approve": Page(TRADERS, "request", post=302),
    "signals_feed_request_refuse": Page(TRADERS, "request"),
    "signals_feedtoken_revoke": Page(TRADERS, "token", post=302),
    "signals_feedtoken_rotate": Page(TRADERS, "token"),
    "users_apikey_create": Page(ADMINISTRATORS),
    "users_invitation_create": Page(ADMINISTRATORS),
    "users_invitation_revoke": Page(ADMINISTRATORS, "invitation", post=302),
    "users_apikey_revoke": Page(ADMINISTRATORS, "key", post=302),
    "auth_user_password_change": Page(ADMINISTRATORS, "tenant"),
    "users_user_reset_second_factor": Page(ADMINISTRATORS, "tenant", post=302),
    "logout": Page(EVERYONE, post=302),  # the last one: it signs the user out
}


@dataclass(frozen=True)
class Rows:
    """The roles that may add, change and delete rows of a list, and its actions on several rows."""

    add: str = NO_ROLE
    change: str = NO_ROLE
    delete: str = NO_ROLE
    actions: tuple[str, ...] = ()
    read: str = READERS

    @property
    def act(self) -> str:
        """The roles that may act on several rows: those that may change them."""
        return self.change


def edited(roles: str, *actions: str) -> Rows:
    """Return the rights of a list that is added to, changed and deleted from in forms."""
    return Rows(roles, roles, roles, ("delete_selected", *actions))


READ_ONLY = Rows()  # written by the system, or on separate pages
LISTS: dict[str, Rows] = {
    "analytics.analyticsdaily": READ_ONLY,
    "auth.group": READ_ONLY,
    "buses.buslane": Rows(change=ADMINISTRATORS, actions=("pause", "resume")),
    "buses.busmessage": Rows(change=TRADERS, actions=("discard", "replay")),
    "buses.busroute": Rows(add=TRADERS, change=TRADERS, actions=("end",)),
    "buses.bussink": Rows(
        change=ADMINISTRATORS,
        delete=ADMINISTRATORS,
        actions=("delete_selected", "pause", "replay", "resume"),
    ),
    "buses.deadletter": Rows(
        change=ADMINISTRATORS, delete=ADMINISTRATORS, actions=("delete_selected", "replay")
    ),
    "common.archivefile": READ_ONLY,
    "connections.cashflow": Rows(add=LIMITS),
    "connections.dataconnection": edited(TRADERS),
    "connections.decisionprovider": edited(LIMITS),
    "connections.epoch": READ_ONLY,
    "connections.executionconnection": Rows(add=TRADERS),
    "connections.hostcircuit": READ_ONLY,
    "connections.instrument": READ_ONLY,
    "connections.killswitch": READ_ONLY,
    "connections.losslimit": edited(LIMITS),
    "connections.maintenancewindow": edited(TRADERS),
    "connections.newscalendar": edited(LIMITS),
    "connections.subscription": READ_ONLY,
    "connections.tradingpause": READ_ONLY,
    "connections.tradingpreset": edited(LIMITS),
    "django_celery_beat.clockedschedule": edited(ADMINISTRATORS),
    "django_celery_beat.crontabschedule": edited(ADMINISTRATORS),
    "django_celery_beat.intervalschedule": edited(ADMINISTRATORS),
    "django_celery_beat.periodictask": edited(
        ADMINISTRATORS, "disable_tasks", "enable_tasks", "run_tasks", "toggle_tasks"
    ),
    "django_celery_beat.solarschedule": edited(ADMINISTRATORS),
    "events.channel": READ_ONLY,
    "events.delivery": READ_ONLY,
    "events.event": READ_ONLY,
    "events.notification": READ_ONLY,
    "execution.driftitem": READ_ONLY,
    "execution.executionlog": READ_ONLY,
    "execution.fill": READ_ONLY,
    "execution.order": READ_ONLY,
    "execution.scopedaction": READ_ONLY,
    "execution.droppedmessagecount": READ_ONLY,
    "execution.workerlease": READ_ONLY,
    "paper.paperaccount": Rows(change=TRADERS),
    "paper.paperinstrument": READ_ONLY,
    "paper.paperorder": READ_ONLY,
    "paper.paperposition": READ_ONLY,
    "paper.paperquote": READ_ONLY,
    "positions.executionposition": READ_ONLY,
    "signals.feed": Rows(add=TRADERS, change=TRADERS),
    "signals.feedtoken": READ_ONLY,
    "alerts.incomingalert": READ_ONLY,
    "signals.signal": Rows(add=TRADERS, change=TRADERS),
    "users.accountmail": READ_ONLY,
    "users.apikey": READ_ONLY,
    "users.invitation": READ_ONLY,
    "users.user": Rows(add=ADMINISTRATORS, change=ADMINISTRATORS),
}
