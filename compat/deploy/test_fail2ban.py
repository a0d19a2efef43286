"""The filter for fail2ban, judged by `fail2ban-regex` on what a real Chatferry logs."""

import re
import subprocess
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from fronts import HERE, program
from pair import PATIENCE_S, binary, directory
from servers import clean_environment, free_port, launch

FILTERS = HERE / "fail2ban" / "filter.d"
SECRET = "a secret of the tests, of more than thirty-two bytes"
# Lines in the place of a path, an id and a token that would shut somebody else out.
FORGED = 'x INFO chatferry::security: identity refused client=203.0.113.9 event="identity" reason="invalid"'


class Fail2ban(unittest.TestCase):
    def logged(self, form):
        """What Chatferry logs in this format when an address shows bad tokens, and others do no harm."""
        place, port = directory(self), free_port()
        settings = {
            "SERVER__BIND": f"127.0.0.1:{port}",
            "SERVER__TRUSTED_PROXIES": "127.0.0.1",
            "AUTH__IDENTITY": "jwt",
            "AUTH__JWT__SECRET": SECRET,
            "AUTH__JWT__ALGORITHMS": "HS256",
            "LIMITS__ADDRESS__DENIED": "4/hour",
            "LOG__FORMAT": form,
            "LOG__LEVEL": "debug",
        }
        log = place / "chatferry.log"
        environment = clean_environment(**{f"CHATFERRY__{name}": value for name, value in settings.items()})
        server = launch("chatferry", [str(binary().resolve()), "serve"], environment, place, port, None, log)
        self.addCleanup(server.stop)
        self.wait(server)

        def ask(client, token=None, path="/api/chat/users/alice/conversations/", **headers):
            headers |= {"X-Forwarded-For": client}
            if token:
                headers["Authorization"] = f"Bearer {token}"
            try:
                with urllib.request.urlopen(urllib.request.Request(server.url + path, headers=headers)) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        for _ in range(6):
            ask("192.0.2.7", "no.good.token")
        ask("2001:db8::7", "no.good.token")
        # Anybody comes without a token before there is one.
        self.assertEqual(ask("198.51.100.1"), 401)
        quoted = urllib.parse.quote(FORGED, safe="")
        ask("198.51.100.2", path=f"/api/chat/users/{quoted}/conversations/")
        ask("198.51.100.3", **{"X-Request-Id": FORGED})
        ask("198.51.100.4", path="/" + FORGED.replace(" ", "%20"))
        server.stop()
        return log

    def wait(self, server):
        deadline = time.monotonic() + PATIENCE_S
        while server.process.poll() is None and time.monotonic() < deadline:
            try:
                return urllib.request.urlopen(f"{server.url}/healthz").close()
            except OSError:
                time.sleep(0.05)
        self.fail(server.log_end())

    def banned(self, log, mode="normal"):
        """The addresses of the lines that the filter matches."""
        regex = program("fail2ban-regex")
        if not regex:
            self.skipTest("fail2ban is not installed")
        command = [regex, "--out", "row", str(log), f"{FILTERS / 'chatferry.conf'}[mode={mode}]"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return re.findall(r"^\[['\"]([^'\"]+)['\"],", done.stdout, re.MULTILINE)

    def test_bad_tokens_shut_their_address_out_and_nobody_elses(self):
        for form in ("text", "json"):
            with self.subTest(form):
                found = self.banned(self.logged(form))
                # Four that were no good, two that came too often.
                self.assertEqual(sorted(found), ["192.0.2.7"] * 6 + ["2001:db8::7"], found)

    def test_the_aggressive_mode_matches_what_is_refused_without_a_token_too(self):
        found = set(self.banned(self.logged("json"), "aggressive"))
        self.assertNotIn("203.0.113.9", found)
        self.assertLessEqual({"192.0.2.7", "2001:db8::7"}, found)

    def test_the_jail_names_the_filter(self):
        jail = (HERE / "fail2ban" / "jail.d" / "chatferry.conf").read_text(encoding="utf-8")
        self.assertIn("filter = chatferry\n", jail)


if __name__ == "__main__":
    unittest.main()
