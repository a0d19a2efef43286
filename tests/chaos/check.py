"""Judges a run by what its clients wrote down and by the tables, and by nothing else.

    python tests/chaos/check.py DIRECTORY [--json]

DIRECTORY holds client-*.jsonl (see clients.py) and tables.jsonl. Every violation is printed with its evidence; the exit
code is 1 if there is one. README.md beside this file says what each kind means and why it may be demanded.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

import check_groups
import record

#: Pieces of evidence in one violation.
EVIDENCE = 3


class Verdict:
    def __init__(self):
        self.violations = []
        #: Facts that are no violations.
        self.figures = Counter()

    def add(self, kind, subject, found):
        """One violation: `found` are texts, one for each message or receipt that is concerned."""
        if found := list(found):
            more = [f"and {len(found) - EVIDENCE} more"] if len(found) > EVIDENCE else []
            self.violations.append(
                {"kind": kind, "count": len(found), "subject": str(subject), "evidence": found[:EVIDENCE] + more}
            )

    def counts(self):
        counts = Counter()
        for violation in self.violations:
            counts[violation["kind"]] += violation["count"]
        return dict(counts)


def judge(run):
    verdict = Verdict()
    rows = {row["id"]: row for row in run.messages}
    stored_once(run, rows, verdict)
    of = defaultdict(list)
    for row in run.messages:
        of[row["conversation_id"]].append(row)
    for connection in run.connections:
        if connection.history is not None:
            genuine(run, rows, connection, (*connection.history, *connection.live), verdict)
            doubled(run, connection, verdict)
            in_order(run, rows, connection, verdict)
            missed(run, of[connection.conversation], connection, verdict)
            versions(rows, connection, verdict)
            complete_history(run, rows, connection, connection.asked_at, connection.history, verdict)
    for listing in run.listings:
        genuine(run, rows, listing, listing.messages, verdict)
        complete_history(run, rows, listing, listing.since, listing.messages, verdict)
    receipts(run, verdict)
    typing(run, verdict)
    check_groups.judge(run, rows, verdict)
    verdict.add("never acknowledged", "messages by chatferry.v1", run.unanswered)
    verdict.add("shut", "sockets that could not be opened again on a fleet that is well", run.shut)
    figures(run, verdict)
    return verdict


def stored_once(run, rows, verdict):
    by_key = defaultdict(list)
    for row in rows.values():
        by_key[record.key_of(row["content"])].append(row)
    verdict.add(
        "stored twice",
        "messages",
        (f"{key}: rows {[row['id'] for row in found]}" for key, found in by_key.items() if len(found) > 1),
    )
    verdict.add(
        "invented",
        "rows that no client sent",
        (describe(row) for key, found in by_key.items() if key not in run.sent for row in found),
    )
    strayed = ((run.sent[key], row) for key, found in by_key.items() if key in run.sent for row in found)
    wrong = (
        f"{sent.describe()}: {describe(row)}" for sent, row in strayed if row["conversation_id"] != sent.conversation
    )
    verdict.add("stored elsewhere", "rows in another conversation than they were sent to", wrong)
    lost = (
        f"{key} ({number}), to {client} at {at:.2f} s"
        for number, key, client, at in run.acknowledged
        if number not in rows
    )
    verdict.add("acknowledged and not stored", "answers", lost)


def genuine(run, rows, where, messages, verdict):
    """Compares each message shown with its row: id, conversation, sender and content."""
    for kind, differs in (
        ("shown and not stored", lambda row, _: row is None),
        (
            "shown otherwise than stored",
            lambda row, m: row
            and (record.unchanged(row["content"]), row["sender_id"]) != (record.unchanged(m.content), m.sender),
        ),
        ("shown elsewhere", lambda row, _: row and row["conversation_id"] != where.conversation),
    ):
        found = (f"{m.key} ({m.id}) at {m.at:.2f} s" for m in messages if differs(rows.get(m.id), m))
        verdict.add(kind, where, found)


def versions(rows, connection, verdict):
    """A client that was open at the end knows every message as it is stored by then, whatever was changed."""
    shown = ((rows[number], content) for number, content in connection.versions.items() if number in rows)
    found = (
        f"{describe(row)}: …{content[-12:]!r}, and not …{row['content'][-12:]!r}"
        for row, content in shown
        if row["content"] != content
    )
    verdict.add("not as it was changed", connection, found)


def doubled(run, connection, verdict):
    history, live = Counter(m.id for m in connection.history), Counter(m.id for m in connection.live)
    found = [
        f"{number}: {count} times live"
        for number, count in live.items()
        if count > 1 and not was_sent_once(run, connection, lambda one: sum(m.id == number for m in one.live))
    ]
    found += [f"{number}: {count} times in one history" for number, count in history.items() if count > 1]
    if not connection.django:
        # Django's consumer joins the group before it reads the history, and shows what it hears meanwhile again.
        found += [f"{number}: in the history, and live" for number in live if number in history]
    verdict.add("doubled on Django" if connection.django else "doubled", connection, found)


def was_sent_once(run, connection, times):
    """Holds if a socket on another Django has shown it once, and this one on Django twice.

    Then channels_redis has taken one event twice: it puts back what it took if it is cut off before it has deleted its
    backup (`_clean_receive_backup`).
    """
    others = (one for one in run.connections if one.django and one.server != connection.server)
    return connection.django and any(times(other) == 1 for other in others)


def in_order(run, rows, connection, verdict):
    """Of two messages of one sender, the first comes first.

    The first is known: both were sent on one connection, or one was seen before the other was sent.
    """
    history = {m.id for m in connection.history}
    stream = [*connection.history, *(m for m in connection.live if m.id not in history)]
    newest, latest, found = {}, {}, []
    for shown in stream:
        sent = run.sent.get(shown.key)
        if sent is None:
            continue
        before, later = newest.get(sent.by), latest.get(sent.sender)
        overtaken = None
        if before and before.number > sent.number:
            overtaken = before
        elif later and later.by != sent.by and sent.shown_at is not None and sent.shown_at < later.at:
            overtaken = later
        if overtaken and run.is_late_for_good(sent):
            verdict.figures["shown late, as only the tables knew of it"] += 1
        elif overtaken and not by_clock(run, rows, shown, overtaken):
            way = "in the history" if shown.id in history else f"at {shown.at:.2f} s"
            found.append(f"{sent.describe()} {way} after {overtaken.describe()}")
        if not before or before.number < sent.number:
            newest[sent.by] = sent
        if not later or later.at < sent.at:
            latest[sent.sender] = sent
    verdict.add("out of order on Django" if connection.django else "out of order", connection, found)


def by_clock(run, rows, shown, overtaken):
    """Holds if the table itself has the two the other way round: the clocks of two processes differed.

    On one connection no clock is an excuse.
    """
    sent = run.sent[shown.key]
    if sent.by == overtaken.by or shown.id not in rows:
        return False
    times = [row["created_at"] for row in rows.values() if record.key_of(row["content"]) == overtaken.key]
    return bool(times) and rows[shown.id]["created_at"] > times[0]


def complete_history(run, rows, where, since, messages, verdict):
    """A history holds every message that any client had seen before it was asked for."""
    have = {m.id for m in messages}
    found = (row for row in rows.values() if row["conversation_id"] == where.conversation and row["id"] not in have)
    lacking = (run.sent.get(record.key_of(row["content"])) for row in found)
    known = (sent.describe() for sent in lacking if sent and sent.shown_at is not None and sent.shown_at < since)
    verdict.add("lacking in a history", where, known)


def missed(run, rows, connection, verdict):
    """A socket that was open at the end has seen every message of its conversation, but what no socket is owed.

    One that was closed before has not passed over any: it has seen none that is later, and of the same sender.
    """
    seen = {m.id for m in (*connection.history, *connection.live)}
    newest, latest = latest_shown(run, connection)
    kinds = defaultdict(list)
    for row in rows:
        sent = run.sent.get(record.key_of(row["content"]))
        if row["id"] in seen or not sent:
            continue
        if connection.lasted:
            kinds[kind_of_miss(connection, sent)].append(sent.describe())
        elif not connection.django and not run.is_late_for_good(sent):
            before, later = newest.get(sent.by), latest.get(sent.sender)
            if before and before.number > sent.number:
                kinds["passed over"].append(f"{sent.describe()} before {before.describe()}")
            elif later and later.by != sent.by and sent.shown_at is not None and sent.shown_at < later.at:
                kinds["passed over"].append(f"{sent.describe()} before {later.describe()}")
    for kind, found in kinds.items():
        if kind.startswith(("missed", "passed")):
            verdict.add(kind, connection, sorted(found))
        else:
            verdict.figures[kind] += len(found)


def latest_shown(run, connection):
    """Of what a connection has shown: the last of each connection of a sender, and the last of each sender."""
    newest, latest = {}, {}
    for shown in (*connection.history, *connection.live):
        if sent := run.sent.get(shown.key):
            newest[sent.by] = max(sent, newest.get(sent.by, sent), key=lambda one: one.number)
            latest[sent.sender] = max(sent, latest.get(sent.sender, sent), key=lambda one: one.at)
    return newest, latest


def kind_of_miss(connection, sent):
    if connection.django:
        return "not shown on Django's sockets"
    if record.on_django(sent.server):
        # The original never broadcasts what came by REST.
        return "sent to Django by REST and not shown" if sent.rest else "missed, sent on Django"
    return "missed"


def receipts(run, verdict):
    stored = Counter((row["message_id"], row["user_id"]) for row in run.receipts)
    verdict.add("receipt stored twice", "rows", (f"{key}: {count}" for key, count in stored.items() if count > 1))
    invented = (str(key) for key in stored if key[1] not in run.marks or run.marks[key[1]].message != key[0])
    verdict.add("receipt invented", "rows that no client asked for", invented)
    lost = (
        f"{m.user}, done at {m.done_at:.2f} s"
        for m in run.marks.values()
        if m.done_at is not None and (m.message, m.user) not in stored
    )
    verdict.add("receipt shown and not stored", "marks", lost)
    lasted = {(connection.client, connection.n) for connection in run.connections if connection.lasted}
    # Those whose process has lived on, and can be held to it.
    owed = [
        m
        for m in run.marks.values()
        if m.by in lasted and m.done_at is not None and m.conversation and not record.on_django(m.server)
    ]
    for connection in run.connections:
        where = " on Django" if connection.django else ""
        shown = Counter((message, user) for _, message, user in connection.reads)
        again = [
            f"{key}: {count} times"
            for key, count in shown.items()
            if count > 1 and not was_sent_once(run, connection, lambda one: sum(key == read[1:] for read in one.reads))
        ]
        verdict.add(f"receipt doubled{where}", connection, again)
        verdict.add("receipt shown and not stored", connection, (f"{key}" for key in shown if key not in stored))
        verdict.add(f"receipt out of order{where}", connection, overtaken_receipts(run, connection, verdict))
        if connection.lasted and not connection.django:
            due = (m for m in owed if m.conversation == connection.conversation and m.at > connection.history_at)
            verdict.add(
                "receipt missed",
                connection,
                (f"{m.user}, marked at {m.at:.2f} s on {m.server}" for m in due if (m.message, m.user) not in shown),
            )


def overtaken_receipts(run, connection, verdict):
    newest = {}
    for at, _, user in connection.reads:
        if mark := run.marks.get(user):
            before = newest.get(mark.by)
            if before and before.at > mark.at:
                if record.on_django(mark.server):
                    # As with messages: Django tells a mark once or never.
                    verdict.figures["marks shown late, as only the tables knew of them"] += 1
                elif not is_dated_later(run, connection, mark):
                    yield f"{user} at {at:.2f} s after {before.user}"
            else:
                newest[mark.by] = mark


def is_dated_later(run, connection, mark):
    """Holds if a mark was made before the connection, and by its row after: the clock of its process was ahead."""
    dated = run.dated.get((mark.message, mark.user), mark.at)
    return mark.at < connection.asked_at < dated


def typing(run, verdict):
    for connection in run.connections:
        shown = Counter(connection.typed)
        where = " on Django" if connection.django else ""
        verdict.add(f"typing doubled{where}", connection, (user for user, count in shown.items() if count > 1))
        verdict.add("typing invented", connection, (user for user in shown if user not in run.typings))


def figures(run, verdict):
    opened = [connection for connection in run.connections if connection.history is not None]
    verdict.figures.update(
        {
            # But what was refused.
            "sent": len(run.sent) - len(run.refused),
            "stored": len(run.messages),
            "acknowledged": len(run.acknowledged),
            "receipts": len(run.receipts),
            "connections": len(opened),
            "open at the end": sum(connection.lasted for connection in opened),
            "frames": sum(len(connection.live) for connection in opened),
        }
    )
    for text, count in run.errors.items():
        verdict.figures[f"error: {text}"] += count


def describe(row):
    return f"{record.key_of(row['content'])} ({row['id']}, sender {row['sender_id']}, created at {row['created_at']})"


def main():
    parser = argparse.ArgumentParser(prog="check.py", description="Judges a run by its clients' logs and the tables.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    options = parser.parse_args()
    verdict = judge(record.read(options.directory))
    if options.json:
        print(
            json.dumps(
                {"violations": verdict.violations, "counts": verdict.counts(), "figures": dict(verdict.figures)},
                ensure_ascii=False,
            )
        )
    else:
        for violation in verdict.violations:
            print(f"{violation['kind']} ({violation['count']}): {violation['subject']}")
            print("".join(f"    {line}\n" for line in violation["evidence"]), end="")
        print(", ".join(f"{name} {count}" for name, count in verdict.figures.items()))
        print(f"violations: {verdict.counts() or 0}")
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
