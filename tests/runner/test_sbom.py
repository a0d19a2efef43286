"""python3 -m unittest discover --start-directory tests/runner"""

import re
import unittest

import sbom


class SbomTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sbom = sbom.sbom()
        main = cls.sbom["metadata"]["component"]
        cls.components = {it["bom-ref"]: it for it in (main, *cls.sbom["components"])}

    def test_it_has_every_package_of_the_lock_and_nothing_else_but_sqlite(self):
        text = (sbom.ROOT / "Cargo.lock").read_text(encoding="utf-8")
        locked = re.findall(r'\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)"', text)
        self.assertGreater(len(locked), 100)
        expected = {f"pkg:cargo/{name}@{version}" for name, version in locked}
        others = set(self.components) - expected
        self.assertEqual(expected - set(self.components), set())
        self.assertEqual([self.components[ref]["name"] for ref in others], ["sqlite"])

    def test_every_package_of_a_registry_has_its_checksum_and_licence(self):
        text = (sbom.ROOT / "Cargo.lock").read_text(encoding="utf-8")
        checksums = set(re.findall(r'checksum = "([0-9a-f]{64})"', text))
        hashes = [it["hashes"][0]["content"] for it in self.components.values() if "hashes" in it]
        self.assertEqual((len(hashes), set(hashes)), (len(checksums), checksums))
        self.assertEqual([it["name"] for it in self.components.values() if "hashes" in it and "licenses" not in it], [])

    def test_every_dependency_is_a_component(self):
        graph = {it["ref"]: it["dependsOn"] for it in self.sbom["dependencies"]}
        self.assertEqual(set(graph), set(self.components))
        for ref, needed in graph.items():
            self.assertLessEqual(set(needed), set(self.components), ref)

    def test_what_is_linked_is_told_from_what_only_builds_or_tests(self):
        scopes = {it["name"]: it.get("scope") for it in self.components.values()}
        for name in ("hyper", "tokio", "rustls", "ring", "rusqlite", "libsqlite3-sys", "sqlite"):
            self.assertEqual(scopes[name], "required", name)
        for name in ("chatferry-bench", "syn", "cc"):
            self.assertEqual(scopes[name], "excluded", name)
        # All that the binary links leads to it.
        graph = {it["ref"]: it["dependsOn"] for it in self.sbom["dependencies"]}
        reached, waiting = set(), [self.sbom["metadata"]["component"]["bom-ref"]]
        while waiting:
            ref = waiting.pop()
            if ref not in reached:
                reached.add(ref)
                waiting.extend(graph[ref])
        required = {ref for ref, it in self.components.items() if it.get("scope") == "required"}
        self.assertEqual(required - reached, set())


if __name__ == "__main__":
    unittest.main()
