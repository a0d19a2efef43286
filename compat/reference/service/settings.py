"""Settings of the reference service.

Startproject's defaults plus DRF and Channels, chosen so that the wire looks like the original's. Without any
environment it needs no service: a SQLite file beside manage.py and the in-memory channel layer.

    DATABASE_URL     sqlite://FILE (sqlite:///abs/path), mysql://user:password@host:port/name or
                     postgres://user:password@host:port/name (?host=/directory/of/its/socket)
    REDIS_URL        redis://host:port/db; turns on channels_redis
    REDIS_BACKEND    core (default) or pubsub
    REDIS_CAPACITY   messages that wait in one channel; 100, the default of channels_redis, if unset
    DJANGO_LANGUAGE  en-us (default) or ko-kr
    SECRET_KEY       only needed to share sessions with another service
"""

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent


def database_from_url(url):
    """Django's DATABASES entry for our spelling of a database address."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": rest,
            # Threads write at once: wait for the lock, and take it before reading, else an upgrade fails at once.
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
        }
    if scheme == "mysql":
        parts = urlsplit(url)
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": parts.path.lstrip("/"),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "127.0.0.1",
            "PORT": parts.port or 3306,
            "OPTIONS": {"charset": "utf8mb4"},
        }
    if scheme in ("postgres", "postgresql"):
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts.path.lstrip("/"),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": query.pop("host", parts.hostname or ""),
            "PORT": parts.port or "",
            "OPTIONS": query,
        }
    raise ValueError(f"DATABASE_URL: no support for {scheme!r}")


def channel_layer_from_env(env):
    """The in-memory layer, or channels_redis when REDIS_URL is set."""
    url = env.get("REDIS_URL")
    if not url:
        return {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    kinds = {"core": "core.RedisChannelLayer", "pubsub": "pubsub.RedisPubSubChannelLayer"}
    config = {"hosts": [url]}
    if capacity := env.get("REDIS_CAPACITY"):
        config["capacity"] = int(capacity)
    return {"BACKEND": f"channels_redis.{kinds[env.get('REDIS_BACKEND', 'core')]}", "CONFIG": config}


SECRET_KEY = os.environ.get("SECRET_KEY", "the-reference-service-keeps-no-secrets-0123456789")
DEBUG = False
ALLOWED_HOSTS = ["*"]

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "channels",
    "chat",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "service.urls"
ASGI_APPLICATION = "service.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": database_from_url(os.environ.get("DATABASE_URL", f"sqlite://{BASE_DIR / 'db.sqlite3'}"))}
CHANNEL_LAYERS = {"default": channel_layer_from_env(os.environ)}

LANGUAGE_CODE = os.environ.get("DJANGO_LANGUAGE", "en-us")
TIME_ZONE = "Asia/Seoul"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"]}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"bare": {"format": "%(message)s"}},
    "handlers": {"events": {"class": "logging.StreamHandler", "formatter": "bare"}},
    "loggers": {"chat.events": {"handlers": ["events"], "level": "INFO", "propagate": False}},
}
