"""Source of classes and functions as trees that know their file, lines and parents."""

import ast
import inspect
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

#: Packages whose classes are not the project's own code.
FOREIGN = ("channels", "django", "builtins", "abc", "typing")
#: Functions that only change how another one is called.
ADAPTERS = {"database_sync_to_async", "sync_to_async", "async_to_sync"}


@dataclass(frozen=True)
class Source:
    """A piece of source. `name` is shown to people: the file as it is below the project's directory."""

    name: str
    tree: ast.AST

    @cached_property
    def parents(self):
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def nodes(self, *kinds):
        return [node for node in ast.walk(self.tree) if isinstance(node, kinds)]

    def place(self, node):
        return f"{self.name}:{getattr(node, 'lineno', '?')}"

    def shown(self, node):
        """Describes a place and the statement there, cut to a line."""
        while node in self.parents and not isinstance(node, ast.stmt):
            node = self.parents[node]
        first = ast.unparse(node).splitlines()[0]
        return f"{self.place(node)} ({textwrap.shorten(first, 70, placeholder=' …')})"


def read(thing):
    """Returns the source of a class, function or module; None if it cannot be read."""
    try:
        lines, first = inspect.getsourcelines(thing)
        tree = ast.parse(textwrap.dedent("".join(lines)))
        path = Path(inspect.getsourcefile(thing))
    except (OSError, TypeError, SyntaxError):
        return None
    ast.increment_lineno(tree, max(first, 1) - 1)
    return Source("/".join(path.parts[-2:]), tree)


def read_classes(cls, foreign=FOREIGN):
    """Returns (sources of a class and its bases, names of those without source), without bases of foreign packages."""
    sources, unread = [], []
    for base in cls.__mro__:
        if base.__module__.split(".")[0] in foreign:
            continue
        source = read(base)
        if source is None:
            unread.append(base.__qualname__)
        else:
            sources.append(source)
    return sources, unread


def call_name(call):
    """Returns the last name of a call: `filter` of `Message.objects.filter(…)`."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def root_name(node):
    """Returns the first name of a chain of attributes and calls: `Message` of `Message.objects.filter(…)`."""
    while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript, ast.Await)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", "")


def called_function(call):
    """Returns the called function, without an adapter around it."""
    inner = call.func
    if isinstance(inner, ast.Call) and call_name(inner) in ADAPTERS and inner.args:
        inner = inner.args[0]
    return inner


def key_of(node):
    """Returns the text in `x["text"]`, `x.get("text")` and `x.get("text", …)`, else None."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value
    if isinstance(node, ast.Call) and call_name(node) == "get" and node.args and isinstance(node.args[0], ast.Constant):
        return node.args[0].value
    return None


def reads_key_of(node):
    """Returns the `x` of `x["text"]` and `x.get("text")`."""
    return node.value if isinstance(node, ast.Subscript) else node.func.value
