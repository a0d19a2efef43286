"""A Django project whose consumers have every shape that people write. CONSUMERS_REDIS names the Redis of its channel
layer; CONSUMERS_AWAKE keeps all consumers awake."""

import os

SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "chatferry_compat",
    "project.early.Early",
]
ASGI_APPLICATION = "project.asgi.application"
ROOT_URLCONF = "project.web"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("CONSUMERS_DATABASE", ":memory:")}}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [os.environ.get("CONSUMERS_REDIS", "redis://localhost:6379")]},
    },
    "other": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
    "theirs": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [os.environ.get("CONSUMERS_REDIS", "redis://localhost:6379")], "prefix": "theirs"},
    },
}
