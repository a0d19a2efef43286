"""A Prometheus of the test's own on a free port, and the questions of the dashboards and alerts."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import yaml
from servers import free_port

GRAFANA = Path(__file__).resolve().parents[2] / "grafana"
PATIENCE_S = 300
# What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "20s", "$job": ".*", "$instance": ".*"}
SERIES = re.compile(r"\b(?:chatferry|process)_[a-z_]+|\bup\b")


@dataclass
class Panel:
    board: str
    # The title of the row it is in.
    row: str
    title: str
    kind: str
    unit: str
    # (expression, legend)
    targets: list
    # (lower bound or None, colour)
    thresholds: list


def read(board):
    return json.loads((GRAFANA / board).read_text(encoding="utf-8"))


def panels(board):
    """The panels of a dashboard that ask something."""
    return [panel_of(board, row, panel) for row, panel in in_rows(board) if panel["type"] != "row"]


def in_rows(board):
    """(title of the row, panel as JSON), those of folded rows as well, and the rows themselves."""
    row = None
    for panel in read(board)["panels"]:
        row = panel["title"] if panel["type"] == "row" else row
        yield from ((row, each) for each in (panel, *panel.get("panels", [])))


def panel_of(board, row, panel):
    defaults = panel["fieldConfig"]["defaults"]
    steps = [(step["value"], step["color"]) for step in defaults.get("thresholds", {}).get("steps", [])]
    targets = [(target["expr"], target["legendFormat"]) for target in panel["targets"]]
    return Panel(board, row, panel["title"], panel["type"], defaults["unit"], targets, steps)


def annotations(board):
    """The expressions of the marks on a dashboard, by their names."""
    return {mark["name"]: mark["expr"] for mark in read(board)["annotations"]["list"]}


def boards():
    return sorted(path.name for path in GRAFANA.glob("*.json"))


def alerts():
    """The expressions of the alerts by their names."""
    text = yaml.safe_load((GRAFANA / "alerts.yaml").read_text(encoding="utf-8"))
    return {rule["alert"]: rule["expr"] for group in text["groups"] for rule in group["rules"]}


def filled_in(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


class Prometheus:
    """Scrapes `targets`, addresses by their names, every second for as long as `stack` is open."""

    def __init__(self, stack, program, directory, targets):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "5s"},
            "rule_files": [str(GRAFANA / "alerts.yaml")],
            "scrape_configs": [
                {
                    "job_name": "chatferry",
                    "static_configs": [
                        {"targets": [address], "labels": {"instance": name}} for name, address in targets.items()
                    ],
                }
            ],
        }
        file = directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        command = [program, f"--config.file={file}", f"--storage.tsdb.path={directory / 'prometheus'}"]
        self.log = directory / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
            )
        stack.callback(self.process.wait)
        stack.callback(self.process.terminate)
        until("Prometheus to answer", lambda: self.get("/-/ready") is not None, self.log_end)

    def get(self, path, **query):
        """The answer's text; None if there is none yet."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return None
            raise AssertionError(f"{query}: {error.read().decode()}") from error
        except OSError:
            return None

    def data(self, path, **query):
        texts = []
        until(f"an answer of {path}", lambda: texts.append(self.get(path, **query)) or texts[-1], self.log_end)
        return json.loads(texts[-1])["data"]

    def series(self):
        """The names of everything that was scraped."""
        return set(self.data("/api/v1/label/__name__/values"))

    def values(self, expression):
        """The numbers that an expression gives now; those that are none are left out."""
        result = self.data("/api/v1/query", query=filled_in(expression))["result"]
        return [value for sample in result if (value := float(sample["value"][1])) == value]

    def history(self, expression, seconds):
        """Labels and points of an expression over the last seconds."""
        now = time.time()
        query = {"query": filled_in(expression), "start": now - seconds, "end": now, "step": "1s"}
        result = self.data("/api/v1/query_range", **query)["result"]
        return [(series["metric"], [(at, float(value)) for at, value in series["values"]]) for series in result]

    def log_end(self):
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]


def until(what, holds, state=lambda: ""):
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE_S} s for {what}: {state()}")
        time.sleep(0.5)
