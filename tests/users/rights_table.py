"""Who may do what, and in which state: callers, acts, and the code that each gets."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

from analytics.preflight.services import request_preflight
from common.clocks import market_now
from common.permissions import Role, Scope
from connections import services
from connections.loss_limits.pauses import resume_after_limit
from connections.models import LossLimit, TradingPreset
from connections.presets.services import change_preset
from signals import services as signals
from signals.feeds.approval_requests import grant_approval, request_approval
from signals.feeds.services import update_feed
from signals.feeds.terms import change_terms
from signals.models import Action
from signals.publishing.drafts import discard_draft, publish_draft, store_draft
from tests.connections import make
from tests.loss_limits import limit_of, pause_of
from tests.roles import staff
from users.models import User
from users.people.invitations import invite
from users.services import change_rights, create_api_key

BODY = {"symbol": "EUR/USD", "direction": "BUY"}


class Rows:
    """What alice owns."""

    def __init__(self) -> None:
        self.alice = make.user("alice")
        self.private = make.feed(self.alice, is_public=False)
        self.public = make.feed(self.alice, is_approved=False)
        self.signal = make.signal(self.private)
        self.pending = make.signal(self.public, approval="PENDING")
        self.draft = store_draft(self.private.pk, action=Action.OPEN, body=BODY, by=self.alice)
        self.account = make.ready(make.connection(self.alice))
        self.preset = make.preset(self.alice)
        self.subscription = make.subscription(self.account, self.private)
        self.limit = limit_of(self.preset)
        self.pause = pause_of(self.account)
        self.halt = make.kill_switch(
            "REDUCING", scope="CONNECTION", connection=self.account, set_by=self.alice
        )


def _with_key(rows: Rows, *scopes: Scope) -> User:
    user = User.objects.get(pk=rows.alice.pk)
    user.key_scopes, user.key_ends_at = frozenset(scopes), market_now() + timedelta(days=1)
    return user


def _deactivated(rows: Rows) -> User:
    user = User.objects.get(pk=rows.alice.pk)
    user.is_active = False
    return user


CALLERS: dict[str, Callable[[Rows], User]] = {
    "owner": lambda rows: rows.alice,
    "tenant": lambda _: make.user("bob"),
    "inactive": _deactivated,
    "read": lambda rows: _with_key(rows, Scope.READ),
    "publish": lambda rows: _with_key(rows, Scope.READ, Scope.PUBLISH),
    "operate": lambda rows: _with_key(rows, Scope.READ, Scope.OPERATE),
    "no role": lambda _: staff(),
    "support": lambda _: staff(Role.SUPPORT),
    "risk": lambda _: staff(Role.RISK_OFFICER),
    "operator": lambda _: staff(Role.OPERATOR),
}
"""Who acts: alice herself, deactivated, or by a key of these scopes; another tenant; staff."""

Act = Callable[[Rows, Any], object]
ACTS: dict[str, Act] = {
    "publish a signal": lambda rows, by: signals.publish(rows.signal.pk, by=by),
    "cancel a signal": lambda rows, by: signals.cancel(rows.signal.pk, by=by),
    "approve a signal": lambda rows, by: signals.approve(rows.pending.pk, by=by),
    "reject a signal": lambda rows, by: signals.reject(rows.pending.pk, by=by),
    "store a draft": lambda rows, by: store_draft(
        rows.private.pk, action=Action.OPEN, body=BODY, by=by
    ),
    "publish a draft": lambda rows, by: publish_draft(rows.draft.pk, by=by),
    "discard a draft": lambda rows, by: discard_draft(rows.draft.pk, by=by),
    "change a feed": lambda rows, by: update_feed(rows.private.pk, by=by, description="new"),
    "change terms": lambda rows, by: change_terms(rows.private.pk, "Two a day.", by=by),
    "ask for approval": lambda rows, by: request_approval(rows.public.pk, by=by),
    "grant approval": lambda rows, by: grant_approval(rows.public.pk, by=by),
    "pause an account": lambda rows, by: services.pause(rows.account.pk, by=by),
    "pause a subscription": lambda rows, by: services.pause_subscription(
        rows.subscription.pk, by=by
    ),
    "end a subscription": lambda rows, by: services.unsubscribe(rows.subscription.pk, by=by),
    "enter a deposit": lambda rows, by: services.record_cash_flow(
        rows.account.pk, amount=D(5), by=by
    ),
    "change a preset": lambda rows, by: change_preset(rows.preset.pk, by=by, name="new"),
    "create a preset": lambda rows, by: services.create_preset(
        TradingPreset(user=rows.alice, name="two", risk_percent=D(1)), by=by
    ),
    "add a loss limit": lambda rows, by: services.add_loss_limit(
        LossLimit(preset=rows.preset, maximum=D(5), measure="BALANCE"), by=by
    ),
    "delete a loss limit": lambda rows, by: services.delete_loss_limit(rows.limit.pk, by=by),
    "resume after a limit": lambda rows, by: resume_after_limit(rows.pause.pk, by=by),
    "halt an account": lambda rows, by: services.set_kill_switch(
        scope="CONNECTION", connection_id=rows.account.pk, mode="HALTED", reason="", by=by
    ),
    "halt everything": lambda _, by: services.set_kill_switch(
        scope="ALL", mode="REDUCING", reason="", by=by
    ),
    "release a halt": lambda rows, by: services.release_kill_switch(rows.halt.pk, by=by),
    "ask for a preflight": lambda rows, by: request_preflight(
        connection_id=rows.account.pk, feed_id=rows.private.pk, by=by
    ),
    "make a key": lambda rows, by: create_api_key(rows.alice, "k", scopes=["read"], by=by),
    "invite": lambda _, by: invite("For Zoe", by=by),
    "change rights": lambda rows, by: change_rights(rows.alice.pk, by=by, is_active=True),
}

# One letter for each caller, in the order of CALLERS.
_PROVIDER, _APPROVER, _ACCOUNT = ".PPR.RRRR.", "RRPRRRRRR.", ".PPRR.RRR."
_MONEY, _HALT, _USERS = ".PPRR.RR.R", ".PPRR.RR..", "RRPRRRRRRR"
CODES = {".": "allowed", "P": "PERMISSION_DENIED", "R": "RIGHT_MISSING"}
EXPECTED: dict[str, str] = {
    "publish a signal": _PROVIDER,
    "cancel a signal": _PROVIDER,
    "approve a signal": _APPROVER,
    "reject a signal": _APPROVER,
    "store a draft": _PROVIDER,
    "publish a draft": _PROVIDER,
    "discard a draft": _PROVIDER,
    "change a feed": _PROVIDER,
    "change terms": _PROVIDER,
    "ask for approval": _PROVIDER,
    "grant approval": _APPROVER,
    "pause an account": _ACCOUNT,
    "pause a subscription": _ACCOUNT,
    "end a subscription": _ACCOUNT,
    "enter a deposit": _MONEY,
    "change a preset": _MONEY,
    "create a preset": _MONEY,
    "add a loss limit": _MONEY,
    "delete a loss limit": _MONEY,
    "resume after a limit": _MONEY,
    "halt an account": _HALT,
    "halt everything": "PPPPPPRR..",
    "release a halt": _HALT,
    "ask for a preflight": _ACCOUNT,
    "make a key": ".R....RRRR",  # a deactivated user is refused before: none acts for them
    "invite": _USERS,
    "change rights": _USERS,
}
