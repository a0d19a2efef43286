"""The Compose file without a container engine: its form, its paths, and what it starts, with the real programs."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

import yaml
from pair import ROOT, directory, settings_in_force
from servers import REFERENCE, clean_environment, free_port, launch

HERE = ROOT / "compat"
FILE = HERE / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]


def mounts(service):
    """Pairs of a path of ours and the one in the container; volumes with a name are the engine's."""
    parts = (volume.split(":") for volume in SERVICES[service].get("volumes", []))
    return [(HERE / source, Path(target)) for source, target, *_ in parts if source.startswith(".")]


def tool(name):
    """A program of the Python packages."""
    return shutil.which(name, path=str(Path(sys.executable).parent))


def secrets(case):
    """What make-secrets makes, in a directory of the test's own."""
    made = directory(case) / "secrets"
    subprocess.run([HERE / "compose" / "make-secrets", made], check=True)
    return made


class Text(unittest.TestCase):
    """The file as text."""

    def test_it_is_what_the_compose_specification_asks_for(self):
        checker = tool("check-jsonschema")
        if not checker:
            self.skipTest("check-jsonschema is not installed")
        command = [checker, "--builtin-schema", "vendor.compose-spec", FILE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_linter_has_nothing_to_say_of_djangos_image(self):
        linter = tool("hadolint")
        if not linter:
            self.skipTest("hadolint is not installed")
        file = HERE / SERVICES["django"]["build"]["dockerfile"]
        done = subprocess.run([linter, file], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_every_path_is_there(self):
        contexts = {name: HERE / service["build"]["context"] for name, service in SERVICES.items() if "build" in service}
        files = [context / SERVICES[name]["build"].get("dockerfile", "Dockerfile") for name, context in contexts.items()]
        files += [source for name in SERVICES for source, _ in mounts(name)]
        copied = re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", files[1].read_text(encoding="utf-8"))
        files += [contexts["django"] / source for line in copied for source in line.split()]
        self.assertEqual(len(files), 2 + 5 + 4)
        for file in files:
            self.assertTrue(file.exists(), file)

    def test_images_that_others_make_are_named_by_tag(self):
        for name, service in SERVICES.items():
            if "build" not in service:
                self.assertRegex(service["image"], r":v?\d+\.\d+[\w.-]*$", name)

    def test_every_service_has_a_bound_and_an_address_for_this_machine_alone(self):
        for name, service in SERVICES.items():
            limits = service["deploy"]["resources"]["limits"]
            self.assertEqual(set(limits), {"cpus", "memory"}, name)
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")

    def test_chatferry_may_write_nothing_and_be_nobody(self):
        chatferry = SERVICES["chatferry"]
        self.assertTrue(chatferry["read_only"])
        self.assertEqual(chatferry["cap_drop"], ["ALL"])
        user = re.search(r"(?m)^USER (.*)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
        self.assertEqual(chatferry["user"], user[1])
        self.assertNotIn("volumes", chatferry)

    def test_nothing_secret_is_written_in_it(self):
        never = {"DATABASE_URL", "GF_SECURITY_ADMIN_PASSWORD", "MYSQL_PASSWORD", "MYSQL_ROOT_PASSWORD", "SECRET_KEY"}
        for name, service in SERVICES.items():
            environment = service.get("environment", {})
            self.assertEqual(never & set(environment), set(), name)
            for value in environment.values():
                self.assertNotRegex(value, "://[^/]*@", name)
            for secret in service.get("secrets", []):
                self.assertIn(secret, COMPOSE["secrets"], name)


class Secrets(unittest.TestCase):
    """make-secrets."""

    def test_it_makes_each_file_that_is_named_and_makes_none_anew(self):
        made = secrets(self)
        named = {HERE / secret["file"] for secret in COMPOSE["secrets"].values()}
        self.assertEqual({path.name for path in made.iterdir()}, {path.name for path in named})
        # Where make-secrets puts them when it is not told: no place for git.
        self.assertEqual({path.parent.relative_to(ROOT).as_posix() for path in named}, {"compat/compose/secrets"})
        ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
        self.assertIn("/compat/compose/secrets/", ignored)
        before = {path.name: path.read_text(encoding="utf-8") for path in made.iterdir()}
        self.assertIn(before["mysql_password"], before["database_url"])
        self.assertNotEqual(before["mysql_password"], before["grafana_password"])
        subprocess.run([HERE / "compose" / "make-secrets", made], check=True)
        self.assertEqual(before, {path.name: path.read_text(encoding="utf-8") for path in made.iterdir()})

    def test_only_their_owner_finds_them_and_any_user_of_a_container_reads_them(self):
        made = secrets(self)
        self.assertEqual(made.stat().st_mode & 0o777, 0o700)
        self.assertEqual({path.stat().st_mode & 0o777 for path in made.iterdir()}, {0o644})


class Settings(unittest.TestCase):
    """What the services are told, told to the real programs."""

    def test_chatferry_knows_every_setting(self):
        made = secrets(self)
        told = {
            name: value.replace("/run/secrets", str(made)) for name, value in SERVICES["chatferry"]["environment"].items()
        }
        shown = settings_in_force(self, told)
        self.assertNotIn((made / "mysql_password").read_text(encoding="utf-8"), shown)

    def test_prometheus_takes_its_settings_and_the_alerts_where_they_are_mounted(self):
        promtool = shutil.which("promtool")
        if not promtool:
            self.skipTest("promtool is not installed")
        root = directory(self)
        for source, target in mounts("prometheus"):
            copy = root / target.relative_to("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
        command = [promtool, "check", "config", root / "etc/prometheus/prometheus.yml"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"SUCCESS: \d+ rules found")

    def test_prometheus_and_grafana_find_whom_they_ask(self):
        scraped = yaml.safe_load((HERE / "compose/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
        targets = itertools.chain.from_iterable(each["targets"] for job in scraped for each in job["static_configs"])
        sources = yaml.safe_load((HERE / "compose/grafana/datasources/prometheus.yaml").read_text(encoding="utf-8"))
        addresses = [*targets, *(source["url"].removeprefix("http://") for source in sources["datasources"])]
        metrics = SERVICES["chatferry"]["environment"]["CHATFERRY__METRICS__BIND"].rpartition(":")[2]
        prometheus = SERVICES["prometheus"]["ports"][0].rpartition(":")[2]
        self.assertEqual(addresses, [f"chatferry:{metrics}", f"prometheus:{prometheus}"])
        self.assertNotIn(metrics, "".join(SERVICES["chatferry"]["ports"]))

    def test_grafana_finds_the_dashboards(self):
        provider = yaml.safe_load((HERE / "compose/grafana/dashboards/chatferry.yaml").read_text(encoding="utf-8"))
        mounted = {str(target): source for source, target in mounts("grafana")}
        boards = mounted[provider["providers"][0]["options"]["path"]]
        home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
        self.assertIn(home.name, [path.name for path in boards.glob("*.json")])
        self.assertEqual(mounted[str(home.parent)], boards)


class Django(unittest.TestCase):
    """What the image of the reference starts, in this machine's Python."""

    def test_it_makes_the_tables_and_serves_and_is_healthy(self):
        port, home = free_port(), directory(self)
        url = home / "database_url"
        database = home / "chat.sqlite3"
        url.write_text(f"sqlite://{database}", encoding="utf-8")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = clean_environment(DATABASE_URL_FILE=str(url), PATH=path)
        start = [HERE / "compose/django/start", "python", "-m", "daphne", "-b", "127.0.0.1", "-p", str(port)]
        command = [*start, "service.asgi:application"]
        server = launch("the reference", command, environment, REFERENCE, port, database, home / "django.log")
        self.addCleanup(server.stop)
        _, _, *health = SERVICES["django"]["healthcheck"]["test"]
        asked = [sys.executable, *(part.replace(":8000", f":{port}") for part in health)]
        server.wait_until_it_answers()
        self.assertEqual(subprocess.run(asked, timeout=60, check=False).returncode, 0)
        server.stop()
        gone = subprocess.run(asked, timeout=60, stderr=subprocess.DEVNULL, check=False)
        self.assertNotEqual(gone.returncode, 0)


if __name__ == "__main__":
    unittest.main()
