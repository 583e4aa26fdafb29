"""How much memory PostgreSQL gets of a server."""

import os

SHARE = 0.4  # of the machine; ten processes of Fillcast and the system have the rest
LEAST, MOST = 512, 65536


def machine_megabytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_048_576


def postgres_settings(machine: int) -> "dict[str, str]":
    """Return PostgreSQL's settings for a machine with so many megabytes.

    shared_buffers is a quarter of what PostgreSQL may use, as its manual recommends.
    """
    limit = min(max(int(machine * SHARE), LEAST), MOST)
    return {
        "POSTGRES_MEMORY": f"{limit}m",
        "POSTGRES_SHARED_BUFFERS": f"{limit // 4}MB",
        "POSTGRES_CACHE_SIZE": f"{limit * 3 // 4}MB",
        "POSTGRES_MAINTENANCE_MEMORY": f"{min(limit // 16, 1024)}MB",
    }
