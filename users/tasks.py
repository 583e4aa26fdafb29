"""Tasks: check the audit trail, notify of API keys that end, send mails about logins, clear up."""

import structlog
from celery import shared_task

from common.db.audit_trail_check import checkpoint, verify
from users.keys.notices import notify_key_ends
from users.mails.account_mails import send_due
from users.people.data_export import build_next
from users.sign_in.session_store import SessionStore
from users.trail_alarm import raise_alarm, trail_status

log = structlog.get_logger(__name__)
UNEXPLAINED = "A line after the last checkpoint does not match, or the checkpoint's line is gone."


@shared_task(name="users.checkpoint_trail", ignore_result=True)
def checkpoint_trail() -> None:
    """Check the new lines and sign the head of the trail; raise the alarm if they are wrong."""
    if checkpoint() is not None:
        return
    log.error("audit_trail_broken", remedy="run manage.py verify_trail to see what is wrong")
    if not trail_status().is_broken:
        raise_alarm(verify().wrong or [UNEXPLAINED])


@shared_task(name="users.notify_key_ends", ignore_result=True)
def notify_of_key_ends() -> None:
    """Notify the owners of API keys that end soon or have ended."""
    notify_key_ends()


@shared_task(name="users.send_account_mails", ignore_result=True)
def send_account_mails() -> None:
    """Send the due mails about logins."""
    send_due()


@shared_task(name="users.build_data_exports", ignore_result=True)
def build_data_exports() -> None:
    """Make the next archive that a user asked for: one, as other work waits in the same queue."""
    build_next()


@shared_task(name="users.delete_ended_sessions", ignore_result=True)
def delete_ended_sessions() -> None:
    """Delete the sessions that have ended, and what was typed into forms and kept in them."""
    SessionStore.clear_expired()
