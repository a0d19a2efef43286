"""Settings, middleware and templates of Django, and DRF's settings, that show in answers."""

from django.conf import settings
from django.template import TemplateDoesNotExist, engines
from django.urls import get_resolver

from .. import served
from ..finding import BREAKS, DIFFERS, LOOK, NOTE, Finding

#: Middleware that is known to change answers, or not to: (severity, what it does, what to do).
KNOWN = {
    "django.middleware.gzip.GZipMiddleware": (DIFFERS, "compresses bodies", "Let the proxy do it, for both."),
    "django.middleware.http.ConditionalGetMiddleware": (DIFFERS, "adds ETag, answers 304", "Drop it for the chat."),
    "django.middleware.locale.LocaleMiddleware": (
        DIFFERS,
        "answers in the client's language",
        "Chatferry has one language for all: django.language.",
    ),
    "django.middleware.cache.UpdateCacheMiddleware": (BREAKS, "answers from a cache", "Drop it before you move."),
    "django.middleware.cache.FetchFromCacheMiddleware": (BREAKS, "answers from a cache", "Drop it before you move."),
    "corsheaders.middleware.CorsMiddleware": (
        NOTE,
        "adds the headers that browsers on other origins need",
        "cors.allowed_origins of the file does that.",
    ),
    "django.contrib.auth.middleware.LoginRequiredMiddleware": (
        NOTE,
        "asks for a login before views that are not of REST framework",
        "See auth.identity.",
    ),
    "whitenoise.middleware.WhiteNoiseMiddleware": (NOTE, "serves static files", "They stay with Django or the proxy."),
    "django.middleware.common.BrokenLinkEmailsMiddleware": (NOTE, "writes mails about 404s", "Nothing to do."),
    "django.contrib.sites.middleware.CurrentSiteMiddleware": (NOTE, "sets request.site", "Nothing to do."),
    "django_prometheus.middleware.PrometheusBeforeMiddleware": (NOTE, "counts", "Chatferry has /metrics."),
    "django_prometheus.middleware.PrometheusAfterMiddleware": (NOTE, "counts", "Chatferry has /metrics."),
}
SEVERE = {"DEBUG", "SECURE_SSL_REDIRECT", "DATABASE_ROUTERS", "APPEND_SLASH", "PREPEND_WWW"}
PAGES = ("404.html", "400.html", "500.html")


def check(_project):
    yield from _settings()
    yield from _middleware()
    yield from _pages()
    yield from _drf()


def _settings():
    for name, wanted in served.DJANGO_DEFAULTS.items():
        here = getattr(settings, name, wanted)
        if here != wanted:
            severity = BREAKS if name in SEVERE else DIFFERS
            text = f"{name} = {here!r}; Chatferry answers as with {wanted!r}"
            yield Finding(severity, "settings", name, text, "Set it so in Django, or let the proxy do it for both.")
    if "*" not in settings.ALLOWED_HOSTS:
        text = "Chatferry answers any host, Django these alone"
        yield Finding(NOTE, "settings", "ALLOWED_HOSTS", text, "Name the hosts in the proxy's server_name.")


def _middleware():
    present = list(settings.MIDDLEWARE)
    for name, effect in served.MIDDLEWARE.items():
        if name not in present and effect:
            text = f"missing in Django; Chatferry answers as if it were there: {effect}"
            yield Finding(DIFFERS, "middleware", name.rpartition(".")[2], text, "Add it in Django, or live with it.")
    for name in present:
        if name in served.MIDDLEWARE:
            continue
        unknown = (LOOK, "not known here", "See whether it refuses, redirects or changes answers of the chat.")
        severity, effect, advice = KNOWN.get(name, unknown)
        yield Finding(severity, "middleware", name.rpartition(".")[2], f"{name}: {effect}", advice)


def _pages():
    """Error pages of the project's own. A handler beats a template."""
    resolver = get_resolver()
    for code in (400, 404, 500):
        handler = resolver.resolve_error_handler(code)
        if not handler.__module__.startswith("django."):
            text = f"{handler.__module__}.{handler.__qualname__} answers; Chatferry has Django's default page"
            yield Finding(DIFFERS, "pages", f"handler{code}", text, "Matters only to clients that read error pages.")
    for name in PAGES:
        for engine in engines.all():
            try:
                engine.get_template(name)
            except TemplateDoesNotExist:
                continue
            text = "the project's own page; Chatferry has Django's default page"
            yield Finding(DIFFERS, "pages", name, text, "Matters only to clients that read error pages.")
            break


def _drf():
    try:
        from rest_framework.settings import api_settings
    except ImportError:
        return
    for name, wanted in served.DRF_DEFAULTS.items():
        here = getattr(api_settings, name)
        shown = f"{here.__module__}.{here.__qualname__}" if callable(here) else here
        if shown != wanted:
            text = f"{name} = {shown!r}; Chatferry answers as with {wanted!r}"
            yield Finding(BREAKS, "DRF", name, text, "Set it so in Django before you move.")
