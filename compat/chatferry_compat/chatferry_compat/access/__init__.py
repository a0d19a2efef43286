"""Whom the chat asks who they are, and what it lets them do: found in views, consumer and middleware.

| module | what it is |
|---|---|
| `caller` | what source does with the user of a request or a socket |
| `doors` | each view and the consumer: how a caller is known there, and what is asked of one |
| `middleware` | what stands around them: what lets everybody pass, and what may not |
| `decision` | one identity and one policy for all doors, or why there is none |
| `entries` | the sections `auth` and `cors`, and what else belongs to them |
| `sessions`, `tokens`, `opaque_tokens` | what `auth.django_session`, `auth.jwt` and `auth.django_token` need |
| `places` | where clients put their tokens |

Nothing looser than the project's own rules may come out: what cannot be judged is a doubt, and a doubt ends in a value
that Chatferry refuses to start with.
"""
