"""What went wrong when a broker was asked, in words for who owns the account."""

from dataclasses import dataclass

from brokers.base import BrokerError
from brokers.types import Check, CheckResult
from common.errors import FillcastError, MisconfiguredError
from common.reason_codes import Code


@dataclass(frozen=True, slots=True)
class ErrorExplanation:
    """about: whose matter it is (`broker`, `settings`, `installation`, `program`). said, to_do:
    what is so, in whole sentences, and what helps. No secret is blacked out yet."""

    about: str
    code: Code
    message: str
    remedy: str

    @property
    def is_ours(self) -> bool:
        """Whether it is a fault of our own program."""
        return self.about == "program"

    @property
    def as_check(self) -> Check:
        """It as a failed line of a connection test."""
        return Check(self.about, CheckResult.FAIL, self.message, self.remedy)


def explain(error: Exception, broker_type: str) -> ErrorExplanation:
    """Turn any error into words that say what the owner of an account of this kind should do."""
    if isinstance(error, BrokerError):
        message = f"{error.code.sentence} {error.detail}".strip()
        return ErrorExplanation("broker", error.code, message, error.code.hint)
    if isinstance(error, FillcastError):
        return ErrorExplanation("settings", error.code, error.detail, error.code.hint)
    if isinstance(error, MisconfiguredError):
        remedy = "Tell the operators."
        return ErrorExplanation("installation", Code.INSTALLATION_FAULT, str(error), remedy)
    if isinstance(error, ImportError):
        return ErrorExplanation(
            "installation", Code.LIBRARY_MISSING,
            f"This process has no library for {broker_type} accounts{_library_name(error)}.",
            "Tell the operators to start a worker that has it.",
        )  # fmt: skip
    if isinstance(error, TimeoutError):
        return ErrorExplanation(
            "broker", Code.BROKER_UNREACHABLE, "The broker did not answer in time.",
            "Check host and port, and that the broker's program runs; then test again.",
        )  # fmt: skip
    if isinstance(error, OSError):
        return ErrorExplanation(
            "broker", Code.BROKER_UNREACHABLE,
            f"The broker could not be reached ({error.strerror or type(error).__name__}).",
            "Check host, port and network; then test again.",
        )  # fmt: skip
    return ErrorExplanation(
        "program", Code.UNEXPECTED, f"Our own program failed ({type(error).__name__}).",
        "Tell the operators; the log has the place.",
    )  # fmt: skip


def _library_name(error: ImportError) -> str:
    return f" ({error.name})" if error.name else ""
