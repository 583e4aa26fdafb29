"""The addresses of the portal."""

from django.urls import path

from portal import sign_in
from portal.views import (
    account_forms,
    accounts,
    drift,
    feeds,
    inbox,
    limits,
    loss_limits,
    overview,
    position,
    positions,
    reasons,
    results,
    scoped_actions,
    signals,
    working_orders,
)
from portal.views.publishing import drafts as feed_drafts
from portal.views.publishing import feeds as publishing
from portal.views.publishing import settings as feed_settings
from portal.views.publishing import signals as feed_signals

app_name = "portal"
MINE = "publishing/<slug:slug>"  # a feed of one's own, with any slug: nothing else begins so
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
    path("orders/<int:pk>/change/", signals.change, name="order_change"),
    path("orders/", working_orders.orders, name="working_orders"),
    path("orders/cancel-all/", working_orders.cancel_all, name="cancel_all"),
    path("positions/", positions.positions, name="positions"),
    path("positions/close-all/", positions.close_all, name="close_all"),
    path("positions/cancel-or-close/", scoped_actions.of_all, name="end_all"),
    path("positions/<int:pk>/", position.position, name="position"),
    path("positions/<int:pk>/close/", positions.close, name="close"),
    path("positions/<int:pk>/close-part/", position.close_part, name="position_close_part"),
    path("positions/<int:pk>/levels/", position.levels, name="position_levels"),
    path("positions/<int:pk>/break-even/", position.break_even, name="position_break_even"),
    path("positions/<int:pk>/trailing/", position.trailing, name="position_trailing"),
    path("results/", results.results, name="results"),
    path("results/definitions/", results.definitions, name="results_definitions"),
    path("results/execution/", results.execution, name="results_execution"),
    path("results/<slug:table>.csv", results.export, name="results_csv"),
    path("results/<int:year>/<int:month>/", results.month, name="results_month"),
    path("accounts/", accounts.accounts, name="accounts"),
    path("accounts/add/", account_forms.add, name="account_add"),
    path("accounts/<uuid:pk>/", accounts.account, name="account"),
    path("accounts/<uuid:pk>/symbols/", accounts.symbols, name="account_symbols"),
    path("accounts/<uuid:pk>/live/", accounts.live, name="account_live"),
    path("accounts/<uuid:pk>/test/", accounts.test, name="account_test"),
    path("accounts/<uuid:pk>/pause/", accounts.pause, name="account_pause"),
    path("accounts/<uuid:pk>/resume/", accounts.resume, name="account_resume"),
    path("accounts/<uuid:pk>/switch-on/", accounts.switch_on, name="account_switch_on"),
    path("accounts/<uuid:pk>/remove/", account_forms.remove, name="account_remove"),
    path("accounts/<uuid:pk>/cancel-or-close/", scoped_actions.of_account, name="account_end"),
    path("accounts/<uuid:pk>/compare/", drift.compare, name="account_compare"),
    path("accounts/<uuid:pk>/own-prices/", accounts.own_prices, name="account_own_prices"),
    path("accounts/<uuid:pk>/edit/", account_forms.edit, name="account_edit"),
    path("accounts/<uuid:pk>/credentials/", account_forms.credentials, name="credentials"),
    path("accounts/<uuid:pk>/cash-flow/", limits.cash_flow, name="account_cash_flow"),
    path("accounts/<uuid:pk>/loss-limit/", loss_limits.add, name="account_loss_limit"),
    path("loss-limits/<int:pk>/edit/", loss_limits.edit, name="loss_limit_edit"),
    path("loss-limits/<int:pk>/remove/", loss_limits.remove, name="loss_limit_remove"),
    path("pauses/<int:pk>/resume/", limits.resume, name="entries_resume"),
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
    path("feeds/<slug:slug>/cancel-or-close/", scoped_actions.of_feed, name="feed_end"),
    path("cancelled-and-closed/<int:pk>/", scoped_actions.result, name="scoped_action"),
    path("feeds/<slug:slug>/subscribe/", feeds.subscribe, name="subscribe"),
    path("feeds/<slug:slug>/terms/", publishing.terms, name="feed_terms"),
    path("publishing/", publishing.publishing, name="publishing"),
    path("publish/new/", publishing.new, name="publishing_new"),
    path(f"{MINE}/", publishing.feed, name="publishing_feed"),
    path(f"{MINE}/followers/", publishing.feed_followers, name="publishing_followers"),
    path(f"{MINE}/approval/", publishing.ask_approval, name="publishing_approval"),
    path(f"{MINE}/approval/withdraw/", publishing.withdraw, name="publishing_withdraw"),
    path(f"{MINE}/archive/", publishing.archive, name="publishing_archive"),
    path(f"{MINE}/settings/", feed_settings.settings, name="publishing_settings"),
    path(f"{MINE}/terms/", feed_settings.change, name="publishing_terms"),
    path(f"{MINE}/signals/", feed_signals.feed_signals, name="publishing_signals"),
    path(f"{MINE}/signals/new/", feed_drafts.choose, name="publishing_choose"),
    *(
        path(
            f"{MINE}/signals/new/{act}/", feed_drafts.write, {"act": act}, name=f"publishing_{act}"
        )
        for act in ("open", "modify", "close")
    ),
    path(f"{MINE}/signals/<int:pk>/", feed_signals.feed_signal, name="publishing_signal"),
    path(
        f"{MINE}/signals/<int:pk>/publish/",
        feed_signals.publish_signal,
        name="publishing_signal_publish",
    ),
    path(
        f"{MINE}/signals/<int:pk>/cancel/",
        feed_signals.cancel_signal,
        name="publishing_signal_cancel",
    ),
    path(f"{MINE}/drafts/", feed_drafts.drafts, name="publishing_drafts"),
    path(f"{MINE}/drafts/<int:pk>/", feed_drafts.edit, name="publishing_draft"),
    path(f"{MINE}/drafts/<int:pk>/publish/", feed_drafts.publish, name="publishing_draft_publish"),
    path(f"{MINE}/drafts/<int:pk>/discard/", feed_drafts.discard, name="publishing_draft_discard"),
    path("subscriptions/<int:pk>/edit/", feeds.edit, name="subscription_edit"),
    path("subscriptions/<int:pk>/limits/", feeds.limits, name="subscription_limits"),
    path("subscriptions/<int:pk>/route/", feeds.route, name="subscription_route"),
    path("subscriptions/<int:pk>/pause/", feeds.pause, name="subscription_pause"),
    path("subscriptions/<int:pk>/resume/", feeds.resume, name="subscription_resume"),
    path("subscriptions/<int:pk>/end/", feeds.end, name="subscription_end"),
    path("reasons/<str:code>/", reasons.reason, name="reason"),
    path("inbox/", inbox.inbox, name="inbox"),
    path("inbox/read/", inbox.read, name="inbox_read"),
    path("inbox/<int:pk>/read/", inbox.read, name="notification_read"),
]
