"""A browser's name for people, guessed from its user agent: `Chrome on Windows`. Pure."""

BROWSERS = (  # the first that is found counts: most name Chrome and Safari besides themselves
    ("SamsungBrowser", "Samsung Internet"), ("Edg", "Edge"), ("OPR", "Opera"),
    ("Vivaldi", "Vivaldi"), ("Firefox", "Firefox"), ("FxiOS", "Firefox"), ("CriOS", "Chrome"),
    ("Chrome", "Chrome"), ("Chromium", "Chromium"), ("Safari", "Safari"),
)  # fmt: skip
DEVICES = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("CrOS", "ChromeOS"),
    ("Windows", "Windows"), ("Macintosh", "Mac"), ("Linux", "Linux"),
)  # fmt: skip


def browser_label(user_agent: str) -> str:
    """Return the browser and device of a user agent; `A browser` if neither is recognised."""
    browser = _first(BROWSERS, user_agent) or "A browser"
    device = _first(DEVICES, user_agent)
    return f"{browser} on {device}" if device else browser


def _first(known: tuple[tuple[str, str], ...], user_agent: str) -> str:
    return next((name for part, name in known if part in user_agent), "")
