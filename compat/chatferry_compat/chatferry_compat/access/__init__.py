"""Authentication and authorization of the chat, found in views, consumer and middleware.

| module | what it is |
|---|---|
| `caller` | use of the user of a request or a socket in source |
| `doors` | each view and the consumer, with its authentication and its rules |
| `middleware` | code around them: harmless, reading tokens, or not known |
| `decision` | one identity and one policy for all doors, or the reason why there is none |
| `entries` | the sections `auth` and `cors`, origins and limits |
| `sessions`, `tokens`, `opaque_tokens` | the sections `auth.django_session`, `auth.jwt` and `auth.django_token` |
| `places` | headers, subprotocols and queries that tokens come in |

Nothing looser than the project's own rules may come out: what cannot be judged is a doubt, and a doubt ends in a value
that Chatferry refuses to start with.
"""
