"""What becomes of a subscription's entries and positions when it pauses or ends, in sentences."""

from django.db.models import Q

from analytics.orders.halt_texts import unsent_kinds, worth_text
from common.web.confirmation import Consequence
from connections.models import KillSwitch, LossLimit, Subscription
from connections.services import HaltTarget
from execution.monitoring.halt_actions import HaltImpact, halt_impact

EVERYTHING = HaltTarget(KillSwitch.Scope.ALL)


def subscription_impact(subscription: Subscription) -> HaltImpact:
    """Return what is live of the subscription now, on its account and those of its route."""
    accounts = [
        subscription.connection_id,
        *subscription.routes.values_list("connection_id", flat=True),
    ]
    return halt_impact(
        EVERYTHING, Q(connection_id__in=accounts, signal__feed_id=subscription.feed_id)
    )


def live_lines(subscription: Subscription, *, ends: bool) -> list[Consequence]:
    """Return a line for each kind of what is live. ends: it ends, or else it only pauses."""
    impact = subscription_impact(subscription)
    lines = []
    if impact.waiting:
        waiting = f"Entries not sent yet: {impact.waiting}{unsent_kinds(impact)}."
        until = "" if ends else " unless you resume before"
        lines.append(Consequence("denied", f"{waiting} Each is denied when its turn comes{until}."))
    if impact.working:
        working = f"Entries at brokers: {impact.working}{worth_text(impact.working_amounts)}."
        stay = "They stay there and may still fill, unless you cancel them."
        lines.append(Consequence("attention", f"{working} {stay}"))
    positions = f"Open positions: {impact.positions}{worth_text(impact.open_amounts)}."
    stay = "They stay open, and the provider's closes still apply to them."
    lines.append(Consequence("filled", f"{positions} {stay}"))
    if ends and LossLimit.objects.filter(subscription=subscription).exists():
        limits = "The loss limits of the subscription end with it. They close nothing any more."
        lines.append(Consequence("attention", limits))
    return lines
