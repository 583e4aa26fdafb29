"""The messages about accounts, brokers' hosts and the installation. Pure."""

from common.reason_codes import Code
from common.web.formatting import age, join_first
from events.context import EventContext
from events.messages.parts import Lines, capital, connection, items


def connection_error(event: EventContext) -> Lines:
    return (f"{connection(event)} is in error", event.get("message"))


def inactive(event: EventContext) -> Lines:
    return (f"No contact with {connection(event)}", event.get("message"))


def recovered(event: EventContext) -> Lines:
    return (f"{connection(event)} works again", "")


def host_down(event: EventContext) -> Lines:
    failing, contacted = event.get("failing"), event.get("contacted")
    return (
        f"{event.get('host', 'A broker host')} does not answer",
        f"{failing} of {contacted} accounts could not be reached." if failing and contacted else "",
        "Entries wait until it answers; exits are still sent. It is probed automatically.",
        event.get("message"),
    )


def prices_lost(event: EventContext) -> Lines:
    seconds = event.payload.get("seconds")
    since = f" for {age(seconds)}" if isinstance(seconds, int) else ""
    return (
        f"No prices{since}: {event.get('name', 'a price source')}",
        "Something open needs them. Until they are back, the stops, targets and triggers that "
        "Fillcast guards do not fire; those that brokers hold still work.",
        event.get("message"),
        "Look at the source in the console, choose another one for the accounts that use it, or "
        "close by hand at the broker.",
    )


def prices_back(event: EventContext) -> Lines:
    seconds = event.payload.get("seconds")
    after = f" after {age(seconds)}" if isinstance(seconds, int) else ""
    return (
        f"Prices again{after}: {event.get('name', 'a price source')}",
        "Stops, targets and triggers are compared with them.",
    )


def prices_on_fallback(event: EventContext) -> Lines:
    return (
        f"{event.get('name', 'A price source')} uses its fallback: {_pairs(event)}",
        f"Its own prices are silent or suspect, so those of {event.get('fallback_name', 'another')}"
        " are used, shifted to where its own were: the change itself fires no stop, target or"
        " trigger.",
        "It returns automatically. Find out why the source is silent; entries and stops go on.",
    )


def prices_on_primary(event: EventContext) -> Lines:
    return (
        f"{event.get('name', 'A price source')} uses its own prices again: {_pairs(event)}",
        f"{event.get('fallback_name', 'Its fallback')} is no longer used.",
    )


def _pairs(event: EventContext) -> str:
    pairs = event.payload.get("pairs")
    return join_first([str(pair) for pair in pairs], 5) if isinstance(pairs, list) else "some pairs"


def host_up(event: EventContext) -> Lines:
    return (
        f"{event.get('host', 'A broker host')} answers again",
        "Orders that waited for it are sent now, unless they are too old.",
    )


def drift_found(event: EventContext) -> Lines:
    kind = event.get("kind", event.get("code"))
    code = Code(kind) if kind in Code.__members__ else None
    subject, detail = event.get("subject"), event.get("detail")
    return (
        f"We and the broker differ{f': {subject}' if subject else ''}",
        code.sentence if code else kind,
        capital(f"{detail}.") if detail else "",
        f"{code.hint if code else ''} Decide it on the account's page, or in the console's drift "
        "inbox.".lstrip(),
    )


def audit(event: EventContext) -> Lines:
    counters = event.payload.get("counters")
    wrong = [f"{name} {count}" for name, count in items(counters) if count]
    return ("The audit failed", ", ".join(wrong), event.get("detail"))


def not_judged(event: EventContext) -> Lines:
    accounts = event.payload.get("accounts")
    accounts = accounts if isinstance(accounts, list) else []
    listed = [account for account in accounts if isinstance(account, dict)]
    count = event.payload.get("count")
    total = count if isinstance(count, int) else len(listed)
    more = total - len(listed)
    return (
        f"The audit could not judge {'1 account' if total == 1 else f'{total} accounts'}",
        *(f"{account.get('name', '')}: {account.get('detail', '')}" for account in listed),
        f"And {more} more." if more > 0 else "",
        "No error is known for them, and nothing is proven. Start the workers that hold their "
        "sessions, or fix their connections; the dashboard lists all of them.",
    )


def trail_broken(event: EventContext) -> Lines:
    return (
        "The audit trail is broken",
        event.get("detail"),
        "A line was changed, removed or inserted outside Fillcast. Run `manage.py verify_trail` to "
        "see what is wrong, compare the trail with the head that you keep elsewhere, and treat it "
        "as an intrusion until you can explain it (docs/security.md). The alarm stays until a "
        "check passes.",
    )


def trail_intact(_event: EventContext) -> Lines:
    return ("The audit trail is intact again", "A check of every line has passed.")


def scheduler_late(event: EventContext) -> Lines:
    scanned = bool(event.payload.get("scanning"))
    return (
        f"The scheduler (beat) has not run for {seconds} s"
        if (seconds := event.get("seconds"))
        else "The scheduler (beat) has never run",
        "Stops and targets are still checked every minute: the workers do it themselves."
        if scanned
        else "Stops and targets that Fillcast guards are not checked every minute.",
        "Reconciliation, account balances and daily results are not updated. "
        "Restart the scheduler: `make up`, or the `beat` service of your deployment.",
    )


def scheduler_back(_event: EventContext) -> Lines:
    return ("The scheduler (beat) runs again", "Overdue tasks run now.")


def bus_late(event: EventContext) -> Lines:
    error = event.get("error")
    return (
        f"The bus {event.get('bus')} is {event.get('seconds')} s behind",
        f"It does not take events: {error}" if error else "No process delivers to it, or too few.",
        "Trading goes on; events are kept. See Buses in the console.",
    )


def bus_back(event: EventContext) -> Lines:
    return (f"The bus {event.get('bus')} has caught up", "It has all events again.")


def bus_not_received(event: EventContext) -> Lines:
    error = event.get("error")
    return (
        f"Nothing is received from the bus {event.get('bus')} since {event.get('seconds')} s",
        f"Last error: {error}" if error else "Does the process manage.py bus_receiver run?",
        "Approved signals, closes among them, and fills of foreign connectors wait in the bus. See"
        " manage.py doctor, and docs/incidents/bus.md.",
    )


def bus_received(event: EventContext) -> Lines:
    return (
        f"The bus {event.get('bus')} is received again",
        "What waited is taken now; entries that are too old are dead letters.",
    )


def bus_message_refused(event: EventContext) -> Lines:
    count, closes = event.payload.get("count"), event.payload.get("closes") is True
    name = "CLOSE" if closes else "message"
    what = f"{count} {name}s were" if isinstance(count, int) and count > 1 else f"A {name} was"
    return (
        f"{what} not carried out: {event.get('subject')}",
        f"{event.get('code')}: {event.get('detail')}",
        "What it should close may still be open: close it by hand if it must not wait."
        if closes
        else "",
        "See Messages from buses in the console; replay them there once the cause is gone.",
    )


def clock_set_back(event: EventContext) -> Lines:
    seconds = event.payload.get("seconds")
    far = f" by {age(seconds)}" if isinstance(seconds, int | float) else ""
    return (
        f"The clock of the database was set back{far}",
        "Stored times that lay in the future were set to now, so that stops, schedules, retries "
        "and leases go on. Durations of that time are too short.",
        "Synchronize the clocks (chrony, NTP), so that they are never set back at once, and check "
        "what is open at your brokers. `manage.py doctor` states what is left.",
    )


def settings_refused(event: EventContext) -> Lines:
    what = event.payload.get("what") or "A document of the operational settings"
    stays = event.payload.get("stays")
    in_force = f"Version {stays} stays" if stays else "What was in force stays"
    effect = event.get("effect", f"{in_force} in force; trading goes on.")
    faults = event.payload.get("faults")
    return (
        f"{what} is refused",
        f"{effect} " + " ".join(map(str, faults if isinstance(faults, list) else [])),
        "Correct it, or restore a version: console, Settings.",
    )
