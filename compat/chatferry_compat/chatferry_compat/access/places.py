"""Headers, subprotocols and queries that tokens come in, by settings and the middleware around the consumer."""

import ast

from ..finding import LOOK, Finding
from ..toml import Entry
from . import middleware


def words(found, default):
    """Returns the words before a token in `Authorization`."""
    return [Entry("auth.token_words", list(found))] if found and list(found) != default else []


def protocols(modules):
    """Returns a finding for middleware that reads subprotocols: its word before the token is not known."""
    if not any("subprotocol" in ast.unparse(read.tree) for read in modules):
        return []
    text = "the middleware around the consumer reads them; Chatferry takes `access_token, TOKEN`"
    advice = "Write the word that clients use, or auth.token_is_protocol = true if there is none."
    finding = Finding(LOOK, "access", "auth.token_protocols", text, advice)
    return [Entry("auth.token_protocols", findings=[finding])]


def query(section, modules, default):
    """Returns the query parameter that the middleware reads a token from."""
    keys = sorted({key if isinstance(key, str) else key.decode() for key in middleware.query_keys(modules)})
    if len(keys) == 1 and keys != [default]:
        return [Entry(f"{section}.query", keys[0], comments=["As the middleware around the consumer reads it."])]
    if len(keys) < 2:
        return []
    text = f"the middleware around the consumer looks up {', '.join(keys)}; Chatferry takes one name"
    finding = Finding(LOOK, "access", f"{section}.query", text, "Write the one that clients use.")
    return [Entry(f"{section}.query", findings=[finding])]
