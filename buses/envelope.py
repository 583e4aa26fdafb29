"""An event as buses carry it: the envelope of CloudEvents 1.0 around data of one schema."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

SPECIFICATION = "1.0"


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event.

    id: unique among all installations and stable: an event that is sent again has it again.
    source: this installation, "/fillcast/<installation tag>". type: with the version of its schema,
    "fillcast.order_update.v1". time: machine time, aware. subject: what it is about, such as
    "orders/17". account_id: the id of the connection; None: it is about no account. tenant_id: the
    id of the account's owner; None: operators only. data: JSON that follows the schema of `type`;
    amounts are decimal text.
    """

    id: str
    source: str
    type: str
    time: datetime
    subject: str
    account_id: str | None
    tenant_id: int | None
    data: dict[str, Any]

    def attributes(self) -> dict[str, str]:
        """Return the attributes of CloudEvents without the data, as headers have them."""
        found = {
            "specversion": SPECIFICATION,
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": self.time.isoformat(timespec="microseconds"),
            "subject": self.subject,
            "datacontenttype": "application/json",
        }
        if self.account_id is not None:
            found["accountid"] = self.account_id
        if self.tenant_id is not None:
            found["tenantid"] = str(self.tenant_id)
        return found

    def to_json(self) -> bytes:
        """Return the event in the structured mode of CloudEvents, on one line."""
        return orjson.dumps({**self.attributes(), "data": self.data})
