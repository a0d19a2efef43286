"""The use of the user of a request or a socket in source.

Names that hold the user, or the user's id, are followed through assignments and calls within the same class. A
use that is not understood is a doubt.
"""

import ast
import re
from dataclasses import dataclass, field
from enum import IntEnum

from ..source import call_name, called_function, key_of, reads_key_of, root_name


class Level(IntEnum):
    """The rules for a caller; each is stricter than the one before."""

    NOBODY = 0
    LOGIN = 1
    PARTICIPANTS = 2
    UNKNOWN = 3


LOGIN_WORDS = {"is_authenticated", "is_anonymous"}
#: Attributes of a user that may be tested for being there; others (`is_staff`) are rules.
NAMES = {"pk", "id", "uuid", "username", "email"}
LOGGING = {"logger", "logging", "log", "print"}
#: Parts of a request that say nothing of who sent it.
HARMLESS_REQUEST = {
    *(
        "data",
        "query_params",
        "GET",
        "POST",
        "FILES",
        "body",
        "method",
        "path",
        "path_info",
        "content_type",
        "encoding",
    ),
    *("accepted_renderer", "accepted_media_type", "version", "parser_context", "build_absolute_uri", "resolver_match"),
}
HARMLESS_SCOPE = {"url_route", "type", "path"}
#: Names that hold a user's id in the chat: columns, fields of frames, parts of paths.
PEOPLE = re.compile(r"(?:^|__|\b)(participant1|participant2|sender|author|user)(?:_id)?(?:__in)?$")
CLAIMED = re.compile(r"\b(participant1|participant2|sender|author|user)(?:_id)?\b")
SPEAKERS = {"sender", "author"}
PARTICIPANTS = {"participant1", "participant2"}
#: Calls that look up or write; others may be a rule about their arguments.
ACTIONS = re.compile(
    r"a?(filter|exclude|get|create|update|save|bulk_create|get_or_create|update_or_create|get_object_or_404|Q|dict)$|"
    r"(group_|_?send|publish|notify|log|emit|broadcast|record|track|dumps|Response|JsonResponse)"
)
#: Words of an authentication of its own, as by a frame.
SECRETS = re.compile(
    r"(?:^|_)(?:token|jwt|password|passwd|api_?key|secret|authenticate$|authorization|_dict__)", re.IGNORECASE
)


@dataclass
class Uses:
    #: The rules found for certain; doubts come on top.
    asked: Level = Level.NOBODY
    #: Attributes of the user that stand for them in the chat.
    attributes: set = field(default_factory=set)
    participants: set = field(default_factory=set)
    #: Places that write the caller down as the sender.
    speaks: list = field(default_factory=list)
    doubts: list = field(default_factory=list)
    #: The request goes on to serializers, which may look at its user.
    hands_on: bool = False
    reads_user: bool = False

    @property
    def level(self):
        return Level.UNKNOWN if self.doubts else self.asked

    def rise(self, level):
        self.asked = max(self.asked, level)

    def doubt(self, text):
        if text not in self.doubts:
            self.doubts.append(text)


def read(sources, models=(), claims=False):
    """Reads the uses in some sources that belong together.

    `models` are names of the chat's own models. `claims`: ids of participants that a client claims are a check, as
    they are where no conversation is looked for or made.
    """
    reader = _Reader(sources, set(models), claims)
    reader.follow()
    reader.judge()
    return reader.uses


class _Reader:
    def __init__(self, sources, models, claims):
        self.sources = sources
        self.models = models
        self.claims = claims
        self.uses = Uses()
        self.requests = {"request", "self.request"}
        self.scopes = {"self.scope", "scope"}
        self.users = set()
        #: Text of an expression to the attribute of the user that it holds.
        self.ids = {}
        #: Name to the text of what was assigned to it.
        self.held = {}
        self.functions = {
            node.name: node for source in sources for node in source.nodes(ast.FunctionDef, ast.AsyncFunctionDef)
        }

    # Recognizing the user and ids

    def is_user(self, node):
        if isinstance(node, ast.Await):
            return self.is_user(node.value)
        if isinstance(node, ast.Attribute) and node.attr == "user" and ast.unparse(node.value) in self.requests:
            return True
        if key_of(node) == "user" and ast.unparse(reads_key_of(node)) in self.scopes:
            return True
        if isinstance(node, ast.Call) and call_name(node) == "get_user":
            return any(ast.unparse(arg) in self.scopes | self.requests for arg in node.args)
        return isinstance(node, (ast.Name, ast.Attribute)) and ast.unparse(node) in self.users

    def id_of(self, node):
        """Returns the attribute of the user that an expression is, as `id` of `str(request.user.id)`."""
        if isinstance(node, ast.Call) and call_name(node) in ("str", "int") and len(node.args) == 1:
            return self.id_of(node.args[0])
        if isinstance(node, ast.JoinedStr) and len(node.values) == 1:
            return self.id_of(getattr(node.values[0], "value", None))
        if isinstance(node, ast.Attribute) and self.is_user(node.value):
            return None if node.attr in LOGIN_WORDS else node.attr
        return self.ids.get(ast.unparse(node)) if isinstance(node, (ast.Name, ast.Attribute)) else None

    def follow(self):
        """Collects the names of both until there are no more."""
        before = None
        while before != (before := (len(self.users), len(self.ids), len(self.requests), len(self.scopes))):
            for source in self.sources:
                for node in source.nodes(ast.Assign, ast.AnnAssign, ast.NamedExpr):
                    for target in _targets(node):
                        self._hold(ast.unparse(target), node.value)
                for call in source.nodes(ast.Call):
                    for name, value in self._passed(call):
                        self._hold(name, value)

    def _hold(self, name, value):
        if value is None:
            return
        self.held.setdefault(name, ast.unparse(value))
        if self.is_user(value):
            self.users.add(name)
        elif attribute := self.id_of(value):
            self.ids.setdefault(name, attribute)
        elif ast.unparse(value) in self.requests:
            self.requests.add(name)
        elif ast.unparse(value) in self.scopes:
            self.scopes.add(name)

    def _passed(self, call):
        """Returns (parameter, argument) pairs of a call of a function that is read here."""
        function = self.functions.get(self._own_name(call))
        if function is None:
            return []
        names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args) if arg.arg not in ("self", "cls")]
        plain = [arg for arg in call.args if not isinstance(arg, ast.Starred)]
        named = [(keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg]
        return [*zip(names, plain, strict=False), *named]

    def _own_name(self, call):
        inner = called_function(call)
        if isinstance(inner, ast.Attribute):
            return inner.attr if ast.unparse(inner.value) in ("self", "cls", "super()") else None
        return getattr(inner, "id", None)

    # Judging their uses

    def judge(self):
        for source in self.sources:
            for node in ast.walk(source.tree):
                if isinstance(getattr(node, "ctx", None), ast.Store):
                    continue
                if self.is_user(node) and not self.is_user(source.parents.get(node)):
                    self.uses.reads_user = True
                    self._user(source, node)
                elif isinstance(node, (ast.Name, ast.Attribute)) and ast.unparse(node) in self.requests | self.scopes:
                    self._request(source, node)
                elif isinstance(node, (ast.Name, ast.Attribute)) and ast.unparse(node) in self.ids:
                    self._id(source, node, self.ids[ast.unparse(node)])
                elif isinstance(node, ast.Compare):
                    self._compared_claims(source, node)
                else:
                    self._own_sign_in(source, node)
        if len(self.uses.participants & PARTICIPANTS) == 1:
            self.uses.doubt(f"{self.uses.participants.pop()} alone is compared with the caller")

    def _user(self, source, node):
        parent = source.parents.get(node)
        if isinstance(parent, ast.Await):
            node, parent = parent, source.parents.get(parent)
        if isinstance(parent, ast.Attribute):
            if parent.attr in LOGIN_WORDS:
                self.uses.rise(Level.LOGIN)
            else:
                self._id(source, parent, parent.attr)
        elif self._is_test_of_login(parent, node):
            self.uses.rise(Level.LOGIN)
        else:
            self._id(source, node, "pk")

    @staticmethod
    def _is_test_of_login(parent, node):
        if isinstance(parent, (ast.If, ast.IfExp, ast.While)):
            return parent.test is node
        if isinstance(parent, ast.Call):
            return call_name(parent) == "isinstance" and "Anonymous" in ast.unparse(parent)
        if isinstance(parent, ast.Compare):
            sides = [ast.unparse(side) for side in parent.comparators]
            return all(side == "None" or side.startswith("AnonymousUser") for side in sides)
        return isinstance(parent, (ast.UnaryOp, ast.BoolOp))

    def _id(self, source, node, attribute):
        """Judges one use of the user's id by its surroundings."""
        parent = source.parents.get(node)
        while self.id_of(parent) or isinstance(parent, (ast.Tuple, ast.List, ast.Set, ast.IfExp, ast.FormattedValue)):
            node, parent = parent, source.parents.get(parent)
        people, is_fine = set(), False
        if attribute in NAMES and self._is_test_of_login(parent, node):
            self.uses.rise(Level.LOGIN)
            is_fine = True
        elif isinstance(parent, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
            people = {name for target in _targets(parent) for name in _people(key_of(target))}
            is_fine = not isinstance(node, (ast.Tuple, ast.List, ast.Set, ast.IfExp))
        elif isinstance(parent, ast.Compare):
            others = [side for side in (parent.left, *parent.comparators) if side is not node]
            people = {name for side in others for name in self._compared(side)}
        elif isinstance(parent, ast.keyword):
            people, is_fine = self._keyword(source, parent)
        elif isinstance(parent, ast.Dict):
            people, is_fine = self._field(source, parent, node)
        elif isinstance(parent, ast.Call):
            is_fine = self._is_argument(parent, node, people)
        elif isinstance(parent, ast.JoinedStr):
            is_fine = self._is_name_or_log(source, parent)
        if people:
            self._is_person(source, node, people, attribute)
        elif not is_fine:
            self.uses.doubt(source.shown(node))

    def _compared(self, side):
        """Returns the people whose id the other side of a comparison is. Columns `user_id` count for receipts only."""
        text = ast.unparse(side)
        people = set(CLAIMED.findall(f"{text} {self.held.get(text, '')}"))
        is_column = isinstance(side, ast.Attribute) and "receipt" not in text.lower()
        return people - {"user"} if is_column else people

    def _is_person(self, source, node, people, attribute):
        self.uses.rise(Level.PARTICIPANTS)
        self.uses.attributes.add(attribute)
        self.uses.participants |= people & PARTICIPANTS
        if people & SPEAKERS and not isinstance(source.parents.get(node), ast.Compare):
            self.uses.speaks.append(source.place(node))

    def _keyword(self, source, keyword):
        """Judges a keyword. `user_id` may belong to any model, the other names to the chat's."""
        call = source.parents.get(keyword)
        if self._own_name(call) in self.functions:
            return _people(keyword.arg) & SPEAKERS, True
        people = _people(keyword.arg)
        root = root_name(call)
        if call_name(call) == "Q" or root in self.models:
            return people, False
        is_other = root[:1].isupper() or not ACTIONS.match(call_name(call))
        return (set() if is_other else people - {"user"}), False

    def _field(self, source, fields, value):
        """Returns (people whose id a value of a dict is, whether the dict is only written)."""
        keys = [getattr(k, "value", None) for k, v in zip(fields.keys, fields.values, strict=True) if v is value]
        around = source.parents.get(fields)
        while isinstance(around, (ast.Dict, ast.List, ast.Tuple)):
            around = source.parents.get(around)
        is_call = isinstance(around, ast.Call) and self._own_name(around) not in self.functions
        if is_call and not ACTIONS.match(call_name(around)):
            return set(), False
        return {name for key in keys for name in _people(key)}, True

    def _is_argument(self, call, node, people):
        if root_name(call.func) in LOGGING or call_name(call) in ("group_add", "group_discard"):
            return True
        names = [name for name, value in self._passed(call) if value is node]
        people |= {name for text in names for name in _people(text)} & SPEAKERS
        return bool(names)

    def _is_name_or_log(self, source, text):
        """Tests for a text that is the name of a group or goes into a log."""
        around = source.parents.get(text)
        if isinstance(around, ast.Call):
            return root_name(around.func) in LOGGING or call_name(around).startswith("group_")
        targets = _targets(around) if isinstance(around, ast.Assign) else []
        return any(re.search("group|room|channel", ast.unparse(target), re.IGNORECASE) for target in targets)

    def _request(self, source, node):
        """Judges any other use of a request or a scope."""
        parent = source.parents.get(node)
        # `self.request` where `request` is a name of its own, and parameters of functions.
        if isinstance(parent, ast.arg) or ast.unparse(parent) in self.requests | self.scopes:
            return
        if isinstance(parent, ast.Attribute) and parent.attr == "get" and isinstance(source.parents[parent], ast.Call):
            parent = source.parents[parent]
        if self.is_user(parent) or isinstance(parent, (ast.Assign, ast.Delete)):
            return
        if ast.unparse(node) in self.scopes:
            is_fine = key_of(parent) in HARMLESS_SCOPE
        elif isinstance(parent, ast.Attribute):
            is_fine = parent.attr in HARMLESS_REQUEST
        elif isinstance(parent, ast.Dict):
            is_fine = self.uses.hands_on = True
        else:
            is_fine = isinstance(parent, ast.Call) and self._stays(parent)
        if not is_fine:
            self.uses.doubt(source.shown(node))

    def _stays(self, call):
        """Tests for a call of a function that is read here, or of the framework's base class."""
        return self._own_name(call) in self.functions or ast.unparse(call.func).startswith("super().")

    def _compared_claims(self, source, node):
        """Doubts a comparison of claimed ids with the participants: Chatferry compares those of known callers only."""
        sides = (node.left, *node.comparators)
        names = {inner.attr for side in sides for inner in ast.walk(side) if isinstance(inner, ast.Attribute)}
        if _all_people(names) & PARTICIPANTS and not any(self._has_caller(side) for side in sides):
            self.uses.doubt(source.shown(node))

    def _has_caller(self, side):
        return any(self.is_user(node) or self.id_of(node) for node in ast.walk(side))

    def _own_sign_in(self, source, node):
        """Doubts secrets shown by a client, participants claimed by it, and `self` given to code elsewhere."""
        texts = (getattr(node, name, None) for name in ("id", "attr", "value"))
        is_claim = isinstance(node, ast.keyword) and _people(node.arg) & PARTICIPANTS
        if any(isinstance(text, str) and " " not in text and SECRETS.search(text) for text in texts):
            self.uses.doubt(source.shown(node))
        elif self.claims and is_claim and not self._has_caller(node.value):
            self.uses.doubt(source.shown(node.value))
        elif isinstance(node, ast.Name) and node.id == "self":
            call = source.parents.get(node)
            if isinstance(call, (ast.Call, ast.keyword, ast.Starred)) and not ast.unparse(call).startswith("super("):
                self.uses.doubt(source.shown(node))


def _targets(assignment):
    return assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]


def _people(name):
    match = PEOPLE.search(name) if isinstance(name, str) else None
    return {match[1]} if match else set()


def _all_people(names):
    return {person for name in names for person in _people(name)}
