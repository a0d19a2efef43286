"""The section `auth.jwt`, from the settings of Django simplejwt."""

from datetime import timedelta

from django.conf import settings

from ..finding import BREAKS, LOOK, Finding
from ..toml import Entry
from . import middleware, places

SECTION = "auth.jwt"
#: Seconds that a token of a user who was deleted may be good for, without a decision.
LONGEST = 3600
ALGORITHMS = {
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"),
}
#: Settings by which simplejwt refuses what Chatferry would take, with the only value that is the same here.
RULES = {
    "TOKEN_TYPE_CLAIM": "token_type",
    "CHECK_REVOKE_TOKEN": False,
    "USER_AUTHENTICATION_RULE": "rest_framework_simplejwt.authentication.default_user_authentication_rule",
    "AUTH_TOKEN_CLASSES": ("rest_framework_simplejwt.tokens.AccessToken",),
}


def _find(severity, name, text, advice):
    return Finding(severity, "access", f"SIMPLE_JWT[{name!r}]", text, advice)


def entries(attribute, doors):
    """Returns (entries, reasons why Chatferry must not read the tokens without a decision)."""
    readers = [reader for door in doors for reader in door.readers]
    others = [read for read in readers if not isinstance(read, type)]
    if others and not middleware.uses_simplejwt(others):
        return [], ["the middleware around the consumer reads tokens by itself, with keys that are not found"]
    try:
        from rest_framework_simplejwt.settings import api_settings
    except ImportError:
        return [], ["tokens are not those of rest_framework_simplejwt"]
    is_stateless = readers and all(getattr(cls, "__name__", "") == "JWTStatelessUserAuthentication" for cls in readers)
    reasons = _rules(api_settings)
    if not is_stateless:
        reasons += _lifetime(api_settings)
    if attribute not in (api_settings.USER_ID_FIELD, "pk" if api_settings.USER_ID_FIELD == "id" else None):
        reasons.append(f"tokens name users by their {api_settings.USER_ID_FIELD}, and the chat by their {attribute}")
    keys, unusable = _keys(api_settings)
    found = [*keys, *_claims(api_settings), *_places(api_settings, others, readers)]
    if not is_stateless:
        found.append(_ended_users(api_settings))
    return found, reasons + unusable


def _rules(tokens):
    user_settings = getattr(settings, "SIMPLE_JWT", {})
    reasons = []
    for name, wanted in RULES.items():
        here = user_settings.get(name, wanted)
        here = tuple(here) if isinstance(here, list) else here
        if here != wanted:
            reasons.append(f"SIMPLE_JWT[{name!r}] = {here!r} is not looked at by Chatferry")
    if tokens.AUTH_HEADER_NAME != "HTTP_AUTHORIZATION":
        reasons.append(f"tokens come in the header {tokens.AUTH_HEADER_NAME}, and Chatferry reads Authorization")
    return reasons


def _lifetime(tokens):
    """Returns a reason for long lives: Django looks the user up with each token, Chatferry does not."""
    lifetime = tokens.ACCESS_TOKEN_LIFETIME
    if lifetime <= timedelta(seconds=LONGEST):
        return []
    return [
        f"tokens live for {lifetime}; Django refuses those of deleted and inactive users at once, Chatferry when "
        f"they end: shorten ACCESS_TOKEN_LIFETIME to {LONGEST} s or less, or decide that they may go on"
    ]


def _ended_users(tokens):
    entry = Entry(f"{SECTION}.user_claim")
    text = (
        f"a token of somebody who was deleted or made inactive is good until it ends, "
        f"{tokens.ACCESS_TOKEN_LIFETIME} after it was made; Django asks for the user each time"
    )
    advice = "Keep ACCESS_TOKEN_LIFETIME short, or take tokens back by auth.jwt.revoked_prefix."
    entry.findings.append(_find(BREAKS, "ACCESS_TOKEN_LIFETIME", text, advice))
    return entry


def _keys(tokens):
    """Returns (entries of the keys, reasons why they cannot be used)."""
    algorithm = tokens.ALGORITHM
    found = [Entry(f"{SECTION}.algorithms", [algorithm])]
    if algorithm not in ALGORITHMS:
        return [], [f"the algorithm {algorithm} is not one of Chatferry's"]
    if tokens.JWK_URL:
        return [*found, Entry(f"{SECTION}.jwks_url", tokens.JWK_URL)], []
    if algorithm.startswith("HS"):
        comment = "SIGNING_KEY of simplejwt, which is Django's SECRET_KEY if it is not set."
        entry = Entry(f"{SECTION}.secret", str(tokens.SIGNING_KEY), "", [comment])
        if len(entry.value.encode()) * 8 < int(algorithm[2:]):
            text = f"it is shorter than {int(algorithm[2:]) // 8} bytes, which {algorithm} needs to be safe"
            entry.findings.append(_find(BREAKS, "SIGNING_KEY", text, "Give Django and Chatferry a longer key."))
        return [*found, entry], []
    entry = Entry(f"{SECTION}.public_key_file", "verifying_key.pem")
    text = "the key is in Django's settings, and Chatferry reads it from a file"
    entry.findings.append(_find(LOOK, "VERIFYING_KEY", text, "Write it there, and its place here."))
    return [*found, entry], []


def _claims(tokens):
    yield Entry(f"{SECTION}.user_claim", tokens.USER_ID_CLAIM)
    if tokens.ISSUER:
        yield Entry(f"{SECTION}.issuer", tokens.ISSUER)
    if tokens.AUDIENCE:
        audiences = [tokens.AUDIENCE] if isinstance(tokens.AUDIENCE, str) else list(tokens.AUDIENCE)
        entry = Entry(f"{SECTION}.audience", audiences[0])
        if len(audiences) > 1:
            text = f"one of {', '.join(audiences)}; Chatferry takes one alone"
            entry.findings.append(_find(BREAKS, "AUDIENCE", text, "Use one audience for the chat."))
        yield entry
    leeway = tokens.LEEWAY
    seconds = leeway.total_seconds() if isinstance(leeway, timedelta) else leeway
    yield Entry(f"{SECTION}.leeway_s", int(seconds))


def _places(tokens, modules, readers):
    """Yields the headers, queries and cookies of tokens."""
    words = tokens.AUTH_HEADER_TYPES
    yield from places.words([words] if isinstance(words, str) else words, ["Bearer"])
    yield from places.protocols(modules)
    yield from places.query(SECTION, modules, "token")
    if any(cls.__module__.startswith("dj_rest_auth.") for cls in readers if isinstance(cls, type)):
        cookie = getattr(settings, "REST_AUTH", {}).get("JWT_AUTH_COOKIE") or getattr(settings, "JWT_AUTH_COOKIE", None)
        if cookie:
            yield Entry(f"{SECTION}.cookie", cookie)
