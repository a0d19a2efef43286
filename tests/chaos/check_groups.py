"""The part of the checker about the group and the files of a run: see groups.py."""

import record

#: Newest messages among which those that are unread are counted.
AMONG = 1000


def judge(run, rows, verdict):
    refused(run, rows, verdict)
    members(run, verdict)
    files(run, rows, verdict)
    unread(run, verdict)


def refused(run, rows, verdict):
    """A message that was refused and never sent again is not stored."""
    found = (f"{key} ({number})" for number, key, tries in run.refused if tries == 1 and number in rows)
    verdict.add("refused and stored", "messages of who was no member", found)
    # Stored at first, and refused when it was sent again: its sender may take it for lost.
    stored = ((number, key, tries) for number, key, tries in run.refused if tries > 1 and number in rows)
    again = (f"{key} ({number}), sent {tries} times" for number, key, tries in stored)
    verdict.add("stored and then refused", "messages of who was a member", again)
    verdict.figures["refused"] = len(run.refused)


def members(run, verdict):
    """Every client that was open knows the members as the tables have them."""
    stored = {(row["user_id"], row["role"]) for row in run.members if row["conversation_id"] == run.group}
    for client, group in run.groups.items():
        known = {(it["user"], it["role"]) for it in group["members"]} if group else set()
        verdict.add("other members", client, sorted(map(str, known ^ stored)))


def files(run, rows, verdict):
    """A message and its files are stored together, each file with one message, and served as they were uploaded."""
    placed = {row["id"]: row["message_id"] for row in run.attachments}
    named = {}
    for row in run.messages:
        for file in row.get("files", ()):
            file = file.replace("-", "")
            named.setdefault(file, []).append(row["id"])
            key, digest = run.attached.get(file, (None, None))
            if placed.get(file) != row["id"] or record.key_of(row["content"]) != key:
                verdict.add("file elsewhere", row["id"], [f"{file} of {key}, with {placed.get(file)}"])
            if run.served.get(file) != digest:
                verdict.add("file not served as it was uploaded", row["id"], [f"{file}: {run.served.get(file)}"])
    verdict.add("file in several messages", "files", (f"{file}: {ids}" for file, ids in named.items() if len(ids) > 1))
    sent = (f"{file} with {number}" for file, number in placed.items() if number and file not in named)
    verdict.add("file without its message", "rows", sent)
    without = {key for key, _ in run.attached.values()}
    lost = (
        f"{key} ({number})"
        for number, key, *_ in run.acknowledged
        if key in without and number in rows and not rows[number]["files"]
    )
    verdict.add("stored without its file", "messages", lost)
    verdict.figures["files"] = len(named)


def unread(run, verdict):
    """Each process counts what the tables hold."""
    of = [row for row in run.messages if row["conversation_id"] == run.group]
    if len(of) > AMONG:
        return
    read = {(row["message_id"], row["user_id"]) for row in run.receipts if row["status"] == "read"}
    for server, user, count in run.unread:
        due = sum(row["sender_id"] != user and (row["id"], user) not in read for row in of)
        verdict.add("counted wrongly", server, [f"{user}: {count} unread, and not {due}"] if count != due else [])
