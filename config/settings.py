"""Django's settings. config/env.py reads those that may differ between installations."""

import os
import secrets
from typing import Any

import environ

from common import failpoints
from common.operational.source import followed
from config.databases import databases
from config.env import Settings
from config.installation import ROOT, read_env_file
from config.logs import configure_structlog, first_level, log_format, logging_config
from console import unfold_settings

BASE_DIR = ROOT
read_env_file()
env = Settings.read(os.environ)

# --- Fillcast's own settings
FILLCAST_ENV = env.env
FILLCAST_VAR = BASE_DIR / env.var
FILLCAST_PUBLIC_URL = env.address
HAS_PUBLIC_URL = bool(env.public_url)  # otherwise links lead to this machine
FILLCAST_INSTALLATION_TAG = env.installation_tag
FILLCAST_SETTINGS_SOURCE = env.settings_source or ""
FOLLOWED_SETTINGS_SOURCE = followed(FILLCAST_SETTINGS_SOURCE, production=env.production)
FILLCAST_TRUSTED_PROXIES = env.trusted_proxies
FILLCAST_METRICS_TOKEN = env.metrics_token
FILLCAST_DB_ROLE = env.db_role
FILLCAST_CREDENTIALS_PUBLIC_KEY = env.credentials_public_key
FILLCAST_CREDENTIALS_PRIVATE_KEYS = env.credentials_private_keys
FILLCAST_PUSH_PUBLIC_KEY = env.push_public_key
FILLCAST_PUSH_PRIVATE_KEYS = env.push_private_keys
FILLCAST_LEASE_SECONDS = env.lease_seconds
SINKS = env.sinks
INCOMING_BUSES = env.incoming_buses
failpoints.arm(env.rehearsal.failpoints)

# --- Django
DEBUG = env.env == "debug"
SECRET_KEY = env.secret_key or secrets.token_urlsafe(48)
ALLOWED_HOSTS = env.hosts
CSRF_FAILURE_VIEW = "portal.stale_forms.csrf_failure"
CSRF_TRUSTED_ORIGINS = env.origins
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "users.User"
APPEND_SLASH = True

INSTALLED_APPS = [
    "console.site.UnfoldConfig",  # before the admin, whose templates it replaces
    "unfold.contrib.filters",
    "console.apps.AdminPagesConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "django_celery_beat",
    "django_structlog",
    "django_htmx",
    "common",
    "users",
    "events",
    "signals",
    "alerts",
    "connections",
    "prices",
    "positions",
    "execution",
    "analytics",
    "buses",
    "api",
    "portal",
    "brokers.paper",
    "conformance",
    "ops",
    "demo",
    "console",
    "config",
]

MIDDLEWARE = [
    "api.request_metrics.RequestMetricsMiddleware",  # times all others, too
    # before the others, which use the client address that it sets
    "config.middleware.proxies.ProxyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.security_headers.SecurityHeadersMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "config.middleware.second_factor.SecondFactorMiddleware",
    "users.sign_in.login_sessions.LastSeenMiddleware",
    "portal.last_user.LastUserMiddleware",
    "portal.sign_in.PasswordHashingMiddleware",  # slow, so outside the transaction
    # before TenantMiddleware, whose transaction it retries
    "config.middleware.request_retry.RetryMiddleware",
    "users.middleware.TenantMiddleware",  # after authentication: it needs the user
    "portal.time_zone.TimeZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.middleware.unusable_urls.UnusableUrlMiddleware",
    "portal.sign_in.SignInLimitMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "console" / "templates"],  # before unfold's own
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- Data
DATABASES = databases(env)
REDIS_URL = env.redis_url or "redis://REDIS_URL-is-not-set.invalid"
CACHES = {
    "default": {
        "BACKEND": "common.process.redis_cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "fillcast",
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
    }
}
SESSION_ENGINE = "users.sign_in.session_store"  # the database: losing Redis signs no user out

# --- Time and language
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = True
LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = "config.formats"

# --- Static files: the web process serves them
STATIC_URL = "static/"
STATIC_ROOT = FILLCAST_VAR / "static"
WHITENOISE_USE_FINDERS = not env.production  # development has no collectstatic step:
WHITENOISE_AUTOREFRESH = not env.production  # each file is found when it is requested
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if env.production
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# --- Users
AUTHENTICATION_BACKENDS = ["users.sign_in.services.PasswordBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
PASSWORD_RESET_TIMEOUT = 3600  # seconds for which the link of a forgotten password works
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"

# --- Web security
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # kept only from trusted proxies
if env.production and not env.is_trial:  # TLS ends at the proxy; see deploy/
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [
        r"^healthz$",
        r"^readyz$",
        r"^metrics$",
    ]  # probed locally, without TLS
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000  # of a body: config/middleware/body_limit.py
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * DATA_UPLOAD_MAX_MEMORY_SIZE  # no body reaches the disk
FILE_UPLOAD_HANDLERS = ["config.uploads.NoFiles"]

# --- API
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "api.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["api.permissions.HasRight"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "api.negotiation.Negotiation",
    "DEFAULT_PARSER_CLASSES": ["api.parsing.StrictJSONParser"],
    "DEFAULT_FILTER_BACKENDS": [
        "api.filters.CheckedFilters",
        "api.filters.CheckedOrdering",
    ],
    "DEFAULT_PAGINATION_CLASS": "api.pagination.Pages",
    "DEFAULT_THROTTLE_CLASSES": ["api.throttling.ScopeThrottle"],
    "DEFAULT_SCHEMA_CLASS": "api.openapi.ScopedSchema",
    "EXCEPTION_HANDLER": "api.problems.handle",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Fillcast",
    "DESCRIPTION": (
        "Fillcast executes a published trading signal: at most once on each account, and a stated"
        " reason where not."
    ),
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "SlippageUnitEnum": "common.units.CHOICES",
        "OrderStatusEnum": "execution.models.Status",
        "HealthStatusEnum": "connections.models.HealthStatus",
        "DirectionEnum": "signals.models.Direction",
        "GuardianEnum": "positions.models.Guardian",
        "ActionEnum": "signals.models.Action",
        "StopRuleUnitEnum": "common.stop_rules.UNIT_CHOICES",
        "OffsetUnitEnum": "common.stop_rules.OFFSET_UNITS",
        "AtrMinutesEnum": "signals.models.ATR_CHOICES",
        "AfterStateEnum": "signals.models.AfterState",
        "RuleOriginEnum": "positions.models.RuleOrigin",
        "LossActionEnum": "connections.models.LossAction",
        "UnitEnum": "connections.models.loss_limits.LossUnit",
        "AlertStateEnum": "alerts.models.AlertState",
        "PreflightStateEnum": "analytics.models.Preflight.State",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.schema.add_problems",
        "api.effects.add_effects",
        "api.reference.describe",
        "api.headers.add_headers",
    ],
}

# --- Celery: the row is the job, its message only starts it sooner
CELERY_BROKER_URL = env.queue_url or REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "maintenance"  # trading tasks are routed by name
# the sender names the queue of exits
CELERY_TASK_ROUTES = {
    "ExecuteSignal": {"queue": "execution"},
    "alerts.publish_alerts": {"queue": "execution"},
}
CELERY_DB_REUSE_MAX = 10_000  # otherwise each task opens a new connection
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for its queues without limit
# Enqueueing fails fast while the server is unreachable. The names of time-outs are the library's.
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, float] = {
    **(
        {"connect_timeout": 2, "read_timeout": 5, "write_timeout": 5}
        if env.queue_url
        else {"socket_timeout": 5, "socket_connect_timeout": 2}
    ),
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.2,
}
# Of queues in RabbitMQ, which takes the highest first, and what names none comes first in Redis.
CELERY_TASK_QUEUE_MAX_PRIORITY = 9
CELERY_TASK_DEFAULT_PRIORITY = 9 if env.queue_url else None
CELERY_TASK_DEFAULT_DELIVERY_MODE = "transient"
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "config.beat:BeatScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1  # so that a schedule of one second works
CELERY_BEAT_SYNC_EVERY = 0  # config.beat stores runs by time

# --- Logs and e-mail
DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False  # config/logs.py binds the address
LOGGING = logging_config(
    log_format(is_production=env.production), first_level(FILLCAST_SETTINGS_SOURCE)
)
configure_structlog()
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.sender
vars().update(environ.Env.email_url_config(env.email_url.server))
EMAIL_TIMEOUT = 10

# --- Console
UNFOLD = unfold_settings.UNFOLD
SILENCED_SYSTEM_CHECKS: list[str] = []
