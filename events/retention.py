"""Which events, deliveries and webhook messages may be archived. docs/retention.md.

An event goes after its deliveries, a message after its attempts: what is still to be sent, and what
a person can send again, has all that it is made of.
"""

from common.archive.kinds import ArchiveKind

# The result of a channel's last test message is shown for as long as there is the channel.
_DELIVERY_IS_OVER = """r.status <> 'PENDING' AND NOT EXISTS (
  SELECT FROM events_channel c WHERE c.id = r.channel_id AND c.test_event_id = r.event_id)"""
_EVENT_IS_OVER = """r.routed_at IS NOT NULL AND NOT EXISTS (
  SELECT FROM events_delivery d WHERE d.event_id = r.id)"""
_ATTEMPT_IS_OVER = """EXISTS (SELECT FROM events_webhookmessage m
  WHERE m.id = r.message_id AND m.status <> 'PENDING' AND m.created_at < %(cutoff)s)"""
_MESSAGE_IS_OVER = """r.status <> 'PENDING' AND NOT EXISTS (
  SELECT FROM events_webhookattempt a WHERE a.message_id = r.id)"""

KINDS = (
    ArchiveKind(
        name="webhook-attempts",
        what="Tries to send messages to webhooks and browsers",
        setting="webhook_days",
        table="events_webhookattempt",
        times=("at",),
        removable=_ATTEMPT_IS_OVER,
    ),
    ArchiveKind(
        name="webhook-messages",
        what="Messages to webhooks and browsers",
        setting="webhook_days",
        table="events_webhookmessage",
        times=("created_at",),
        removable=_MESSAGE_IS_OVER,
    ),
    ArchiveKind(
        name="deliveries",
        what="Deliveries of events to channels",
        setting="delivery_days",
        table="events_delivery",
        times=("sent_at", "due_at"),
        removable=_DELIVERY_IS_OVER,
    ),
    ArchiveKind(
        name="events",
        what="Events that were routed and have no delivery left",
        setting="event_days",
        table="events_event",
        times=("created_at",),
        removable=_EVENT_IS_OVER,
        filters={"account": "connection_id", "order": "order_id", "signal": "signal_id"},
    ),
)
"""In the order in which they are archived."""
