from connections.models import LaneLease

LANE = "sessions.5"


def lease() -> LaneLease:
    return LaneLease.objects.get(lane=LANE)
