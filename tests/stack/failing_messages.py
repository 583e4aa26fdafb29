"""Messages, pages, settings and the way to others that fail."""

import asyncio
from collections.abc import Callable, Iterator

import nats

from buses.incoming import intake
from buses.incoming.models import BusMessage
from common.process.stored_figures import STORE_SECONDS
from connections.models import HaltMode, KillSwitch
from execution.monitoring import watchdog
from tests.operational import reset, set_setting
from tests.ports import closed_port
from tests.stack.failing_trades import halted
from tests.stack.injected_failures import raises
from tests.stack.mail_server import mail_server
from tests.stack.watched_stack import WatchedStack
from tests.until import until
from users.models import User

TRIED_NOW = "UPDATE events_channel SET backoff_until = NULL WHERE last_sent_at IS NULL"
SESSION = f"sessionid={'x' * 32}"  # Django looks up no key that is shorter than eight
SETTINGS_SECONDS = 2  # until a process follows a new version


# ---- the way to others --------------------------------------------------------------------
@raises("TasksFail", seen_after=STORE_SECONDS)
def task_fails(stack: WatchedStack) -> Iterator[None]:
    for _ in range(5):
        stack.send("execution.audit", 1, 2, 3, queue="maintenance")
    yield


@raises("BusRefusesEvents")
def bus_refuses_an_event(stack: WatchedStack) -> Iterator[None]:
    stack.rows(
        "INSERT INTO events_event (kind, payload)"
        """ VALUES ('host.down', jsonb_build_object('host', repeat('x', 2000000)))"""
    )
    yield
    stack.rows("DELETE FROM buses_deadletter")


@raises("BusMessagesNotCarriedOut")
def message_of_a_bus_has_no_route(stack: WatchedStack) -> Iterator[None]:
    asyncio.run(_send(stack.bus_in.url, "signals.approved.without-a-route"))
    yield
    for message in BusMessage.objects.dead():
        intake.discard(message.pk, by=User.objects.get(username="operator"))


@raises("MessagesNotDelivered", seen_after=120, late="a mail server may be away for two minutes")
def mail_server_does_not_answer(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    channel = stack.operator.do("channel", url="mailto:olga@fillcast.example")
    stack.rows("UPDATE events_channel SET confirmed_at = clock_timestamp()")
    with halted(HaltMode.REDUCING, scope=KillSwitch.Scope.BROKER_TYPE, broker_type="mt4"):
        pass
    until(lambda: stack.rows("SELECT 1 FROM events_delivery WHERE status = 'PENDING'"))
    yield lambda: stack.rows(
        "UPDATE events_event SET created_at = clock_timestamp() - interval '121 s'"
        " WHERE id IN (SELECT event_id FROM events_delivery WHERE status = 'PENDING')"
    )
    with mail_server(stack.mail_port) as taken:  # it answers again; the pause of a try is moved
        until(lambda: stack.rows(TRIED_NOW) or taken)
    stack.rows("UPDATE events_channel SET is_active = false WHERE id = %s", channel)


@raises(
    "WatchdogNotReached", seen_after=300,
    late="it is pinged once a minute, and may be away for five minutes",
)  # fmt: skip
def watchdog_does_not_answer(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with closed_port() as port:
        set_setting("watchdog.ping_url", f"http://127.0.0.1:{port}/")
        watchdog.ping(lambda: True)
    yield lambda: stack.rows(
        "UPDATE execution_watchdogping SET error_since = clock_timestamp() - interval '301 s'"
    )
    stack.rows("UPDATE execution_watchdogping SET error_since = NULL")
    reset()


@raises("RequestsFail")
def pages_fail(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    stack.rows("ALTER TABLE users_loginsession RENAME TO gone")
    yield lambda: [stack.get("/", Cookie=SESSION) for _ in range(5)]
    stack.rows("ALTER TABLE gone RENAME TO users_loginsession")


@raises("RequestsSlow")
def pages_are_slow(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    stack.rows("ALTER TABLE users_loginsession RENAME TO kept")
    stack.rows(  # of a condition without a column: it is judged before any row is read
        "CREATE VIEW users_loginsession AS SELECT * FROM kept WHERE"
        " (SELECT count(*) FROM pg_sleep(3.5)) = 1"
    )
    stack.rows("GRANT SELECT ON users_loginsession TO fillcast_web")
    yield lambda: [stack.get("/", Cookie=SESSION) for _ in range(4)]
    stack.rows("DROP VIEW users_loginsession")
    stack.rows("ALTER TABLE kept RENAME TO users_loginsession")


@raises("SettingsInvalid", seen_after=SETTINGS_SECONDS)
def settings_are_invalid(stack: WatchedStack) -> Iterator[None]:
    version = (
        "INSERT INTO common_settingsversion (id, document, username, origin, why, source_digest)"
        " SELECT coalesce(max(id), 0) + 1, %s, '', 'command', 'a drill', ''"
        " FROM common_settingsversion"
    )
    stack.rows(version, '{"execution": {"poll_seconds": "soon"}}')
    yield
    stack.rows(version, stack.settings)


@raises("CertificateEnds")
def certificate_ends_in_a_month(stack: WatchedStack) -> Iterator[None]:
    stack.have_authority(ends_in_days=29)
    yield
    stack.have_authority(ends_in_days=400)


@raises("CertificateUnusable")
def certificate_has_ended(stack: WatchedStack) -> Iterator[None]:
    stack.have_authority(ends_in_days=-1)
    yield
    stack.have_authority(ends_in_days=400)


async def _send(url: str, subject: str) -> None:
    opened = await nats.connect(url)
    await opened.jetstream().publish(subject, b"{}")
    await opened.close()
