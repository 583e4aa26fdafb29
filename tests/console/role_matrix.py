"""Which roles may do what in the console: one line a page and a kind of row.

A letter stands for a role that may: A administrator, O operator, R risk officer, S support. Staff
without any role may nothing here, a superuser everything. Written by hand, so that a change of
common/permissions.py is seen here; an address or a list that is missing fails the test.
"""

from dataclasses import dataclass

READERS = "AORS"
TRADERS = "AO"
HALTS = "AOR"
LIMITS = "AR"
ADMINISTRATORS = "A"
ANYBODY = "AORSN"  # about oneself: signing out, one's own password
NOBODY = ""


@dataclass(frozen=True)
class Page:
    """who: by the letters above. on: the row that it is about, by its name in the test's world."""

    who: str
    on: str = ""
    query: str = ""


PAGES: dict[str, Page] = {
    "index": Page(READERS),
    "app_list": Page(READERS, "app"),
    "search": Page(READERS),
    "autocomplete": Page(READERS, query="?app_label=signals&model_name=signal&field_name=feed"),
    "jsi18n": Page(READERS),
    "view_on_site": Page(READERS, "type"),
    "login": Page(ANYBODY),
    "password_change": Page(ANYBODY),
    "password_change_done": Page(ANYBODY),
    "console_live": Page(READERS),
    "console_scan_alarm": Page(READERS),
    "console_trail": Page(READERS),
    "console_reason": Page(READERS, "code"),
    "signals_signal_page": Page(READERS, "waiting"),
    "signals_signal_export": Page(READERS, "signal"),
    "signals_signal_publish": Page(TRADERS, "waiting"),
    "signals_signal_cancel": Page(TRADERS, "waiting"),
    "signals_signal_approve": Page(TRADERS, "unapproved"),
    "signals_signal_reject": Page(TRADERS, "unapproved"),
    "execution_order_page": Page(READERS, "pending"),
    "execution_order_cancel": Page(TRADERS, "pending"),
    "execution_order_retry": Page(TRADERS, "failed"),
    "positions_executionposition_page": Page(READERS, "position"),
    "positions_executionposition_close": Page(TRADERS, "position"),
    "connections_executionconnection_page": Page(READERS, "connection"),
    "connections_executionconnection_checks": Page(READERS, "connection"),
    "connections_executionconnection_edit": Page(TRADERS, "connection"),
    "connections_executionconnection_test": Page(TRADERS, "connection"),
    "connections_executionconnection_credentials": Page(TRADERS, "connection"),
    "connections_executionconnection_pause": Page(TRADERS, "connection"),
    "connections_executionconnection_archive": Page(TRADERS, "connection"),
    "connections_executionconnection_own_prices": Page(TRADERS, "connection"),
    "connections_executionconnection_offer_prices": Page(TRADERS, "connection"),
    "connections_executionconnection_compare": Page(TRADERS, "connection"),
    "execution_driftitem_page": Page(READERS, "drift"),
    "execution_driftitem_adopt": Page(TRADERS, "drift"),
    "execution_driftitem_relink": Page(TRADERS, "drift"),
    "execution_driftitem_close": Page(TRADERS, "drift"),
    "execution_driftitem_ignore": Page(TRADERS, "drift"),
    "connections_subscription_pause": Page(TRADERS, "subscription"),
    "connections_subscription_end": Page(TRADERS, "subscription"),
    "connections_killswitch_set": Page(HALTS),
    "connections_killswitch_release": Page(HALTS, "switch"),
    "connections_epoch_page": Page(READERS, "epoch"),
    "connections_epoch_release": Page(HALTS, "epoch"),
    "signals_feed_token": Page(TRADERS, "feed"),
    "signals_feedtoken_revoke": Page(TRADERS, "token"),
    "users_apikey_create": Page(ADMINISTRATORS),
    "users_apikey_revoke": Page(ADMINISTRATORS, "key"),
    "auth_user_password_change": Page(ADMINISTRATORS, "tenant"),
    "users_user_reset_second_factor": Page(ADMINISTRATORS, "tenant"),
    "logout": Page(ANYBODY),  # the last one: nobody is signed in afterwards
}


@dataclass(frozen=True)
class Rows:
    """Who may add, change and delete rows of a list, and act on several (`actions`, by name)."""

    add: str = NOBODY
    change: str = NOBODY
    delete: str = NOBODY
    actions: tuple[str, ...] = ()
    read: str = READERS

    @property
    def acts(self) -> str:
        """Who may act on several rows: who may change them."""
        return self.change


def edited(who: str, *actions: str) -> Rows:
    """Rows that are added, changed and deleted in forms."""
    return Rows(who, who, who, ("delete_selected", *actions))


MACHINES = Rows()  # written by machines, or on pages of their own
LISTS: dict[str, Rows] = {
    "analytics.analyticsdaily": MACHINES,
    "auth.group": MACHINES,
    "connections.dataconnection": edited(TRADERS),
    "connections.epoch": MACHINES,
    "connections.executionconnection": Rows(add=TRADERS),
    "connections.hostcircuit": MACHINES,
    "connections.instrument": MACHINES,
    "connections.killswitch": MACHINES,
    "connections.maintenancewindow": edited(TRADERS),
    "connections.subscription": MACHINES,
    "connections.tradingpreset": edited(LIMITS),
    "django_celery_beat.clockedschedule": edited(ADMINISTRATORS),
    "django_celery_beat.crontabschedule": edited(ADMINISTRATORS),
    "django_celery_beat.intervalschedule": edited(ADMINISTRATORS),
    "django_celery_beat.periodictask": edited(
        ADMINISTRATORS, "disable_tasks", "enable_tasks", "run_tasks", "toggle_tasks"
    ),
    "django_celery_beat.solarschedule": edited(ADMINISTRATORS),
    "events.channel": MACHINES,
    "events.delivery": MACHINES,
    "events.event": MACHINES,
    "events.notification": MACHINES,
    "execution.driftitem": MACHINES,
    "execution.executionlog": MACHINES,
    "execution.fill": MACHINES,
    "execution.order": MACHINES,
    "execution.droppedmessagecount": MACHINES,
    "execution.workerlease": MACHINES,
    "paper.paperaccount": Rows(change=TRADERS),
    "paper.paperinstrument": MACHINES,
    "paper.paperorder": MACHINES,
    "paper.paperposition": MACHINES,
    "paper.paperquote": MACHINES,
    "positions.executionposition": MACHINES,
    "signals.feed": Rows(add=TRADERS, change=TRADERS),
    "signals.feedtoken": MACHINES,
    "signals.signal": Rows(add=TRADERS, change=TRADERS),
    "users.apikey": MACHINES,
    "users.user": Rows(add=ADMINISTRATORS, change=ADMINISTRATORS),
}
