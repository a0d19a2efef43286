"""One identity and one policy for all doors: Chatferry has no more than one of each."""

from dataclasses import dataclass

from ..finding import BREAKS, DIFFERS, Finding
from .caller import Level

#: Ways to know a caller, and their `auth.identity`.
IDENTITIES = {"session": "django_session", "jwt": "jwt", "authtoken": "django_token"}
WAYS = {
    "session": "Django's session",
    "jwt": "a JSON Web Token",
    "authtoken": "a token of rest_framework.authtoken",
    "basic": "a password in each request",
}
POLICIES = {Level.NOBODY: "open", Level.LOGIN: "open", Level.PARTICIPANTS: "participants"}
LEVELS = {
    Level.NOBODY: "Django asks nobody here",
    Level.LOGIN: "Django asks for a login alone here",
    Level.PARTICIPANTS: "Django serves participants alone here",
}
DECIDE = "Read that code, then write {key}: {choices}."
CHOICES = {
    "auth.identity": "none, django_session, django_token or jwt",
    "auth.policy": "participants, or open if every caller who is known may do everything",
}


@dataclass(frozen=True)
class Decision:
    """`identity` and `policy` are None where they cannot be told; the reasons say why."""

    doors: tuple
    identity: str | None
    identity_reason: str
    policy: str | None
    policy_reason: str
    #: The attribute of the user that the chat's ids are.
    attribute: str
    #: The ways by which callers are known at some door.
    ways: frozenset

    def findings(self):
        """Yields doors where Django's rules are not those of this decision."""
        if self.identity == "none":
            return
        strictest = max((door.uses.asked for door in self.doors), default=Level.NOBODY)
        for door in self.doors:
            if door.level is not Level.UNKNOWN and door.level is not strictest and strictest > Level.NOBODY:
                ours = "participants" if strictest is Level.PARTICIPANTS else "callers it knows"
                text = f"{LEVELS[door.level]}; Chatferry serves {ours} alone"
                yield Finding(BREAKS, "access", door.name, text, "Ask for the same in Django first.")
            elif door.uses.speaks and not door.uses.participants:
                text = "Django checks who sends here, and not who takes part; Chatferry serves participants alone"
                yield Finding(BREAKS, "access", door.name, text, "Ask for the same in Django first.")
            lost = sorted(door.ways - self.ways) if door.uses.asked > Level.NOBODY else ()
            if self.ways and lost and lost != ["basic"]:
                text = f"callers known by {' or '.join(map(name_of, lost))} are refused by Chatferry"
                yield Finding(BREAKS, "access", door.name, text, "Let all clients show the same in Django first.")
        if self.identity:
            text = "refusals are a 401 (403 with sessions), and a 404 for what is not the caller's, as STATUS.md says"
            yield Finding(DIFFERS, "access", "refusals", text, "Matters only to clients that read their texts.")


def decide(doors):
    evident = [door for door in doors if door.uses.asked > Level.NOBODY]
    doubts = [f"{door.name}: {doubt}" for door in doors for doubt in door.uses.doubts]
    if not evident and not doubts:
        return Decision(tuple(doors), "none", "", "open", "", "pk", frozenset())
    identity, identity_reason, ways = _identity(evident, doubts)
    attribute, other = _attribute(doors)
    level = max((door.uses.asked for door in evident), default=Level.NOBODY)
    policy = None if doubts or other else POLICIES[level]
    reason = other or _several(doubts)
    return Decision(tuple(doors), identity, identity_reason, policy, reason, attribute, ways)


def _identity(evident, doubts):
    if not evident:
        return None, f"it cannot be told whether callers must be known: {_several(doubts)}", frozenset()
    common = frozenset.intersection(*(door.ways for door in evident))
    if len(common) > 1:
        common -= {"basic"}
    if len(common) == 1:
        (way,) = common
        if way in IDENTITIES:
            return IDENTITIES[way], "", common
        return None, f"callers are known by {name_of(way)}, which Chatferry does not read", frozenset()
    shown = "; ".join(f"{door.name}: {' or '.join(map(name_of, sorted(door.ways))) or 'unknown'}" for door in evident)
    reason = "callers are known in more than one way" if common else "no way to know a caller is good at every door"
    return None, f"{reason}: {shown}", frozenset()


def _attribute(doors):
    """Returns (the attribute of the user that is compared, the reason why there is not one)."""
    found = {name if name != "id" else "pk" for door in doors for name in door.uses.attributes}
    if len(found) > 1:
        return "pk", f"users are named by their {' and their '.join(sorted(found))}"
    return (found or {"pk"}).pop(), ""


def name_of(way):
    return WAYS.get(way, way)


def _several(texts, most=4):
    more = f"; and {len(texts) - most} more" if len(texts) > most else ""
    return "; ".join(texts[:most]) + more


def advice(key):
    return DECIDE.format(key=key, choices=CHOICES[key])
