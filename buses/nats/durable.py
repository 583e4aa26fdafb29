"""A durable consumer: whose it is, whether it reads what we need, and where a new one begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from buses.sinks import SinkUnavailable

if TYPE_CHECKING:
    from nats.js.api import ConsumerInfo

log = structlog.get_logger(__name__)
UNLIMITED = (None, 0, -1)  # deliveries of a message


class Place(NamedTuple):
    """How far a consumer has acknowledged a stream. created: of the stream; another one counts from
    1. sequence: all up to it is acknowledged."""

    consumer: str
    stream: str = ""
    created: str = ""
    sequence: str = ""


def start_of(kept: Mapping[str, str], place: Place) -> dict[str, Any]:
    """Return the settings by which a new consumer begins where the last one was.

    kept: the place of that, {} if there was none. place: the new one. What was published before an
    installation listened was not for it: a copy with a tag of its own begins with what is new.
    """
    from nats.js.api import DeliverPolicy

    if (kept.get("consumer"), kept.get("stream")) != (place.consumer, place.stream):
        return {"deliver_policy": DeliverPolicy.NEW}
    log.warning("bus consumer was lost and is made again", **kept)
    if kept["created"] != place.created:  # nothing of this stream was read
        return {"deliver_policy": DeliverPolicy.ALL}
    after = int(kept["sequence"]) + 1
    return {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": after}


def require_ours(found: ConsumerInfo, database: str) -> None:
    """Raise SinkUnavailable if a consumer is another database's: each would get a part.

    database: the server's identity, a slash and the name. A server that hides its identity is known
    by the name alone.
    """
    theirs = (found.config.metadata or {}).get("database", database)
    (server, _, name), (their_server, _, their_name) = (
        one.partition("/") for one in (database, theirs)
    )
    if name == their_name and (server == their_server or not server or not their_server):
        return
    edit = f"nats consumer edit {found.stream_name} {found.name} --metadata database={database}"
    raise SinkUnavailable(
        f"the consumer {found.name} belongs to another database with the same"
        " FILLCAST_INSTALLATION_TAG: give this installation a tag of its own. If it replaces the"
        f" other one for good, stop that, then: {edit}; do not delete it, or what waits in it may"
        " be lost, closes among it"
    )


def require_fit(found: ConsumerInfo, subject: str) -> None:
    """Raise SinkUnavailable if a consumer reads other subjects than ours, or gives messages up."""
    config = found.config
    edit = f"nats consumer edit {found.stream_name} {found.name}"
    subjects = list(config.filter_subjects or [config.filter_subject or ">"])
    if subjects != [subject]:
        raise SinkUnavailable(
            f"the consumer {found.name} reads {', '.join(subjects)}, not {subject}: correct the"
            f" prefix in the URL, or: {edit} --filter '{subject}'; what waits by other subjects is"
            " then skipped"
        )
    if config.max_deliver not in UNLIMITED:
        raise SinkUnavailable(
            f"the consumer {found.name} gives a message up after {config.max_deliver} deliveries:"
            f" {edit} --max-deliver=-1"
        )
