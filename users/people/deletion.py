"""The end of a login: nothing of it can sign in, call or receive any more; its row stays."""

from django.utils import timezone

from events.models import Channel
from users.mails.account_mails import ask_for_mail, mail_status
from users.models import AccountMail, ApiKey, DataExport, RecoveryCode, SecondFactor, User
from users.people.sign_up import DELETED_PREFIX
from users.sign_in.login_sessions import end_sessions


def remove_login(user: User) -> None:
    """Remove what identifies the user and what opens the login. In the user's transaction."""
    name, address = user.get_username(), user.email
    is_proven = user.email_confirmed_at is not None
    ApiKey.objects.filter(user=user, revoked_at=None).update(revoked_at=timezone.now())
    Channel.objects.filter(user=user).delete()
    DataExport.objects.filter(user=user).delete()
    RecoveryCode.objects.filter(user=user).delete()
    SecondFactor.objects.filter(user=user).delete()
    end_sessions(user)
    if is_proven and mail_status().works:
        ask_for_mail(AccountMail.Kind.DELETED, address, name=name)
    user.set_unusable_password()
    User.objects.filter(pk=user.pk).update(
        username=f"{DELETED_PREFIX}{user.pk}",
        password=user.password,
        email="",
        email_confirmed_at=None,
        full_name="",
        first_name="",
        last_name="",
        is_active=False,
    )
