"""URLs, and the views behind them, against the six endpoints."""

from django.conf import settings

from .. import served
from ..access.doors import attribute
from ..finding import BREAKS, DIFFERS, LOOK, NOTE, Finding

AREA = "routes"
LISTS = ("conversations/<uuid>/messages/", "users/<str>/conversations/")


def check(project):
    rest = project.rest
    if rest is None:
        return
    for route in rest.extra:
        text = "not served by Chatferry: 404"
        yield Finding(DIFFERS, AREA, route, text, "Leave this path with Django in the proxy.")
    for view in rest.views:
        yield from _methods(view)
        if view.cls is not None and hasattr(view.cls, "renderer_classes"):
            yield from _description(view)
            yield from _paging(view)
        else:
            text = "not a view of Django REST framework: nothing is known of its answers"
            yield Finding(LOOK, "views", view.endpoint.path, text, "Compare with compat/kit.")
    yield from _classes(rest, project.access)


def _methods(view):
    if view.methods is not None and view.methods != {view.endpoint.method}:
        takes = ", ".join(sorted(view.methods)) or "nothing"
        text = f"takes {takes} in Django, {view.endpoint.method} in Chatferry"
        missing = view.methods - {view.endpoint.method}
        advice = "Leave these methods with Django in the proxy." if missing else "Clients get 405 from Django only."
        yield Finding(DIFFERS, AREA, view.endpoint.path, text, advice)


def _description(view):
    """What OPTIONS answers."""
    instance = view.cls(**getattr(view.callback, "initkwargs", {}))
    for what, here, ours in (
        ("name", instance.get_view_name(), view.endpoint.name),
        ("description", instance.get_view_description(), view.endpoint.description),
    ):
        if here != ours:
            text = f"OPTIONS says {what} {here!r}, Chatferry {ours!r}"
            yield Finding(DIFFERS, "views", view.endpoint.path, text, "Matters only to clients that read OPTIONS.")


def _paging(view):
    """A function view has no paginator, whatever the settings say; a generic list has."""
    paginator = attribute(view, "pagination_class")
    if paginator is not None and view.endpoint.path in LISTS:
        text = f"answers pages ({_dotted(paginator)}); Chatferry answers the whole list"
        yield Finding(
            BREAKS, "views", view.endpoint.path, text, "Take the pages away in Django first, or leave this path there."
        )
    filters = attribute(view, "filter_backends")
    if filters and view.endpoint.path in LISTS:
        text = f"filters by {_names(filters)}; Chatferry ignores such parameters"
        yield Finding(DIFFERS, "views", view.endpoint.path, text, "Leave this path with Django in the proxy.")


def _classes(rest, access):
    """Renderers, parsers and the like: said once for all views that have the same. Throttles are a setting's affair."""
    found = {}
    views = [view for view in rest.view_classes() if hasattr(view.cls, "renderer_classes")]
    for view in views:
        for name, wanted in served.VIEW_DEFAULTS.items():
            here = attribute(view, name)
            shown = tuple(map(_dotted, here)) if isinstance(here, (list, tuple)) else here and _dotted(here)
            if shown != wanted:
                found.setdefault((name, shown), []).append(view.endpoint.path)
    for (name, shown), paths in found.items():
        where = "all views" if len(paths) == len(views) else ", ".join(paths)
        severity, advice = _judged(name, shown, access)
        text = f"{_names(shown)} instead of {_names(served.VIEW_DEFAULTS[name])} ({where})"
        yield Finding(severity, "views", name, text, advice)
    if getattr(settings, "REST_FRAMEWORK", {}).get("PAGE_SIZE"):
        text = "has no effect on function views; those it has an effect on are named apart"
        yield Finding(NOTE, "views", "PAGE_SIZE", text, "Nothing to do.")


def _judged(name, shown, access):
    if name == "renderer_classes" and shown == ("renderers.JSONRenderer",):
        return DIFFERS, "An Accept of text/html alone is a 406 in Django and a small page here."
    if name in ("permission_classes", "authentication_classes"):
        if access.identity not in (None, "none") and access.policy:
            return NOTE, f"auth.identity = {access.identity} and auth.policy = {access.policy} stand for it."
        return BREAKS, "Chatferry asks as auth.identity and auth.policy say: compare before you move."
    return BREAKS, "Chatferry has DRF's defaults: set them in Django first, or leave this path there."


def _dotted(cls):
    cls = cls if isinstance(cls, type) else type(cls)
    return f"{cls.__module__}.{cls.__qualname__}".removeprefix("rest_framework.")


def _names(shown):
    if not isinstance(shown, (list, tuple)):
        return str(shown)
    return ", ".join(item if isinstance(item, str) else _dotted(item) for item in shown) or "none"
