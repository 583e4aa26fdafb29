"""Health endpoints: whether this process is alive, and whether it is ready."""

from django.core.cache import cache
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from redis.exceptions import RedisError


def healthz(_request: HttpRequest) -> JsonResponse:
    """Answer 200 while the process is alive. Uses neither database nor Redis."""
    return JsonResponse({"ok": True})


def readyz(_request: HttpRequest) -> JsonResponse:
    """Answer 200 if the database answers, else 503.

    A missing Redis is reported but does not make the process unready: it only reduces latency.
    """
    checks = {"database": _database_answers(), "redis": _redis_answers()}
    return JsonResponse(
        {"ok": checks["database"], "checks": checks}, status=200 if checks["database"] else 503
    )


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True


def _redis_answers() -> bool:
    try:
        cache.get("readyz")
    except RedisError:
        return False
    return True
