"""One Django project with every package. CONSUMERS_REDIS names the Redis of its channel layer, CONSUMERS_DATABASE its
file of SQLite; CONSUMERS_AWAKE keeps all consumers awake."""

import os

SECRET_KEY = "of a test, and long enough to sign with"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.sites",
    "openwisp_users.accounts",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "django_filters",
    "openwisp_users",
    "openwisp_notifications",
    "openwisp_utils.admin_theme",
    "admin_auto_filters",
    "django.contrib.admin",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_yasg",
    "channels",
    "channels_presence",
    "django_private_chat2",
    "djangochannelsrestframework",
    "djust",
    "chatferry_compat",
    "project",
]
class NoMigrations:
    """Tables are made from the models: hundreds of migrations would take longer than all that is played."""

    def __contains__(self, app):
        return True

    def __getitem__(self, app):
        return None


MIGRATION_MODULES = NoMigrations()
AUTH_USER_MODEL = "openwisp_users.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SITE_ID = 1
ASGI_APPLICATION = "project.asgi.application"
ROOT_URLCONF = "project.urls"
STATIC_URL = "/static/"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                "django.template.loaders.filesystem.Loader",
                "openwisp_utils.loaders.DependencyLoader",
                "django.template.loaders.app_directories.Loader",
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
    {"BACKEND": "djust.template_backend.DjustTemplateBackend", "NAME": "djust", "APP_DIRS": False, "DIRS": []},
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("CONSUMERS_DATABASE", ":memory:"),
        "OPTIONS": {"timeout": 60},
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [os.environ.get("CONSUMERS_REDIS", "redis://localhost:6379")]},
    },
}
# No broker: tasks run where they are sent.
CELERY_TASK_ALWAYS_EAGER = True
CELERY_BROKER_URL = "memory://"
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
OPENWISP_NOTIFICATIONS_EMAIL_ENABLED = False
# Longer than it takes to play, so that the same is a storm each time.
OPENWISP_NOTIFICATIONS_NOTIFICATION_STORM_PREVENTION = {
    "short_term_time_period": 600,
    "short_term_notification_count": 6,
    "long_term_time_period": 600,
    "long_term_notification_count": 30,
    "initial_backoff": 600,
    "backoff_increment": 1,
    "max_allowed_backoff": 300,
}
SILENCED_SYSTEM_CHECKS = ["openwisp_notifications.E001"]
LIVEVIEW_ALLOWED_MODULES = ["project"]
