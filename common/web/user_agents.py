"""What a User-Agent header names, for people: the browser and its device. Pure."""

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
    """Return the browser and its device: `Chrome on Windows`. `A browser`: neither is known."""
    browser = browser_of(user_agent) or "A browser"
    device = device_of(user_agent)
    return f"{browser} on {device}" if device else browser


def browser_of(user_agent: str) -> str:
    """Return the browser; empty: not known."""
    return _first(BROWSERS, user_agent)


def device_of(user_agent: str) -> str:
    """Return the device or its system; empty: not known."""
    return _first(DEVICES, user_agent)


def _first(known: tuple[tuple[str, str], ...], user_agent: str) -> str:
    return next((name for part, name in known if part in user_agent), "")
