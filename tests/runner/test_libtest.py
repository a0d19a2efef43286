"""python3 -m unittest discover --start-directory tests/runner"""

import json
import unittest

import libtest


def artifact(name, kind, is_test, executable):
    target = {"name": name, "kind": [kind]}
    profile = {"test": is_test}
    return json.dumps(
        {"reason": "compiler-artifact", "target": target, "profile": profile, "executable": executable},
        separators=(",", ":"),
    )


class LibtestTest(unittest.TestCase):
    def test_the_programs_of_a_build_are_those_that_hold_tests(self):
        lines = [
            "warning: unused variable",
            artifact("serde", "lib", False, None),
            artifact("chatferry", "bin", False, "/t/chatferry"),
            artifact("it", "test", True, "/t/it-1"),
            artifact("chatferry", "lib", True, "/t/lib-1"),
            '{"reason":"build-finished","success":true}',
        ]
        self.assertEqual(libtest.programs(lines), {"it": "/t/it-1", "lib": "/t/lib-1"})

    def test_failed_tests_are_named_if_nothing_else_failed(self):
        lines = [
            "failures:",
            "    a::b",
            "    c",
            "",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored",
            "error: 1 targets failed:",
        ]
        self.assertEqual(libtest.failed(lines), ["a::b", "c"])
        self.assertEqual(libtest.failed([*lines[:-1], "error: 2 targets failed:"]), [], "a program was killed")


if __name__ == "__main__":
    unittest.main()
