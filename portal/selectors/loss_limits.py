"""The tenant's own loss limits."""

from django.db.models import Q, QuerySet

from connections.models import LossLimit, TradingPreset
from users.models import User


def own_loss_limits(user: User) -> QuerySet[LossLimit]:
    """Return the limits that a tenant may change: of their presets and subscriptions."""
    return LossLimit.objects.filter(
        Q(preset__user=user)
        | Q(subscription__connection__user=user, subscription__archived_at__isnull=True)
    )


def loss_limits_of(preset: TradingPreset) -> list[LossLimit]:
    """Return a preset's loss limits, in the order in which they were added."""
    return list(LossLimit.objects.filter(preset=preset).order_by("pk"))
