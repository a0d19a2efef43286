"""The guides as text: log lines that they quote are logged, and addresses are the same everywhere."""

import re
import subprocess
import unittest

from fronts import HERE
from pair import ROOT, binary, directory

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
        # A part of a line that is looked for, if it has more than one word.
        for command in re.findall(r"journalctl .*", text):
            yield from ((guide, part) for part in re.findall(r"'(\w+ [^']+)'", command))
        for line in re.findall(r"\b(?:in the log|log's line|the log says),?\s+`([^`]+)`", text):
            yield guide, line


class Guides(unittest.TestCase):
    def test_every_log_line_that_a_guide_quotes_is_logged(self):
        patterns, lines = logged(), list(quoted())
        self.assertGreater(len(patterns), 60)
        self.assertGreater(len(lines), 2)
        for guide, line in lines:
            here = any(re.fullmatch(pattern, line) or re.escape(line) in pattern for pattern in patterns)
            self.assertTrue(here, f"{guide.relative_to(ROOT)}: {line}")

    def test_systemd_and_the_fronts_have_chatferry_and_django_where_the_guide_has_them(self):
        guide = (ROOT / "compat/MOVE.md").read_text(encoding="utf-8")
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


class Links(unittest.TestCase):
    def test_every_link_leads_to_a_file_and_to_a_heading_of_it(self):
        lost, found = [], 0
        for guide in GUIDES:
            text = re.sub(r"(?ms)^```.*?^```", "", guide.read_text(encoding="utf-8"))
            for link in re.findall(r"\]\(([^)\s]+)\)", text):
                if link.startswith(("http:", "https:")):
                    continue
                found += 1
                path, _, heading = link.partition("#")
                place = (guide.parent / path).resolve() if path else guide
                if not place.exists() or heading and heading not in headings(place):
                    lost.append(f"{guide.relative_to(ROOT)}: {link}")
        self.assertGreater(found, 60)
        self.assertEqual(lost, [])


def headings(guide):
    """The anchors of a guide, as its headings make them."""
    lines = re.findall(r"(?m)^#+ (.*)$", guide.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


class Symptoms(unittest.TestCase):
    """The table at the top of the guide of a move."""

    @classmethod
    def setUpClass(cls):
        cls.guide = (ROOT / "compat/MOVE.md").read_text(encoding="utf-8")
        table = cls.guide.partition("| Symptom | Command |\n|---|---|\n")[2].partition("\n\n")[0]
        found = [re.findall(r"`([^`]+)`", line) for line in table.splitlines()]
        # A pipe within a table has a backslash before it.
        cls.commands = [part.replace("\\|", "|") for parts in found for part in parts if " " in part]

    def test_every_command_is_one(self):
        self.assertGreater(len(self.commands), 10)
        for command in self.commands:
            done = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), command)
            self.assertIn(command.split()[0], ("sed", "systemctl", "curl", "chatferry", "journalctl"))

    def test_the_first_one_sets_the_share_to_nothing_in_the_file_that_the_guide_makes(self):
        made = re.search(r"cat >> chatferry.toml <<'END'\n(.*?)END\n", self.guide, re.DOTALL)[1]
        file = directory(self) / "chatferry.toml"
        for percent in (10, 50, 100):
            file.write_text(made.replace("rollout_percent = 0", f"rollout_percent = {percent}"), encoding="utf-8")
            edit, _, reload = self.commands[0].partition(" && ")
            subprocess.run(["sh", "-c", edit.replace("/etc/chatferry/chatferry.toml", str(file))], check=True)
            self.assertEqual(file.read_text(encoding="utf-8"), made)
            self.assertEqual(reload, "systemctl reload chatferry")

    def test_chatferry_has_the_commands_and_flags(self):
        program = binary()
        if program is None:
            self.skipTest("no chatferry binary: build it, or name it in CHATFERRY_BINARY")
        ours = [command.partition(" |")[0].split() for command in self.commands if command.startswith("chatferry ")]
        self.assertGreater(len(ours), 2)
        for _, name, *arguments in ours:
            asked = [program.resolve(), name, "--help"]
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, name)
            for flag in (argument for argument in arguments if argument.startswith("-")):
                self.assertIn(flag, done.stdout, name)


if __name__ == "__main__":
    unittest.main()
