"""The kit judged: `python -m unittest discover -s compat/kit`. No server, no network."""

import tempfile
import unittest
from pathlib import Path

from judge import DIFFERS, DOCUMENTED, SAME, judge
from normal import Names, order_messages
from player import Record, closing_line
from random_play import explanation, random_scenario, reviewed
from scenario import ScenarioError, Step, fill, load, status_rows
from side_by_side import changes
from wire import frame_bytes

OK = {"status": 200, "headers": [], "body": "[]"}
CRASH = {"status": 500, "headers": [], "body": ""}
REFUSAL = {"status": 400, "headers": ["content-type: application/json"], "body": "{}"}
DIED = {"frames": [], "after": "closed 1011"}
ANSWERED = {"frames": ['{"error": "no"}'], "after": "open"}


def step(**args):
    return Step("a step", "request", {"headers": {}}, **args)


class Judge(unittest.TestCase):
    def test_equal_answers_are_the_same(self):
        self.assertEqual(judge(step(), OK, dict(OK)).outcome, SAME)

    def test_one_different_byte_is_a_difference(self):
        self.assertEqual(judge(step(), OK, {**OK, "body": "[ ]"}).outcome, DIFFERS)

    def test_equal_answers_that_nobody_expected_are_a_failure(self):
        self.assertEqual(judge(step(expect={"status": 201}), OK, OK).outcome, DIFFERS)

    def test_two_broken_steps_are_no_agreement(self):
        self.assertEqual(judge(step(), {"error": "x"}, {"error": "x"}).outcome, DIFFERS)

    def test_a_declared_difference_passes_only_with_the_declared_answer(self):
        declared = step(differs="not-an-object", b={"status": 400, "type": "application/json"})
        self.assertEqual(judge(declared, CRASH, REFUSAL).outcome, DOCUMENTED)
        self.assertEqual(judge(declared, CRASH, CRASH).outcome, DIFFERS)
        self.assertEqual(judge(declared, CRASH, {**REFUSAL, "headers": []}).outcome, DIFFERS)

    def test_a_declared_difference_fails_when_the_original_does_something_else(self):
        declared = step(differs="not-an-object", b={"status": 400}, a={"status": 500})
        self.assertEqual(judge(declared, OK, REFUSAL).outcome, DIFFERS)

    def test_two_originals_may_not_differ_at_all(self):
        declared = step(differs="not-an-object", b={"status": 400})
        self.assertEqual(judge(declared, CRASH, REFUSAL, expect_equal=True).outcome, DIFFERS)
        self.assertEqual(judge(declared, CRASH, REFUSAL, True, {"not-an-object"}).outcome, DOCUMENTED)
        self.assertEqual(judge(step(), CRASH, REFUSAL, True, {"not-an-object"}).outcome, DIFFERS)

    def test_the_original_may_differ_from_itself_only_where_it_is_hosted(self):
        declared = step(hosted="host-http-absolute")
        self.assertEqual(judge(declared, CRASH, REFUSAL).outcome, DIFFERS)
        self.assertEqual(judge(declared, CRASH, REFUSAL, True, {"host-http-absolute"}).outcome, DOCUMENTED)

    def test_an_error_frame_is_one_frame_with_one_key(self):
        declared = step(differs="ws-binary", b={"error_frame": True, "after": "open"})
        self.assertEqual(judge(declared, DIED, ANSWERED).outcome, DOCUMENTED)
        for frames in ([], ['{"error": ""}'], ['{"error": "x", "code": 1}'], ANSWERED["frames"] * 2, ["[]"]):
            self.assertEqual(judge(declared, DIED, {**ANSWERED, "frames": frames}).outcome, DIFFERS)


class Normalisation(unittest.TestCase):
    ID = "1f966b9c-4982-4d27-8f74-29e76c0cb496"

    def test_ids_are_numbered_in_every_spelling(self):
        names = Names("r00000000")
        text = f"{self.ID} {self.ID.upper()} {self.ID.replace('-', '')} 00000000-0000-0000-0000-000000000000"
        self.assertEqual(names.text(text), "<id1> <ID1> <hex1> 00000000-0000-0000-0000-000000000000")

    def test_times_keep_their_offset_and_odd_times_stay(self):
        names = Names("r00000000")
        self.assertEqual(names.text("2026-11-20T17:54:04.849273+09:00"), "<time+09:00>")
        self.assertEqual(names.text("2026-11-20T17:54:04+09:00"), "<time+09:00>")
        for odd in ("2026-11-20T17:54:04.849+09:00", "2026-11-20T17:54:04.849273Z", "2026-11-20 17:54:04"):
            self.assertEqual(names.text(odd), odd)

    def test_messages_are_ordered_only_if_nothing_else_changes(self):
        later, sooner = '{"created_at":"2"}', '{"created_at":"1"}'
        self.assertEqual(order_messages(f'{{"messages":[{later},{sooner}]}}'), f'{{"messages":[{sooner},{later}]}}')
        indented = f'{{"messages": [{later},{sooner}]}}'
        self.assertEqual(order_messages(indented), indented)


class Scenarios(unittest.TestCase):
    def test_every_scenario_loads_and_names_its_rows(self):
        steps = [step for scenario in load([Path(__file__).parent / "scenarios"]) for step in scenario.steps]
        sockets = [s for s in steps if s.kind in ("open", "send", "listen", "ping", "close")]
        self.assertGreaterEqual(len([s for s in steps if s.kind in ("request", "bytes")]), 200)
        self.assertGreaterEqual(len(sockets), 100)

    def test_a_row_that_status_does_not_have_is_refused(self):
        self.assertNotIn("no-such-row", status_rows())
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "x.yaml"
            file.write_text("scenarios: [{scenario: s, steps: [{step: t, wait: 0, differs: no-such-row, b: {}}]}]")
            with self.assertRaisesRegex(ScenarioError, "no-such-row"):
                load([file])

    def test_templates_repeat_respell_and_keep_types(self):
        variables = {"id": "AB-cd", "frame": {"opcode": 3}, "code": 1001, "inner": "<${id|hex}>"}
        self.assertEqual(fill("${x * 3}${id|upper}${id|bytes}", variables), "xxxAB-CD41422d6364")
        self.assertEqual(fill(["${frame}", "${code}", "${inner}"], variables), [{"opcode": 3}, 1001, "<ABcd>"])
        with self.assertRaises(ScenarioError):
            fill("${nobody}", variables)

    def test_a_seed_gives_the_same_session_again(self):
        self.assertEqual(random_scenario(5, 3), random_scenario(5, 3))
        self.assertNotEqual(random_scenario(5, 3).steps, random_scenario(5, 4).steps)


class Explanations(unittest.TestCase):
    def test_a_crash_is_explained_only_by_a_refusal(self):
        self.assertEqual(explanation(step(), CRASH, REFUSAL), "crashes")
        self.assertIsNone(explanation(step(), CRASH, OK))
        self.assertIsNone(explanation(step(), REFUSAL, CRASH))

    def test_a_dead_socket_is_explained_only_by_an_error_frame_on_a_live_one(self):
        sent = Step("a step", "send", {"text": "[]"})
        self.assertEqual(explanation(sent, DIED, ANSWERED), "ws-crashes")
        self.assertIsNone(explanation(sent, DIED, {"frames": [], "after": "open"}))
        self.assertIsNone(explanation(sent, DIED, {**ANSWERED, "after": "closed 1000"}))
        self.assertIsNone(explanation(sent, {"frames": [], "after": "open"}, ANSWERED))

    def test_breaking_together_is_no_success(self):
        page = {"status": 500, "headers": [], "body": "x"}
        self.assertEqual(reviewed(step(), page, page, judge(step(), page, page)).outcome, DIFFERS)

    def test_html_pages_may_differ_only_for_those_who_asked_for_html(self):
        pages = [{"status": 200, "headers": ["content-type: text/html; charset=utf-8"], "body": b} for b in "ab"]
        asked = Step("a step", "request", {"headers": {"Accept": "text/html"}})
        self.assertEqual(explanation(asked, *pages), "html-page")
        self.assertIsNone(explanation(Step("a step", "request", {"headers": {}}), *pages))

    def test_what_only_another_backend_refuses_is_explained_by_its_value(self):
        echoed = {"frames": ["{}"], "after": "open"}
        for text, row in (
            ('{"user_id": "\\ud800"}', "ws-lone-surrogate"),
            ('{"message_type": "12345678901"}', "ws-too-long"),
            ('{"user_id": [99999999999999999999]}', "ws-big-number"),
            ('{"user_id": "a"}', None),
            ("[]", None),
        ):
            self.assertEqual(explanation(Step("a step", "send", {"text": text}), echoed, ANSWERED), row)


class Baseline(unittest.TestCase):
    def test_any_change_counts_better_or_worse_new_or_gone(self):
        records = [Record("s", name, judge(step(), OK, other)) for name, other in (("a", OK), ("b", CRASH), ("c", OK))]
        before = [{"scenario": "s", "step": name, "outcome": "same"} for name in ("a", "b", "d")]
        found = [(change.step, change.before, change.now) for change in changes(records, before)]
        self.assertEqual(found, [("b", "same", "differs"), ("c", None, "same"), ("d", "same", None)])
        self.assertEqual(closing_line(records), "2 passed, 1 failed")


class Frames(unittest.TestCase):
    def test_lengths_take_the_smallest_form(self):
        heads = [frame_bytes(1, b"x" * size, mask=False)[1] for size in (0, 125, 126, 65535, 65536)]
        self.assertEqual(heads, [0, 125, 126, 126, 127])

    def test_a_masked_payload_can_be_unmasked(self):
        data = frame_bytes(1, b"hello")
        key, masked = data[2:6], data[6:]
        self.assertEqual(bytes(byte ^ key[i % 4] for i, byte in enumerate(masked)), b"hello")


if __name__ == "__main__":
    unittest.main()
