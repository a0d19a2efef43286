"""The Kubernetes manifests without a cluster: what kustomize makes of each overlay, held against the API's schemas.

KUBERNETES_TOOLS names the directory of the programs of kubernetes/requirements.txt; without it all is skipped.
"""

import functools
import os
import re
import shutil
import subprocess
import tomllib
import unittest
from pathlib import Path

import yaml
from pair import ROOT, directory, settings_in_force

HERE = Path(__file__).resolve().parent / "kubernetes"
OVERLAYS = ("move", "production")
#: The oldest with `preStop: sleep`, and the newest that the validator knows.
VERSIONS = ("1.30", "1.37")
POD = {"app.kubernetes.io/name": "chatferry"}
SECRETS = "/run/secrets/chatferry"
#: Keys of the Secret `chatferry`, which the README names too.
SECRET = {
    "database_url": "mysql://u:geheim@db/chat",
    "redis_url": "redis://:geheim@redis",
    "secret_key": "geheim",
}


def tool(name):
    # Not the machine's own: their versions differ.
    found = shutil.which(name, path=os.environ.get("KUBERNETES_TOOLS", ""))
    if not found:
        raise unittest.SkipTest(f"KUBERNETES_TOOLS has no {name}")
    return found


@functools.cache
def built(overlay):
    """The text that `kubectl apply --kustomize` would send."""
    command = [tool("kubectl"), "kustomize", HERE / "overlays" / overlay]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise AssertionError(f"{overlay}: {done.stderr}")
    return done.stdout


def objects(overlay):
    return [made for made in yaml.safe_load_all(built(overlay)) if made]


def one(overlay, kind, name="chatferry"):
    # Of a name that kustomize has put a hash behind, the rest.
    names = re.compile(rf"{name}(-[a-z0-9]{{10}})?")
    (found,) = [made for made in objects(overlay) if made["kind"] == kind and names.fullmatch(made["metadata"]["name"])]
    return found


def container(overlay):
    (only,) = one(overlay, "Deployment")["spec"]["template"]["spec"]["containers"]
    return only


class Kubernetes(unittest.TestCase):
    def for_each(self, what):
        for overlay in OVERLAYS:
            with self.subTest(overlay=overlay):
                what(overlay)

    def test_every_overlay_is_here_and_is_what_the_api_takes(self):
        self.assertEqual(sorted(path.name for path in (HERE / "overlays").iterdir()), sorted(OVERLAYS))
        for overlay in OVERLAYS:
            # The validator has the schemas of the API itself alone.
            known = [made for made in objects(overlay) if made["kind"] != "ServiceMonitor"]
            self.assertEqual(len(known), 7)
            file = directory(self) / f"{overlay}.yaml"
            file.write_text(yaml.safe_dump_all(known), encoding="utf-8")
            for version in VERSIONS:
                command = [tool("kubernetes-validate"), "--strict", "--kubernetes-version", version, file]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertEqual((done.stdout + done.stderr).count(f"against version {version}"), len(known))

    def test_the_validator_finds_a_wrong_name(self):
        file = directory(self) / "wrong.yaml"
        text = built("move").replace("terminationGracePeriodSeconds", "terminationGracePeriod")
        file.write_text(text, encoding="utf-8")
        command = [tool("kubernetes-validate"), "--strict", "--kubernetes-version", VERSIONS[0], file]
        self.assertNotEqual(subprocess.run(command, capture_output=True, check=False).returncode, 0)

    def test_what_selects_pods_selects_these_and_no_others(self):
        def holds(overlay):
            labels = one(overlay, "Deployment")["spec"]["template"]["metadata"]["labels"]
            self.assertEqual(labels, POD)
            for made in objects(overlay):
                spec = made.get("spec", {})
                match made["kind"]:
                    case "Service":
                        self.assertEqual(spec["selector"], POD)
                    case "Deployment" | "PodDisruptionBudget":
                        self.assertEqual(spec["selector"], {"matchLabels": POD})
                    case "NetworkPolicy":
                        self.assertEqual(spec["podSelector"], {"matchLabels": POD})
                        others = [peer for rule in spec["egress"] for peer in rule["to"]]
                        self.assertNotIn({"podSelector": {"matchLabels": POD}}, others)
                    case "HorizontalPodAutoscaler":
                        self.assertEqual(spec["scaleTargetRef"]["name"], "chatferry")

        self.for_each(holds)

    def test_ports_are_those_of_the_settings_and_metrics_are_for_prometheus_alone(self):
        def holds(overlay):
            names = {port["name"]: port["containerPort"] for port in container(overlay)["ports"]}
            variables = variables_of(overlay)
            for port, setting in (("http", "SERVER"), ("metrics", "METRICS")):
                self.assertEqual(variables[f"CHATFERRY__{setting}__BIND"], f"0.0.0.0:{names[port]}")
            for service, port in (("chatferry", "http"), ("chatferry-metrics", "metrics")):
                ports = one(overlay, "Service", service)["spec"]["ports"]
                self.assertEqual([each["targetPort"] for each in ports], [port])
            clients, prometheus = one(overlay, "NetworkPolicy")["spec"]["ingress"]
            self.assertEqual(clients, {"ports": [{"port": "http"}]})
            self.assertEqual(prometheus["ports"], [{"port": "metrics"}])
            self.assertTrue(prometheus["from"])

        self.for_each(holds)

    def test_a_pod_may_write_nothing_and_be_nobody(self):
        def holds(overlay):
            pod = one(overlay, "Deployment")["spec"]["template"]["spec"]
            user = re.search(r"(?m)^USER (\d+):\d+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
            self.assertEqual(pod["securityContext"]["runAsUser"], int(user[1]))
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertFalse(pod["automountServiceAccountToken"])
            rights = container(overlay)["securityContext"]
            self.assertEqual(rights["capabilities"], {"drop": ["ALL"]})
            self.assertTrue(rights["readOnlyRootFilesystem"])
            self.assertFalse(rights["allowPrivilegeEscalation"])
            self.assertTrue(all(mount["readOnly"] for mount in container(overlay)["volumeMounts"]))
            limits = {"cpu": "200m", "memory": "128Mi"}
            self.assertEqual(container(overlay)["resources"], {"limits": limits, "requests": limits})

        self.for_each(holds)

    def test_probes_ask_what_each_is_for(self):
        def holds(overlay):
            for kind, path in (("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz")):
                self.assertEqual(container(overlay)[f"{kind}Probe"]["httpGet"], {"path": path, "port": "http"})
            # `/readyz` gives database and Redis 2 s each.
            self.assertGreater(container(overlay)["readinessProbe"]["timeoutSeconds"], 4)

        self.for_each(holds)

    def test_chatferry_knows_every_setting_and_nothing_is_loosened(self):
        def holds(overlay):
            made = directory(self)
            for name, text in SECRET.items():
                (made / name).write_text(text, encoding="utf-8")
            file = made / "chatferry.toml"
            text = one(overlay, "ConfigMap")["data"]["chatferry.toml"]
            file.write_text(text, encoding="utf-8")
            self.assertEqual(container(overlay)["args"], ["serve", "--config", f"/etc/chatferry/{file.name}"])
            variables = {name: value.replace(SECRETS, str(made)) for name, value in variables_of(overlay).items()}
            mounted = [value for value in variables_of(overlay).values() if value.startswith("/")]
            self.assertEqual(mounted, [f"{SECRETS}/{name}" for name in SECRET])
            shown = settings_in_force(self, variables, "--config", str(file))
            self.assertNotIn("geheim", shown)
            force = tomllib.loads(shown)
            self.assertEqual(force["auth"]["policy"], "participants")
            self.assertNotEqual(force["auth"]["identity"], "none")
            self.assertFalse(force["auth"]["allow_anonymous"])

        self.for_each(holds)

    def test_nothing_secret_is_written_in_it_and_the_guide_names_what_to_make(self):
        guide = (HERE / "README.md").read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"--from-file=(\w+)=", guide), list(SECRET))

        def holds(overlay):
            self.assertNotIn("Secret", [made["kind"] for made in objects(overlay)])
            self.assertNotRegex(built(overlay), "://[^/ ]*@")

        self.for_each(holds)

    def test_the_autoscaler_asks_for_what_the_adapter_makes_of_our_metrics(self):
        adapter = yaml.safe_load((HERE / "prometheus" / "adapter.yaml").read_text(encoding="utf-8"))
        (rule,) = adapter["rules"]["custom"]
        named = set(re.findall(r"chatferry_\w+_open", rule["seriesQuery"] + rule["metricsQuery"]))
        self.assertEqual(named, {"chatferry_ws_open", "chatferry_gateway_ws_open"})
        ours = (ROOT / "src" / "metrics.rs").read_text(encoding="utf-8")
        for name in named:
            self.assertIn(f'"{name}"', ours)

        def holds(overlay):
            pods, cpu = one(overlay, "HorizontalPodAutoscaler")["spec"]["metrics"]
            self.assertEqual(pods["pods"]["metric"]["name"], rule["name"]["as"])
            self.assertEqual(cpu["resource"]["name"], "cpu")
            most = int(variables_of(overlay)["CHATFERRY__SERVER__MAX_CONNECTIONS"])
            self.assertLess(int(pods["pods"]["target"]["averageValue"]), most)

        self.for_each(holds)

    def test_prometheus_finds_the_service_of_the_metrics(self):
        monitor = one("production", "ServiceMonitor")["spec"]
        service = one("production", "Service", "chatferry-metrics")
        self.assertLessEqual(monitor["selector"]["matchLabels"].items(), service["metadata"]["labels"].items())
        ports = [port["name"] for port in service["spec"]["ports"]]
        self.assertEqual([end["port"] for end in monitor["endpoints"]], ports)
        # Dashboards and alerts ask for this job.
        self.assertEqual(service["metadata"]["labels"][monitor["jobLabel"]], "chatferry")
        self.assertNotIn("ServiceMonitor", [made["kind"] for made in objects("move")])


def variables_of(overlay):
    return {variable["name"]: variable["value"] for variable in container(overlay)["env"]}


if __name__ == "__main__":
    unittest.main()
