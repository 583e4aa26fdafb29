"""Mails about a login: links to sign up, to set a new password and to confirm an address.

A page only stores that a mail was asked for; a worker decides what is sent. So a page takes the
same steps for an address that has a login and for one that has none, and its answer shows no
difference. The worker makes the link when it sends it: the time for which it works begins then.

A mail is sent at least once: if a process dies after sending and before storing that, it is sent
again. Two mails of the same kind carry links that work once together.
"""

from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction

from common.db.sql import periodic_rows, rows, run
from users.mails import texts as mail_texts
from users.models import AccountMail

log = structlog.get_logger(__name__)
MAX_MAILS, MAX_TRIES = 20, 8
CLAIM_SECONDS = 300.0  # longer than a run takes: MAX_MAILS × EMAIL_TIMEOUT
KEPT_FOR = timedelta(days=30)

# Without RETURNING: the web process may add these rows and read none of them.
ADD = """
INSERT INTO users_accountmail (kind, address, user_id, name)
VALUES (%(kind)s, %(address)s, %(user_id)s, %(name)s)
"""
ANY_TO_DO = """
SELECT id FROM users_accountmail WHERE done_at IS NULL AND due_at <= clock_timestamp()
  OR done_at < clock_timestamp() - %(kept)s::interval LIMIT 1
"""
CLAIM = """
UPDATE users_accountmail SET tries = tries + 1,
  due_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE id IN (SELECT id FROM users_accountmail WHERE done_at IS NULL AND due_at <= clock_timestamp()
  ORDER BY due_at LIMIT %(most)s FOR UPDATE SKIP LOCKED)
RETURNING id, kind, address, user_id, name, tries
"""
DONE = """
UPDATE users_accountmail SET done_at = clock_timestamp(), outcome = %(outcome)s
WHERE id = %(id)s AND done_at IS NULL
"""
AGAIN = """
UPDATE users_accountmail SET outcome = %(outcome)s,
  due_at = clock_timestamp() + make_interval(secs => %(seconds)s),
  done_at = CASE WHEN tries >= %(most)s THEN clock_timestamp() END
WHERE id = %(id)s AND done_at IS NULL
"""
PURGE = """
DELETE FROM users_accountmail WHERE id IN (SELECT id FROM users_accountmail
  WHERE done_at < clock_timestamp() - %(kept)s ORDER BY done_at LIMIT 1000)
"""


@dataclass(frozen=True, slots=True)
class MailStatus:
    """Whether mails reach people.

    missing: the settings without which none does. is_printed: they are printed in the log of the
    worker that sends them, which only a development installation counts as sent.
    """

    missing: tuple[str, ...]
    is_printed: bool = False

    @property
    def works(self) -> bool:
        """Whether a mail can be sent at all."""
        return not self.missing


def mail_status() -> MailStatus:
    """Return what this installation lacks to send mails with links."""
    backend = str(settings.EMAIL_BACKEND)
    prints, is_production = ".console." in backend, settings.FILLCAST_ENV == "production"
    missing = []
    if ".dummy." in backend or (prints and is_production):
        missing.append("FILLCAST_EMAIL_URL")
    if is_production and not settings.HAS_PUBLIC_URL:
        missing.append("FILLCAST_PUBLIC_URL")
    return MailStatus(tuple(missing), is_printed=prints and not missing)


def ask_for_mail(
    kind: AccountMail.Kind, address: str, *, user_id: int | None = None, name: str = ""
) -> None:
    """Store that this mail must be sent. In the caller's transaction, if there is one.

    name: the user's, for a mail about a user who will no longer have it.
    """
    run(ADD, {"kind": kind.value, "address": address, "user_id": user_id, "name": name})


def send_due() -> int:
    """Send the due mails; return how many were sent. Must not be called inside a transaction."""
    if transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("No network inside a transaction.")
    if not periodic_rows(ANY_TO_DO, {"kept": KEPT_FOR}):
        return 0
    with transaction.atomic():
        claimed = rows(CLAIM, {"seconds": CLAIM_SECONDS, "most": MAX_MAILS})
        if not claimed:
            run(PURGE, {"kept": KEPT_FOR})
    return sum(_send(AccountMail(**row._asdict())) for row in claimed)


def _send(mail: AccountMail) -> bool:
    """Send one mail and store the outcome; one that needs no mail is done."""
    text = mail_texts.text_of(mail)
    if text is None:
        run(DONE, {"id": mail.pk, "outcome": "Nothing to send."})
        return False
    headers = {"Auto-Submitted": "auto-generated", "X-Fillcast-Mail": str(mail.pk)}
    try:
        EmailMessage(
            text.subject, text.body, None, [text.to or mail.address], headers=headers
        ).send()
    except (OSError, ValueError) as error:  # smtplib's errors too; an address that cannot be sent
        log.warning("account_mail_not_sent", mail_id=mail.pk, error=type(error).__name__)
        outcome = f"The mail server did not accept it: {type(error).__name__}."
        seconds = min(15.0 * 2.0**mail.tries, 3600.0)
        run(AGAIN, {"id": mail.pk, "outcome": outcome, "seconds": seconds, "most": MAX_TRIES})
        return False
    run(DONE, {"id": mail.pk, "outcome": "Sent."})
    return True
