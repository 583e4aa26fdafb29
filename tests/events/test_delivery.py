"""Messages out: against a real web server that remembers what it got. Real transactions."""

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from django.core import mail
from django.db import connection, transaction
from django.db.models import F
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from common.db.functions import ClockTimestamp
from events import confirmation, delivery, services
from events.models import Channel, Delivery, Event, EventKind
from events.routing import route_events
from events.services import Delivered, NewEvent
from events.tasks import deliver_events
from tests.events.receiver import Receiver
from tests.operational import set_setting
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


def happen(*events: NewEvent) -> list[int]:
    with transaction.atomic():
        return services.emit_many(events)


def fill(user: User, signal_id: int = 1) -> NewEvent:
    return NewEvent(EventKind.ORDER_FILLED, user.pk, signal_id=signal_id)


def channel_to(user: User, url: str) -> Channel:
    return services.create_channel(user_id=user.pk, name="hook", url=url)


def rested() -> None:
    """As if every channel's rest were over."""
    Channel.objects.filter(backoff_until__isnull=False).update(
        backoff_until=ClockTimestamp() - timedelta(seconds=1)
    )


def statuses() -> list[tuple[str, int]]:
    return list(Delivery.objects.order_by("event_id").values_list("status", "tries"))


def test_burst_is_one_message_with_every_event(alice: User, hook: Receiver) -> None:
    channel = channel_to(alice, hook.url())
    ids = happen(*[fill(alice) for _ in range(200)], NewEvent(EventKind.ORDER_DENIED, alice.pk))
    assert services.deliver() == Delivered(events=201, messages=1, failures=0)
    (got,) = hook.journal
    assert got["title"] == "1 order denied by us, 200 orders filled"
    assert [event["id"] for event in got["events"]] == ids
    assert {event["kind"] for event in got["events"]} == {"order.filled", "order.denied"}
    assert statuses() == [("SENT", 1)] * 201
    channel.refresh_from_db()
    assert channel.last_sent_at is not None
    assert services.deliver() == Delivered(0, 0, 0)


def test_task_looks_for_what_waits_before_it_delivers(
    alice: User, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered: list[Delivered] = []
    deliver = services.deliver
    monkeypatch.setattr(services, "deliver", lambda: delivered.append(deliver()))
    deliver_events()
    assert delivered == []
    channel_to(alice, hook.url())
    happen(fill(alice))
    deliver_events()
    deliver_events()  # nothing waits any more
    assert delivered == [Delivered(1, 1, 0)]
    happen(fill(alice))
    deliver()  # the channel rests, so its delivery waits
    deliver_events()
    assert delivered[1:] == [Delivered(0, 0, 0)]
    Delivery.objects.filter(status="PENDING").update(hold_until=ClockTimestamp() + HOUR)
    deliver_events()
    assert len(delivered) == 2
    Delivery.objects.filter(status="PENDING").update(hold_until=ClockTimestamp())
    deliver_events()
    assert len(delivered) == 3


def test_events_during_backoff_are_sent_together(alice: User, hook: Receiver) -> None:
    channel_to(alice, hook.url())
    happen(fill(alice))
    services.deliver()
    for _ in range(3):
        happen(fill(alice))
        assert services.deliver().messages == 0
    rested()
    services.deliver()
    assert [len(got["events"]) for got in hook.journal] == [1, 3]


@pytest.mark.parametrize(
    ("status", "header", "least", "most"),
    [
        (429, "1800", 1_790, 1_800),
        (503, "1800", 1_790, 1_800),
        (503, timedelta(hours=3), 10_790, 10_800),
        (429, timedelta(hours=-3), 0, 10),
        (429, "999999999", 86_390, 86_400),
        (429, "soon", 0, 10),
    ],
    ids=["seconds", "seconds at 503", "date at 503", "date in the past", "too long", "no time"],
)
def test_retry_after_of_server_is_respected(
    alice: User, hook: Receiver, status: int, header: str | timedelta, least: int, most: int
) -> None:
    before = datetime.now(UTC)
    if isinstance(header, timedelta):
        header = format_datetime(before + header, usegmt=True)
    hook.answers, hook.retry_after = [status], header
    channel = channel_to(alice, hook.url())
    happen(fill(alice))
    assert services.deliver().failures == 1
    channel.refresh_from_db()
    assert channel.backoff_until is not None
    assert timedelta(seconds=least) <= channel.backoff_until - before
    assert channel.backoff_until - datetime.now(UTC) <= timedelta(seconds=most)
    assert services.deliver() == Delivered(0, 0, 0)
    assert len(hook.journal) == 1, "nothing is sent before"
    passed = timedelta(seconds=most + 1)
    Channel.objects.update(backoff_until=channel.backoff_until - passed)
    assert services.deliver().messages == 1
    assert [got["reference"] for got in hook.journal] == [hook.journal[0]["reference"]] * 2


def test_failed_delivery_is_retried_with_same_ids(alice: User, hook: Receiver) -> None:
    hook.answers = [500, 503]
    channel = channel_to(alice, hook.url())
    (event_id,) = happen(fill(alice))
    assert services.deliver() == Delivered(1, 0, 1)
    assert services.deliver() == Delivered(0, 0, 0)  # it rests
    channel.refresh_from_db()
    assert channel.consecutive_failures == 1
    assert "500" in channel.last_error
    rested()
    services.deliver()
    assert statuses() == [("PENDING", 2)]
    rested()
    assert services.deliver() == Delivered(0, 1, 0)
    assert [got["events"][0]["id"] for got in hook.journal] == [event_id] * 3
    assert len({got["reference"] for got in hook.journal}) == 1
    channel.refresh_from_db()
    assert (channel.consecutive_failures, channel.last_error) == (0, "")
    assert statuses() == [("SENT", 3)]


def test_delivery_attempts_are_limited(alice: User, hook: Receiver) -> None:
    hook.answers = [500] * (delivery.MAX_TRIES + 5)
    channel_to(alice, hook.url())
    happen(fill(alice))
    services.deliver()
    for _ in range(delivery.MAX_TRIES + 3):
        rested()
        services.deliver()
    assert statuses() == [("FAILED", delivery.MAX_TRIES)]
    assert len(hook.journal) == delivery.MAX_TRIES


def test_a_redirect_is_not_followed(alice: User, hook: Receiver) -> None:
    hook.answers, hook.location = [302], hook.url("/elsewhere").replace("json", "http")
    channel_to(alice, hook.url("/hook"))
    happen(fill(alice))
    assert services.deliver().failures == 1
    assert hook.paths == ["/hook"]


def test_refused_host_is_not_retried(alice: User, hook: Receiver, settings: Settings) -> None:
    channel = channel_to(alice, hook.url(host="localhost"))
    set_setting("networks.outbound_networks", ())  # operators thought better of it
    happen(fill(alice))
    assert services.deliver().failures == 1
    assert statuses() == [("FAILED", 1)]
    channel.refresh_from_db()
    assert "localhost is in a network" in channel.last_error
    assert hook.journal == []


def test_errors_contain_no_url_secrets(alice: User, hook: Receiver) -> None:
    hook.answers = [404]
    url = f"json://user:canary-pass@127.0.0.1:{hook.port}/canary-path?-key=canary-query"
    channel = channel_to(alice, url)
    happen(fill(alice))
    services.deliver()
    channel.refresh_from_db()
    assert channel.last_error != ""
    assert "canary" not in channel.last_error
    assert "canary" not in Delivery.objects.get().last_error


def test_failing_channel_does_not_affect_other_tenants(
    alice: User, bob: User, hook: Receiver
) -> None:
    broken = channel_to(alice, hook.url())
    Channel.objects.filter(pk=broken.pk).update(url_sealed=b"no box")
    unreachable = channel_to(alice, "json://127.0.0.1:1/")
    channel_to(bob, hook.url("/bob"))
    happen(fill(alice), fill(bob))
    assert services.deliver() == Delivered(2, 1, 2)
    assert hook.paths == ["/bob"]
    unreachable.refresh_from_db()
    assert unreachable.last_error != ""


def test_no_transaction_is_open_while_sending(alice: User, hook: Receiver) -> None:
    channel_to(alice, hook.url())
    happen(fill(alice))
    open_ones: list[int] = []

    def look() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%%'"
            )
            open_ones.append(cursor.fetchone()[0])
        connection.close()

    hook.before_answer = look
    services.deliver()
    assert open_ones == [0]
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic():
        services.deliver()


def test_delivery_is_repeated_when_claim_of_dead_process_expires(
    alice: User, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def die(_: object) -> None:
        raise KilledError

    channel_to(alice, hook.url())
    (event_id,) = happen(fill(alice))
    with monkeypatch.context() as patched:
        patched.setattr(delivery, "_store", die)
        with pytest.raises(KilledError):
            services.deliver()
    assert services.deliver().messages == 0  # the claim still stands
    rested()
    assert services.deliver().messages == 1
    assert [got["events"][0]["id"] for got in hook.journal] == [event_id, event_id]
    assert statuses() == [("SENT", 1)]


def test_two_processes_do_not_send_same_delivery(alice: User, hook: Receiver) -> None:
    channel_to(alice, hook.url())
    happen(fill(alice))
    seconds: list[Delivered] = []

    def second() -> None:
        seconds.append(services.deliver())
        connection.close()

    def while_first_sends() -> None:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(60)

    hook.before_answer = while_first_sends
    assert services.deliver().messages == 1
    assert seconds == [Delivered(0, 0, 0)]
    assert len(hook.journal) == 1


def test_locked_channel_is_skipped_not_waited_for(alice: User, hook: Receiver) -> None:
    channel_to(alice, hook.url())
    happen(fill(alice))
    route_events(10)
    seconds: list[Delivered] = []

    def second() -> None:
        seconds.append(services.deliver())
        connection.close()

    with transaction.atomic():
        assert len(delivery._claim()) == 1
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(60)
        assert seconds == [Delivered(0, 0, 0)]
    assert hook.journal == []


def test_test_message_is_sent_immediately_despite_backoff(alice: User, hook: Receiver) -> None:
    hook.answers = [500]
    channel = channel_to(alice, hook.url())
    happen(fill(alice))
    services.deliver()
    services.send_test(channel_id=channel.pk)
    assert services.deliver().messages == 1
    assert "1 test message" in hook.journal[-1]["title"]


def test_email_channel_is_delivered(alice: User) -> None:
    channel = channel_to(alice, "mailto:alice@example.com")
    services.deliver()
    confirmation.confirm(channel.pk, confirmation.code_of(channel))
    rested()
    happen(*[fill(alice) for _ in range(50)])
    services.deliver()
    _, sent = mail.outbox
    assert sent.subject == "50 orders filled: S-1"


def test_inactive_channel_receives_nothing(alice: User, hook: Receiver) -> None:
    channel = channel_to(alice, hook.url())
    happen(fill(alice))
    Channel.objects.filter(pk=channel.pk).update(is_active=False)
    services.deliver()
    assert hook.journal == []


def test_many_channels_are_served_in_few_runs(alice: User, hook: Receiver) -> None:
    for number in range(delivery.MAX_CHANNELS + 4):
        channel_to(alice, hook.url(f"/{number}"))
    happen(fill(alice))
    assert [services.deliver().messages for _ in range(3)] == [delivery.MAX_CHANNELS, 4, 0]
    assert len(set(hook.paths)) == delivery.MAX_CHANNELS + 4
    assert Event.objects.filter(routed_at=None).count() == 0
    assert not Channel.objects.filter(backoff_until__lt=F("last_sent_at")).exists()


@given(failures=st.integers(0, 10**6), chance=st.floats(0, 1))
def test_backoff_grows_within_bounds(failures: int, chance: float) -> None:
    rest = delivery.backoff(failures, chance=chance)
    assert 2.5 <= rest <= 5400
    assert delivery.backoff(failures + 1, chance=chance) >= rest
