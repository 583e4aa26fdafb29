"""The doctor's check of the outside watchdog: is it pinged, and does its address accept that?"""

from datetime import datetime

from brokers.types import Check
from common.db.sql import database_now
from common.operational.current import settings_now
from common.web.formatting import age
from execution.models import WatchdogPing
from ops.doctor.verdicts import CheckFunction, failure, warning, well

NAME = "outside watchdog"
LATE_SECONDS = 180


def watchdog() -> Check:
    """Check the last ping."""
    is_set = settings_now().watchdog.ping_url is not None
    return judge_watchdog(is_set, WatchdogPing.objects.first(), database_now())


def judge_watchdog(is_set: bool, last: WatchdogPing | None, now: datetime) -> Check:
    """Judge the last ping. is_set: whether there is an address."""
    if not is_set:
        return well(NAME, "No address is set (watchdog.ping_url): no service is pinged.")
    if last is None or (now - last.checked_at).total_seconds() > LATE_SECONDS:
        remedy = "Start the worker `maintenance`: it pings every minute."
        return warning(NAME, "It is not pinged: no process does it.", remedy)
    if last.fault:
        remedy = "Correct what is stated; the next ping comes within a minute after that."
        return failure(NAME, f"It is not pinged: {last.fault}", remedy)
    if last.error:
        since = age((now - (last.error_since or now)).total_seconds())
        remedy = "Correct watchdog.ping_url, or what keeps this machine from reaching it."
        return warning(NAME, f"Pings are not accepted for {since}: {last.error}", remedy)
    return well(NAME, "The last ping was accepted.")


CHECKS: list[tuple[str, CheckFunction]] = [(NAME, watchdog)]
