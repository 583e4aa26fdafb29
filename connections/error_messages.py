"""Explain errors of broker calls to the owner of the account."""

from dataclasses import dataclass

from brokers.base import BrokerError
from brokers.types import Check, CheckResult
from common.errors import FillcastError, MisconfiguredError
from common.reason_codes import Code


@dataclass(frozen=True, slots=True)
class ErrorExplanation:
    """An error as sentences for the owner; secrets are not redacted yet.

    about: the cause (`broker`, `settings`, `installation`, `program`). message: what happened.
    remedy: what to do.
    """

    about: str
    code: Code
    message: str
    remedy: str

    @property
    def is_ours(self) -> bool:
        """Whether it is a bug of ours."""
        return self.about == "program"

    @property
    def as_check(self) -> Check:
        """The explanation as a failed check of a connection test."""
        return Check(self.about, CheckResult.FAIL, self.message, self.remedy)


def explain(error: Exception, broker_type: str) -> ErrorExplanation:
    """Explain any error of an account of this broker type, and what its owner should do."""
    if isinstance(error, BrokerError):
        message = f"{error.code.sentence} {error.detail}".strip()
        return ErrorExplanation("broker", error.code, message, error.code.hint)
    if isinstance(error, FillcastError):
        return ErrorExplanation("settings", error.code, error.detail, error.code.hint)
    if isinstance(error, MisconfiguredError):
        remedy = "Contact the operators."
        return ErrorExplanation("installation", Code.INSTALLATION_FAULT, str(error), remedy)
    if isinstance(error, ImportError):
        return ErrorExplanation(
            "installation",
            Code.LIBRARY_MISSING,
            f"This process has no library for {broker_type} accounts{_library_name(error)}.",
            "Ask the operators to start a worker that has it.",
        )
    if isinstance(error, TimeoutError):
        return ErrorExplanation(
            "broker",
            Code.BROKER_UNREACHABLE,
            "The broker did not answer in time.",
            "Check host and port, and that the broker's program runs; then test again.",
        )
    if isinstance(error, OSError):
        return ErrorExplanation(
            "broker",
            Code.BROKER_UNREACHABLE,
            f"The broker could not be reached ({error.strerror or type(error).__name__}).",
            "Check host, port and network; then test again.",
        )
    return ErrorExplanation(
        "program",
        Code.UNEXPECTED,
        f"An internal error occurred ({type(error).__name__}).",
        "Contact the operators; the log has the details.",
    )


def _library_name(error: ImportError) -> str:
    return f" ({error.name})" if error.name else ""
