"""The tenant's own loss limits."""

from django.db.models import Q, QuerySet

from connections.models import LossLimit
from users.models import User


def own_loss_limits(user: User) -> QuerySet[LossLimit]:
    """Return the limits that a tenant may change: of their presets and subscriptions."""
    return LossLimit.objects.filter(
        Q(preset__user=user)
        | Q(subscription__connection__user=user, subscription__archived_at__isnull=True)
    )
