"""The texts of mails about a login. Reads users; sends nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from users.lookups import with_confirmed_address
from users.mails import links
from users.models import AccountMail, User

Kind = AccountMail.Kind
HOURS = f"{links.LIFE.total_seconds() / 3600:.0f} hours"


@dataclass(frozen=True, slots=True)
class MailText:
    """Subject and body of a mail, and the stored address of its user; "": the one asked for."""

    subject: str
    body: str
    to: str = ""


def text_of(mail: AccountMail) -> MailText | None:
    """Return what to send; None if there is nothing to say to this address (any more)."""
    return _TEXTS[Kind(mail.kind)](mail)


def users_of_address(address: str) -> list[User]:
    """Return the active users who have confirmed this address: at most one."""
    return [user for user in with_confirmed_address(address) if user.is_active]


def _sign_up(mail: AccountMail) -> MailText:
    for user in users_of_address(mail.address):
        return MailText(
            "You already have a Fillcast login",
            f"A person, probably you, asked for a new login with this address. You have one: your"
            f" user name is {user.get_username()}.\n\n"
            f"Sign in: {links.page_link('/login/')}\n"
            f"Forgot your password? {links.page_link('/forgot-password/')}\n\n"
            "If it was not you, you need not do anything: nothing was changed.",
            to=user.email,
        )
    return MailText(
        "Finish your Fillcast login",
        f"Choose a user name and a password here:\n{links.sign_up_link(mail.address)}\n\n"
        f"The link works once, for {HOURS}. If you did not ask for it, ignore this mail: without"
        " the link no login is made.",
    )


def _reset(mail: AccountMail) -> MailText | None:
    for user in users_of_address(mail.address):
        return MailText(
            "Set a new password",
            f"Set a new password for {user.get_username()} here:\n{links.reset_link(user)}\n\n"
            "The link works once, for an hour. Your second factor stays, and so do your API keys,"
            " orders and positions.\n\n"
            "If you did not ask for it, ignore this mail: your password stays as it is.",
            to=user.email,
        )
    return None


def _confirm(mail: AccountMail) -> MailText | None:
    user = User.objects.filter(pk=mail.user_id or 0, is_active=True, email=mail.address).first()
    if user is None or user.email_confirmed_at is not None:
        return None
    if users_of_address(mail.address):
        return MailText(
            "This address belongs to another Fillcast login",
            f"The user {user.get_username()} entered this address. It already belongs to another"
            " login, so it was not confirmed. Use that login, or enter another address on the"
            f" profile page: {links.page_link('/profile/')}\n\n"
            "If this was not you, you need not do anything: nothing was changed.",
        )
    return MailText(
        "Confirm your address",
        f"Confirm that {user.get_username()} on Fillcast reads this address:\n"
        f"{links.confirm_link(user.pk, mail.address)}\n\n"
        f"The link works once, for {HOURS}. Then you can set a new password by mail if you forget"
        " yours. If this was not you, ignore this mail.",
    )


def _password_reset(mail: AccountMail) -> MailText:
    return MailText(
        "Your password was replaced",
        f"The password of {mail.name} was replaced by a link that was sent to this address. All"
        " sessions were signed out.\n\nIf it was not you, set a new one at once:"
        f" {links.page_link('/forgot-password/')} Then look at your sessions and API keys:"
        f" {links.page_link('/security/')}",
    )


def _address_changed(mail: AccountMail) -> MailText:
    return MailText(
        "Your Fillcast address was changed",
        f"The login {mail.name} has another e-mail address now; this one is no longer used.\n\n"
        "If it was not you, sign in, change your password and enter your address again:"
        f" {links.page_link('/profile/')} If you cannot sign in, ask an administrator.",
    )


def _deleted(mail: AccountMail) -> MailText:
    return MailText(
        "Your Fillcast login was deleted",
        f"The login {mail.name} was deleted, as asked on its page. No one can sign in with it."
        " If it was not you, ask an administrator at once.",
    )


_TEXTS: Mapping[Kind, Callable[[AccountMail], MailText | None]] = {
    Kind.SIGN_UP: _sign_up,
    Kind.RESET: _reset,
    Kind.CONFIRM: _confirm,
    Kind.PASSWORD_RESET: _password_reset,
    Kind.ADDRESS_CHANGED: _address_changed,
    Kind.DELETED: _deleted,
}
