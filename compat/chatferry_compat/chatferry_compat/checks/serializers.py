"""DRF serializers against the JSON objects that Chatferry writes and reads."""

import sys
from importlib import import_module

from .. import served
from ..finding import BREAKS, DIFFERS, LOOK, Finding

AREA = "serializers"
#: Methods by which a serializer changes values, which cannot be compared.
HOOKS = ("to_representation", "to_internal_value", "validate", "create", "update", "run_validation")


def check(project):
    serializers = _all(project)
    for model, wanted in (
        (project.models.conversation, served.CONVERSATION_JSON),
        (project.models.message, served.MESSAGE_JSON),
        (project.models.receipt, served.RECEIPT_JSON),
    ):
        found = [s for s in serializers if getattr(getattr(s, "Meta", None), "model", None) is model]
        if not found:
            text = "no serializer of this model was found"
            yield Finding(LOOK, AREA, model.__name__, text, "Compare its JSON with compat/kit.")
            continue
        # The one that the API uses is the one most like ours; others are for other purposes.
        yield from min(([*_compare(s, wanted)] for s in found), key=len)


def _all(project):
    """The classes in the app's module of serializers, and those that its views name."""
    try:
        from rest_framework.serializers import Serializer
    except ImportError:
        return []
    models = project.models
    modules = {model.__module__.rpartition(".")[0] + ".serializers" for model, _ in models.pairs()}
    modules |= {view.callback.__module__ for view in (project.rest.views if project.rest else ())}
    found = {}
    for name in sorted(modules):
        try:
            module = sys.modules.get(name) or import_module(name)
        except ImportError:
            continue
        classes = (value for value in vars(module).values() if isinstance(value, type))
        found.update((cls, None) for cls in classes if issubclass(cls, Serializer))
    return list(found)


def _compare(serializer, wanted):
    name = serializer.__name__
    try:
        fields = serializer().fields
    except Exception as error:  # a serializer of the project's own may want anything
        text = f"its fields cannot be listed: {type(error).__name__}: {error}"
        yield Finding(LOOK, AREA, name, text, "Compare its JSON with compat/kit.")
        return
    ours = [field.name for field in wanted]
    here = [key for key, field in fields.items() if not field.write_only]
    for key in here:
        if key not in ours:
            yield Finding(BREAKS, AREA, f"{name}.{key}", "not answered by Chatferry", _advice("Take it out"))
    for field in wanted:
        if field.name not in here:
            yield Finding(BREAKS, AREA, f"{name}.{field.name}", "only answered by Chatferry", _advice("Add it"))
        else:
            yield from _field(f"{name}.{field.name}", fields[field.name], field)
    common = [key for key in here if key in ours]
    if common != [key for key in ours if key in here]:
        text = f"keys come as {', '.join(common)}, from Chatferry as {', '.join(ours)}"
        yield Finding(DIFFERS, AREA, name, text, "No client should mind: JSON objects have no order.")
    yield from _hooks(serializer)


def _advice(what):
    return f"{what} in Django first, or keep the paths that answer it with Django."


def _field(subject, field, wanted):
    kind = type(field).__name__
    if kind != wanted.field:
        yield Finding(BREAKS, AREA, subject, f"{kind} instead of {wanted.field}", _advice("Change it"))
    if field.read_only == wanted.writable:
        text = "read-only in Django, taken by Chatferry" if field.read_only else "taken from clients in Django only"
        yield Finding(DIFFERS, AREA, subject, text, _advice("Change it"))
    if (source := field.source or subject.rpartition(".")[2]) not in (subject.rpartition(".")[2], "*"):
        yield Finding(BREAKS, AREA, subject, f"answers {source}", _advice("Change it"))
    if kind == "DateTimeField" and getattr(field, "format", None) not in (None, "iso-8601"):
        text = f"format {field.format!r} instead of ISO 8601"
        yield Finding(BREAKS, AREA, subject, text, _advice("Drop the format"))


def _hooks(serializer):
    own = [cls for cls in serializer.__mro__ if not cls.__module__.startswith(("rest_framework", "builtins"))]
    names = {name for cls in own for name in vars(cls) if name in HOOKS or name.startswith("validate_")}
    for name in sorted(names):
        text = "the serializer's own code is not run by Chatferry"
        yield Finding(
            LOOK, AREA, f"{serializer.__name__}.{name}()", text, "See what it changes; compare with compat/kit."
        )
