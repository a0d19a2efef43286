"""The guides as text: log lines that they quote are logged, and addresses are the same everywhere."""

import re
import unittest

from fronts import HERE
from pair import ROOT

GUIDES = [path for folder in (".", "compat", "grafana", "src", "tests") for path in sorted((ROOT / folder).glob("*.md"))]
GUIDES += [path for folder in ("compat", "src", "tests") for path in sorted((ROOT / folder).glob("[!.]*/**/README.md"))]
EVENT = re.compile(r"tracing::(?:error|warn|info|debug|trace)!\((.*?)\);", re.DOTALL)
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


def logged():
    """Patterns of all texts that are logged: anything may stand where a value is written."""
    found = set()
    for file in sorted((ROOT / "src").rglob("*.rs")):
        for event in EVENT.findall(file.read_text(encoding="utf-8")):
            for text in LITERAL.findall(event):
                text = re.sub(r"\\\n\s*", "", text).replace(r"\"", '"')
                parts = re.split(r"\{[^{}]*\}", text)
                # A value alone, as a warning of the settings, would be any line.
                if any(len(part) > 3 for part in parts):
                    found.add(".+".join(map(re.escape, parts)))
                # A guide may leave out what follows a colon.
                if parts[0].endswith(": "):
                    found.add(re.escape(parts[0][:-2]))
    return found


def quoted():
    """(guide, line of the log): behind `#` after journalctl, and in backticks after words like "a line in the log"."""
    for guide in GUIDES:
        text = guide.read_text(encoding="utf-8")
        for line in re.findall(r"(?m)^journalctl .*# (.*)$", text):
            yield guide, line
        for line in re.findall(r"\b(?:in the log|log's line|the log says),?\s+`([^`]+)`", text):
            yield guide, line


class Guides(unittest.TestCase):
    def test_every_log_line_that_a_guide_quotes_is_logged(self):
        patterns, lines = logged(), list(quoted())
        self.assertGreater(len(patterns), 60)
        self.assertGreater(len(lines), 2)
        for guide, line in lines:
            here = any(re.fullmatch(pattern, line) for pattern in patterns)
            self.assertTrue(here, f"{guide.relative_to(ROOT)}: {line}")

    def test_systemd_and_the_fronts_have_chatferry_and_django_where_the_guide_has_them(self):
        guide = (ROOT / "compat/README.md").read_text(encoding="utf-8")
        said = re.search(r"Django is at ([\d.:]+), Chatferry at ([\d.:]+), and `front`", guide)
        self.assertIsNotNone(said)
        django, chatferry = said[1], said[2]
        socket = (HERE / "systemd/chatferry.socket").read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"(?m)^ListenStream=(.*)$", socket), [chatferry])
        unit = (HERE / "systemd/django-chat.service").read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"-b (\S+) -p (\d+)", unit), [tuple(django.split(":"))])
        for sample in (*(HERE / "nginx").glob("*.conf"), *(HERE / "haproxy").glob("*.cfg")):
            named = set(re.findall(r"127\.0\.0\.1:\d+", sample.read_text(encoding="utf-8")))
            self.assertLessEqual(named, {django, chatferry}, sample.name)
        settings = (ROOT / "compat/chatferry_compat/chatferry_compat/settings_file.py").read_text(encoding="utf-8")
        self.assertEqual(re.findall(r'"server\.bind", "([^"]+)"', settings), [chatferry])


if __name__ == "__main__":
    unittest.main()
