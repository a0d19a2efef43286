"""Tokens of simplejwt and of `authtoken` in a chatferry.toml."""

import unittest

from access_cases import ASKS_LOGIN, ASKS_PARTICIPANTS, JWT, TAKES_PART, TOKEN_MIDDLEWARE, WITH_TOKENS, AccessCase
from support import Project


class Tokens(AccessCase):
    def test_tokens_of_simplejwt_with_all_their_settings(self):
        settings = JWT + (
            'SIMPLE_JWT = {"ALGORITHM": "HS512", "USER_ID_CLAIM": "uid", "ISSUER": "https://login.example",\n'
            '    "AUDIENCE": "chat", "LEEWAY": 5, "AUTH_HEADER_TYPES": ("JWT",), "SIGNING_KEY": "s3cret" * 8}\n'
        )
        project, parsed, text = self.written(
            ASKS_LOGIN, *WITH_TOKENS, settings=settings, files={"service/tokens.py": TOKEN_MIDDLEWARE}
        )
        self.assertEqual(
            parsed["auth"],
            {
                "identity": "jwt",
                "policy": "open",
                "token_words": ["JWT"],
                "jwt": {
                    "algorithms": ["HS512"],
                    "secret": "",
                    "user_claim": "uid",
                    "issuer": "https://login.example",
                    "audience": "chat",
                    "leeway_s": 5,
                    "query": "access_token",
                },
            },
        )
        self.assertNotIn("s3cret", text)
        self.assert_loads(text)
        self.assertIn("CHATFERRY__AUTH__JWT__SECRET", project.manage("chatferry_settings", "--env").stdout)
        found = self.findings_of(project)
        self.assertIn(("breaks", "SIMPLE_JWT['ACCESS_TOKEN_LIFETIME']"), found)

    def test_a_key_that_is_too_short_to_be_safe(self):
        project = Project(self, settings=JWT + 'SIMPLE_JWT = {"SIGNING_KEY": "short"}\n')
        self.assertIn(("breaks", "SIMPLE_JWT['SIGNING_KEY']"), self.findings_of(project))
        self.assertNotIn(("breaks", "SIMPLE_JWT['SIGNING_KEY']"), self.findings_of(Project(self, settings=JWT)))

    def test_rules_of_tokens_that_chatferry_does_not_have(self):
        for rule in (
            '"CHECK_REVOKE_TOKEN": True',
            '"ACCESS_TOKEN_LIFETIME": timedelta(days=30)',
            '"TOKEN_TYPE_CLAIM": "kind"',
            '"USER_ID_FIELD": "username"',
            '"AUTH_TOKEN_CLASSES": ("rest_framework_simplejwt.tokens.SlidingToken",)',
        ):
            edits = [ASKS_PARTICIPANTS, TAKES_PART, *WITH_TOKENS]
            settings = f"from datetime import timedelta\n{JWT}SIMPLE_JWT = {{{rule}}}\n"
            with self.subTest(rule):
                self.assert_undecided(
                    "auth.identity", edits=edits, settings=settings, files={"service/tokens.py": TOKEN_MIDDLEWARE}
                )

    def test_middleware_that_looks_at_more_than_the_token(self):
        source = TOKEN_MIDDLEWARE.replace(
            "return get_user", "Revoked.objects.get(token=token)\n        return get_user"
        )
        edits = [ASKS_LOGIN, *WITH_TOKENS]
        self.assert_undecided("auth.policy", edits=edits, settings=JWT, files={"service/tokens.py": source})

    def test_tokens_for_views_and_sessions_for_sockets(self):
        text = self.assert_undecided("auth.identity", edits=[ASKS_LOGIN], settings=JWT)
        self.assertIn("no way to know a caller is good at every door", text)

    def test_views_that_take_both(self):
        both = JWT.replace(
            '["rest_framework_simplejwt',
            '["rest_framework.authentication.SessionAuthentication", "rest_framework_simplejwt',
        )
        self.assert_undecided("auth.identity", settings=both)
        project, parsed, _ = self.written(ASKS_LOGIN, settings=both)
        self.assertEqual(parsed["auth"]["identity"], "django_session")
        self.assertIn(("breaks", "conversations/"), self.findings_of(project))

    def test_opaque_tokens_with_a_word_and_a_table(self):
        own = (
            "from rest_framework.authentication import TokenAuthentication\n\n\n"
            'class Keyed(TokenAuthentication):\n    keyword = "Key"\n'
        )
        settings = JWT.replace("rest_framework_simplejwt.authentication.JWTAuthentication", "service.own.Keyed")
        settings += 'INSTALLED_APPS += ["rest_framework.authtoken"]\n'
        source = TOKEN_MIDDLEWARE.replace(
            "rest_framework_simplejwt.tokens import AccessToken", "rest_framework.authtoken.models import Token"
        )
        source = source.replace(
            'get_user_model().objects.get(id=AccessToken(token)["user_id"])', "Token.objects.get(key=token).user"
        )
        source = source.replace("query = parse_qs", 'scope["subprotocols"]\n        query = parse_qs')
        edits = [ASKS_LOGIN, *WITH_TOKENS]
        project, parsed, text = self.written(
            *edits, settings=settings, files={"service/own.py": own, "service/tokens.py": source}
        )
        self.assertEqual(
            parsed["auth"],
            {
                "identity": "django_token",
                "policy": "open",
                "token_words": ["Key"],
                "django_token": {"table": "authtoken_token", "query": "access_token"},
                "django_session": {
                    "users_table": "auth_user",
                    "id_column": "id",
                    "password_column": "password",
                    "active_column": "is_active",
                    "user_column": "id",
                },
            },
        )
        self.assertIn(("look", "auth.token_protocols"), self.findings_of(project))
        self.assert_loads(text)

    def test_opaque_tokens_of_another_model(self):
        own = (
            "from rest_framework.authentication import TokenAuthentication\n\n\nclass Expiring:\n    pass\n\n\n"
            "class Own(TokenAuthentication):\n    model = Expiring\n"
        )
        settings = JWT.replace("rest_framework_simplejwt.authentication.JWTAuthentication", "service.own.Own")
        settings += 'INSTALLED_APPS += ["rest_framework.authtoken"]\n'
        self.assert_undecided("auth.identity", settings=settings, files={"service/own.py": own})

    def test_authentication_of_the_projects_own(self):
        own = (
            "from rest_framework_simplejwt.authentication import JWTAuthentication\n\n\n"
            "class Own(JWTAuthentication):\n    def get_header(self, request):\n"
            "        return request.META['HTTP_X_TOKEN']\n"
        )
        settings = JWT.replace("rest_framework_simplejwt.authentication.JWTAuthentication", "service.own.Own")
        self.assert_undecided("auth.identity", settings=settings, files={"service/own.py": own})


if __name__ == "__main__":
    unittest.main()
