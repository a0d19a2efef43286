"""Which handlers provably depend on their event alone: one call then makes the bytes for all members of a group.

What is allowed is listed; all else is not pure. A handler takes one event, sends literals, parts of the event and
constants of its module, by the `send` or `send_json` of Channels' own classes, and does nothing besides.
"""

import ast
import inspect
import json

from channels.generic import websocket

#: Methods of texts, lists and dicts that change nothing but what they return.
METHODS = {
    "get",
    "items",
    "keys",
    "values",
    "copy",
    "strip",
    "lstrip",
    "rstrip",
    "lower",
    "upper",
    "title",
    "capitalize",
    "replace",
    "split",
    "join",
    "format",
    "startswith",
    "endswith",
}
FUNCTIONS = {"str", "int", "float", "bool", "len", "dict", "list", "tuple", "min", "max", "round", "abs", "sorted", "sum"}
CONSTANTS = (str, int, float, bool, bytes, type(None))
GENERIC = (websocket.WebsocketConsumer, websocket.AsyncWebsocketConsumer)
SENDS = {"send": ("text_data", "bytes_data"), "send_json": ("content",)}
#: With any of these no method is what its class says.
MAGIC = {"__getattribute__", "__getattr__", "__setattr__", "__init_subclass__"}


def once(cls, own, trees):
    """The names of such handlers, and the constants that they use, as text."""
    names, constants = set(), []
    if not issubclass(cls, GENERIC) or any(MAGIC & set(vars(base)) for base in own):
        return names, constants
    if not _is_channels(cls, "dispatch"):
        return names, constants
    assigned = _assigned(trees.values())
    for base in own:
        for name in vars(base):
            # The first in the order of the bases is the one that is called.
            if name in names or name in assigned or inspect.getattr_static(cls, name) is not vars(base)[name]:
                continue
            used = _handler(cls, base, name, trees[base], assigned)
            if used is not None:
                names.add(name)
                constants += used
    return names, sorted(constants)


def _is_channels(cls, name):
    """Whether a method is Channels' own, and not what a package has put in its place."""
    for base in cls.__mro__:
        if name in vars(base):
            method = vars(base)[name]
            # A class method has the one, a sync consumer's dispatch the other.
            method = getattr(method, "__func__", getattr(method, "func", method))
            return getattr(method, "__globals__", {}).get("__name__", "").startswith("channels.")
    return False


def _assigned(trees):
    """Attributes of instances that some code sets: they may hide a method. A name that is not known hides all."""
    names = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            elif isinstance(node, ast.Name) and node.id in ("setattr", "vars", "__dict__", "exec", "eval"):
                names.add("send")
            elif isinstance(node, ast.Attribute) and node.attr in ("__dict__", "__class__"):
                names.add("send")
    return names


def _handler(cls, base, name, tree, assigned):
    """The constants that a pure handler uses; None if it is not provably one."""
    function = vars(base)[name]
    if name.startswith(("_", "websocket_")) or not inspect.isfunction(function):
        return None
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    nodes = [node for it in classes for node in it.body if getattr(node, "name", None) == name]
    if len(nodes) != 1:
        return None
    node = nodes[0]
    if not _is_written(function, base, node):
        return None
    is_async = issubclass(cls, websocket.AsyncWebsocketConsumer)
    if not isinstance(node, ast.AsyncFunctionDef if is_async else ast.FunctionDef) or node.decorator_list:
        return None
    arguments = node.args
    if len(arguments.args) != 2 or arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults:
        return None
    reader = Reader(cls, function, is_async, assigned, [it.arg for it in arguments.args])
    try:
        reader.statements(node.body)
    except Impure:
        return None
    return reader.constants if reader.sends else None


def _is_written(function, base, node):
    """Whether a function is what the source of its class says: decorators of classes and packages that watch a program
    put others in their place."""
    _, first = inspect.getsourcelines(base)
    code = function.__code__
    written = (node.name, first + node.lineno - 1, base.__module__)
    return (code.co_name, code.co_firstlineno, function.__globals__.get("__name__")) == written


class Impure(Exception):
    """Something that is not on the list."""


class Reader:
    """Reads the body of one handler."""

    def __init__(self, cls, function, is_async, assigned, arguments):
        self.cls = cls
        self.globals = function.__globals__
        self.is_closure = bool(function.__closure__)
        self.is_async = is_async
        self.assigned = assigned
        self.me, event = arguments
        self.locals = {event}
        self.constants = []
        self.sends = False

    def statements(self, body):
        for statement in body:
            self.statement(statement)

    def statement(self, node):
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.Return(value=None):
                pass
            case ast.Expr(value=ast.Await(value=ast.Call() as call)) if self.is_async:
                self.send(call)
            case ast.Expr(value=ast.Call() as call) if not self.is_async:
                self.send(call)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.AnnAssign(target=ast.Name(id=name), value=value) if (
                value is not None
            ):
                self.pure(value)
                if name == self.me:
                    raise Impure
                self.locals.add(name)
            case ast.If(test=test, body=body, orelse=orelse):
                self.pure(test)
                self.statements(body)
                self.statements(orelse)
            case _:
                raise Impure

    def send(self, call):
        match call.func:
            case ast.Attribute(value=ast.Name(id=self.me), attr=name) if name in SENDS:
                pass
            case _:
                raise Impure
        used = {name, "send", "encode_json"} if name == "send_json" else {name}
        if used & self.assigned or not all(_is_channels(self.cls, it) for it in used):
            raise Impure
        if len(call.args) > 1 or any(it.arg not in SENDS[name] for it in call.keywords):
            raise Impure
        if any(isinstance(it, ast.Starred) for it in call.args):
            raise Impure
        for value in [*call.args, *(it.value for it in call.keywords)]:
            self.pure(value)
        self.sends = True

    def pure(self, node):
        match node:
            case None | ast.Constant():
                pass
            case ast.Name(id=name):
                self.name(name)
            case ast.Dict(keys=keys, values=values):
                self.all([*keys, *values])
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.JoinedStr(values=items) | ast.BoolOp(values=items):
                self.all(items)
            case ast.FormattedValue(value=value, format_spec=spec):
                self.all([value, spec])
            case ast.Subscript(value=value, slice=index):
                self.all([value, index])
            case ast.Slice(lower=lower, upper=upper, step=step):
                self.all([lower, upper, step])
            case ast.Starred(value=value) | ast.UnaryOp(operand=value):
                self.pure(value)
            case ast.BinOp(left=left, right=right):
                self.all([left, right])
            case ast.Compare(left=left, comparators=others):
                self.all([left, *others])
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self.all([test, body, orelse])
            case ast.Call():
                self.call(node)
            case _:
                raise Impure

    def all(self, nodes):
        for node in nodes:
            self.pure(node)

    def name(self, name):
        if name in self.locals:
            return
        # What is not local here is the module's: nothing of a closure, and no consumer.
        if self.is_closure or name == self.me or name not in self.globals:
            raise Impure
        value = self.globals[name]
        if type(value) not in CONSTANTS:
            raise Impure
        self.constants.append(f"{name}={value!r}")

    def call(self, call):
        arguments = [*call.args, *(it.value for it in call.keywords)]
        match call.func:
            case ast.Name(id=name) if name in FUNCTIONS and name not in self.locals and name not in self.globals:
                self.all(arguments)
            case ast.Attribute(value=ast.Name(id=name), attr="dumps" | "loads") if self.globals.get(name) is json:
                if name in self.locals or any(it.arg in (None, "cls", "default") for it in call.keywords):
                    raise Impure
                self.all(arguments)
            case ast.Attribute(value=value, attr=name) if name in METHODS:
                self.pure(value)
                self.all(arguments)
            case _:
                raise Impure
