"""The secret by which requests to a decision provider are signed: sealed, like credentials."""

from django.conf import settings

from common.errors import InvalidInputError
from common.reason_codes import Code
from common.sealing import CannotOpenError, is_sealed_with_key, open_sealed, seal
from connections.models import DecisionProvider
from connections.sealing import CredentialsError, sealing_key

MIN_LENGTH, MAX_LENGTH = 16, 200


def seal_secret(secret: str, provider: DecisionProvider) -> bytes:
    """Encrypt a secret for this provider and owner: only trading processes can read it.

    Raises InvalidInputError if it is too short or too long; MisconfiguredError without a key.
    """
    if not MIN_LENGTH <= len(secret) <= MAX_LENGTH:
        detail = f"The secret has {MIN_LENGTH} to {MAX_LENGTH} characters."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="secret")
    return seal(secret.encode(), context=_context(provider), public_key=sealing_key())


def open_secret(provider: DecisionProvider) -> bytes:
    """Return the secret. Raises CredentialsError NO_CREDENTIALS if no key here opens it."""
    try:
        return open_sealed(
            provider.secret_sealed or b"",
            context=_context(provider),
            private_keys=settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS,
        )
    except CannotOpenError as error:
        raise CredentialsError(
            Code.NO_CREDENTIALS, f"The provider's secret does not open. {error} Enter it again."
        ) from None


def is_secret_sealed_with_current_key(provider: DecisionProvider) -> bool:
    """Return whether the secret is sealed for the current key; without one, True."""
    sealed = provider.secret_sealed
    return not sealed or is_sealed_with_key(sealed, sealing_key())


def _context(provider: DecisionProvider) -> bytes:
    return f"connections.decisionprovider {provider.key} {provider.user_id}".encode()
