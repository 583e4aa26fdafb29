"""The addresses of the portal."""

from django.urls import path

from portal import sign_in
from portal.views import (
    account_forms,
    accounts,
    drift,
    feeds,
    inbox,
    overview,
    positions,
    reasons,
    signals,
)

app_name = "portal"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("live/", overview.live, name="live"),
    path("scan-alarm/", overview.scan_alarm, name="scan_alarm"),
    path("pause/", overview.pause, name="pause"),
    path("resume/", overview.resume, name="resume"),
    path("login/", sign_in.SignIn.as_view(), name="sign_in"),
    path("logout/", sign_in.SignOut.as_view(), name="sign_out"),
    path("signals/", signals.signals, name="signals"),
    path("signals/<int:pk>/", signals.signal, name="signal"),
    path("orders/<int:pk>/cancel/", signals.cancel, name="order_cancel"),
    path("positions/", positions.positions, name="positions"),
    path("positions/<int:pk>/close/", positions.close, name="close"),
    path("accounts/", accounts.accounts, name="accounts"),
    path("accounts/add/", account_forms.add, name="account_add"),
    path("accounts/<uuid:pk>/", accounts.account, name="account"),
    path("accounts/<uuid:pk>/live/", accounts.live, name="account_live"),
    path("accounts/<uuid:pk>/test/", accounts.test, name="account_test"),
    path("accounts/<uuid:pk>/pause/", accounts.pause, name="account_pause"),
    path("accounts/<uuid:pk>/resume/", accounts.resume, name="account_resume"),
    path("accounts/<uuid:pk>/switch-on/", accounts.switch_on, name="account_switch_on"),
    path("accounts/<uuid:pk>/remove/", account_forms.remove, name="account_remove"),
    path("accounts/<uuid:pk>/compare/", drift.compare, name="account_compare"),
    path("accounts/<uuid:pk>/own-prices/", accounts.own_prices, name="account_own_prices"),
    path("accounts/<uuid:pk>/edit/", account_forms.edit, name="account_edit"),
    path("accounts/<uuid:pk>/credentials/", account_forms.credentials, name="credentials"),
    path("differences/<int:pk>/", drift.drift_item, name="difference"),
    *(
        path(
            f"differences/<int:pk>/{decision}/",
            drift.decide,
            {"decision": decision},
            name=f"difference_{decision}",
        )
        for decision in ("adopt", "relink", "close", "ignore")
    ),
    path("feeds/", feeds.feeds, name="feeds"),
    path("feeds/<slug:slug>/subscribe/", feeds.subscribe, name="subscribe"),
    path("subscriptions/<int:pk>/edit/", feeds.edit, name="subscription_edit"),
    path("subscriptions/<int:pk>/pause/", feeds.pause, name="subscription_pause"),
    path("subscriptions/<int:pk>/resume/", feeds.resume, name="subscription_resume"),
    path("subscriptions/<int:pk>/end/", feeds.end, name="subscription_end"),
    path("reasons/<str:code>/", reasons.reason, name="reason"),
    path("inbox/", inbox.inbox, name="inbox"),
    path("inbox/read/", inbox.read, name="inbox_read"),
    path("inbox/<int:pk>/read/", inbox.read, name="notification_read"),
]
