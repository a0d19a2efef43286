"""The settings of identity, policy, origins and limits. One that was not found gets a value that `serve` refuses."""

from django.conf import settings

from .. import sockets
from ..finding import BREAKS, LOOK, Finding
from ..toml import Entry, undecided
from . import decision, opaque_tokens, sessions, tokens
from .doors import attribute as view_attribute


def read(decided, alias):
    """Returns the entries of `auth` for a decision."""
    if decided.identity == "none":
        entry = Entry("auth.identity", "none")
        entry.comments.append("none: the ids that a client gives are believed, as in the original.")
        return [entry]
    found, reasons = [], [decided.identity_reason] if decided.identity is None else []
    if decided.identity == "django_session":
        found, reasons = sessions.entries(decided.attribute, alias)
    elif decided.identity == "jwt":
        found, reasons = tokens.entries(decided.attribute, decided.doors)
    elif decided.identity == "django_token":
        found, reasons = opaque_tokens.entries(decided.attribute, decided.doors, alias)
    return [_identity(decided, reasons), _policy(decided), *found]


def _identity(decided, reasons):
    key = "auth.identity"
    if not reasons:
        return Entry(key, decided.identity)
    text = "; ".join(reasons)
    meant = f"{decided.identity} was found, but {text}" if decided.identity else text
    return undecided(key, _find(BREAKS, key, meant, decision.advice(key)), decision.CHOICES[key])


def _policy(decided):
    key = "auth.policy"
    if decided.policy is None:
        text = f"what callers may do cannot be told: {decided.policy_reason}"
        return undecided(key, _find(BREAKS, key, text, decision.advice(key)), decision.CHOICES[key])
    entry = Entry(key, decided.policy)
    if decided.policy == "open":
        entry.comments.append(
            "open: as in Django, every caller who is known may read and write as anybody; participants is safer."
        )
    if doors := [finding.subject for finding in decided.findings() if finding.severity == BREAKS]:
        names = ", ".join(dict.fromkeys(doors))
        entry.comments.append(f"Not what Django asks at {names}: chatferry_check says more.")
    return entry


def origins(socket):
    """Returns the origins that may open a socket. An empty list would allow all."""
    allowed, unmapped = sockets.origins(socket) if socket else (None, [])
    if allowed is None:
        return []
    key, subject = "ws.allowed_origins", "allowed origins"
    if not allowed:
        shown = f"patterns as {', '.join(unmapped)}" if unmapped else "an empty list"
        text = f"{shown} cannot be written here, and no origin at all would let every page in"
        return [undecided(key, _find(LOOK, subject, text, "List every origin that is used."), "a list of origins")]
    entry = Entry(key, allowed)
    if unmapped:
        text = f"patterns as {', '.join(unmapped)} are not served, only whole origins, and `same` for the host itself"
        entry.findings.append(_find(LOOK, subject, text, "List every origin that is used."))
    return [entry]


def cors(has_cookies):
    """Returns the origins of django-cors-headers. Chatferry lets listed ones send cookies, so that Django must too."""
    if not any(name.startswith("corsheaders.") for name in settings.MIDDLEWARE):
        return []
    every = getattr(settings, "CORS_ALLOW_ALL_ORIGINS", getattr(settings, "CORS_ORIGIN_ALLOW_ALL", False))
    listed = getattr(settings, "CORS_ALLOWED_ORIGINS", getattr(settings, "CORS_ORIGIN_WHITELIST", ()))
    entry = Entry("cors.allowed_origins", ["*"] if every else list(map(sockets.as_sent, listed)))
    if has_cookies and not every and not getattr(settings, "CORS_ALLOW_CREDENTIALS", False):
        text = "Chatferry lets listed origins send cookies, Django does not: none is written"
        entry.value = []
        entry.findings.append(_find(LOOK, "CORS_ALLOW_CREDENTIALS", text, "List those that may."))
    if getattr(settings, "CORS_ALLOWED_ORIGIN_REGEXES", ()):
        text = "patterns are not served, only whole origins"
        entry.findings.append(_find(LOOK, "CORS_ALLOWED_ORIGIN_REGEXES", text, "List every origin that is used."))
    return [entry]


def throttles(rest, has_identity):
    """Returns a limit to decide for the rates of REST framework, which counts otherwise."""
    views = rest.view_classes() if rest else ()
    found = {}
    for view in views:
        for throttle in view_attribute(view, "throttle_classes") or ():
            found.setdefault(throttle.__name__, _rate(throttle, view))
    if not found:
        return []
    shown = ", ".join(f"{name} {rate}" for name, rate in found.items())
    key = "limits.user.requests" if has_identity else "limits.address.requests"
    text = f"Django limits requests by {shown}; Chatferry's limits are for all paths together, in each process"
    finding = Finding(BREAKS, "views", "throttle_classes", text, "Write a rate as 100/min, or nothing for no limit.")
    return [undecided(key, finding, "a rate as 100/min, or nothing for no limit")]


def _rate(throttle, view):
    scope = getattr(throttle, "scope", None) or getattr(view.cls, "throttle_scope", None)
    return getattr(throttle, "rate", None) or getattr(throttle, "THROTTLE_RATES", {}).get(scope) or "of its own"


def _find(severity, subject, text, advice):
    return Finding(severity, "access", subject, text, advice)
