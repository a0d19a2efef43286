"""Code around a message that Chatferry does not run: in the consumer, in views, in what they start."""

import ast
from pathlib import Path

from django.apps import apps

from .. import source
from ..access import caller
from ..access.doors import FOREIGN_VIEWS, inner_function
from ..finding import BREAKS, DIFFERS, LOOK, Finding
from ..history import history_slices
from ..source import Source, call_name, called_function, key_of

AREA = "code"
CONTENT = {"content", "message", "text", "body"}
CHANGES = {"strip", "lstrip", "rstrip", "replace", "lower", "title", "shorten", "escape", "clean", "censor", "sub"}
CHANGES |= {"Truncator", "truncate", "linkify", "bleach", "strip_tags", "conditional_escape", "nh3", "join"}
TASKS = {"delay", "apply_async", "send_task", "enqueue"}
#: Parts of an app that handle no message.
APART = ("migrations", "management", "tests", "tasks.py")


def check(project):
    sources = []
    if project.socket:
        sources = source.read_classes(project.socket.consumer)[0]
        yield from _connect(sources)
        yield from _content(sources, "the consumer")
    views = list(_view_sources(project))
    for view, read in views:
        yield from _content([read], view.endpoint.path)
        for place in history_slices([read]):
            text = f"its answer is cut ({place.shown}); Chatferry answers the whole list"
            yield Finding(BREAKS, "views", view.endpoint.path, text, "Take the cut away first, or leave it to Django.")
    yield from _tasks(project)


def _view_sources(project):
    for view in project.rest.views if project.rest else ():
        function = inner_function(view.cls) or (view.callback if view.cls is None else None)
        reads = [source.read(function)] if function else source.read_classes(view.cls, FOREIGN_VIEWS)[0]
        yield from ((view, read) for read in reads if read)


def _connect(sources):
    """Yields a finding if `connect()`, or a method that it calls, decides who may connect."""
    functions = {
        node.name: Source(read.name, node)
        for read in sources
        for node in read.nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    }
    reached, waiting = [], ["connect", "websocket_connect"]
    while waiting:
        name = waiting.pop()
        if name in functions and name not in reached:
            reached.append(name)
            for call in functions[name].nodes(ast.Call):
                inner = called_function(call)
                waiting.append(getattr(inner, "attr", getattr(inner, "id", "")))
    uses = caller.read([functions[name] for name in reached], claims=True)
    if uses.asked > caller.Level.NOBODY or uses.doubts:
        shown = "; ".join(uses.doubts[:2]) or "it looks at the user"
        text = f"decides by itself who may connect ({shown}); Chatferry asks auth.identity and auth.policy instead"
        advice = "Compare both; its close codes are Chatferry's own (auth.socket_refusal)."
        yield Finding(LOOK, "access", "connect()", text, advice)


def _content(sources, where):
    for read in sources:
        for node in read.nodes(ast.Subscript, ast.Call):
            if isinstance(node, ast.Subscript):
                is_cut = isinstance(node.slice, ast.Slice) and _is_content(node.value)
                what = "cut"
            else:
                held = [node.func.value] if isinstance(node.func, ast.Attribute) else []
                is_cut = call_name(node) in CHANGES and any(map(_is_content, [*held, *node.args]))
                what = "changed"
            if is_cut:
                text = f"the content is {what} here ({where}); Chatferry stores and sends it as it came"
                yield Finding(DIFFERS, AREA, read.place(node), text, "Let clients do it, or live without.")


def _is_content(node):
    """Tests for an expression that holds the content of a message, perhaps beside a default."""
    parts = _same_value(node)
    if parts:
        return any(map(_is_content, parts))
    name = key_of(node) or getattr(node, "attr", getattr(node, "id", None))
    return name in CONTENT


def _same_value(node):
    """Returns the parts of which an expression has the value, as `x` and `""` of `x or ""`."""
    match node:
        case ast.BoolOp():
            return node.values
        case ast.IfExp():
            return [node.body, node.orelse]
        case ast.NamedExpr() | ast.Await():
            return [node.value]
        case ast.Call(func=ast.Name(id="str")):
            return node.args
        case ast.Call(func=ast.Attribute()) if key_of(node) is None:
            return [node.func.value]
    return []


def _tasks(project):
    """Yields calls that start a task: Chatferry starts none for its messages."""
    module = project.socket.consumer.__module__ if project.socket else project.models.message.__module__
    config = apps.get_containing_app_config(module)
    directory = Path(config.path) if config else None
    for path in sorted(directory.rglob("*.py")) if directory else ():
        name = path.relative_to(directory)
        if any(part in APART or part.startswith("test") for part in name.parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if call_name(call) in TASKS and isinstance(call.func, ast.Attribute):
                text = f"{ast.unparse(call.func)}() is not called for what Chatferry stores"
                advice = "Let a periodic task read new rows, or follow the group (compat/MOVE.md)."
                yield Finding(LOOK, AREA, f"{name}:{call.lineno}", text, advice)
