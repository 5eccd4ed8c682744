#!/usr/bin/env python3
"""The vendor's script and `forwarder` read the same logs, each with its own group and its own HEC emulator.

    python parity.py

Audit and web logs are written with the vendor's SDK; then compare.py must find the same events on both sides, except for
its known differences. Needs the vendor's SDK and page (SEED_PAGE); FORWARDER_BIN names the program.
"""

import collections
import json
import os
import random
import subprocess
import sys
import time

from bad_bytes import MARKER
from peers import KEY_ID, KEY_SECRET, LOGSTORE, PROJECT, ROOT, SEED_PAGE, TOKEN
from peers import Failed, Lab, output_of, seed_page, wait_until

SHARDS = 4
GROUPS, LOGS_PER_GROUP = 60, 50

NAMES = ["alice", "王芳", "Žofie Nováková", "ops@example.com", "محمد", "o'neil \"root\"", "emoji 🚀"]
ODD_TEXTS = [
    "", " ", "-", "tab\tand\nline\r\nends", "C:\\logs\\new", 'say "hi"', "</script>&amp;", "\u2028 and \u2029",
    "nul \0 bell \a del \x7f", "k=v||k=v", "%s {} ${x}", "[not json", '{"a":1', "\ufeffmark", "\ufffd replaced",
]
# Values of `event` that are not an ActionTrail object.
ODD_EVENTS = [
    "plain text", "", "{", '{"a":1} and more', "17", '"text"', "[]", "{}", "[1,[2,{\"b\":null}]]", "true", "null",
    "9007199254740993", "{'a': 1}",
]


class Writer:
    """Generates logs, the same in each run except for their times."""

    def __init__(self):
        self.dice = random.Random(20180)
        self.count = 0
        self.now = int(time.time())

    def id(self):
        self.count += 1
        return f"{self.count:08X}-PEER"

    def audit_event(self):
        """An event as ActionTrail writes it."""
        dice = self.dice
        event = {
            "eventId": self.id(),
            "eventVersion": 1,
            "eventName": dice.choice(["ConsoleSignin", "RunInstances", "AssumeRole", "PutBucketAcl"]),
            "eventTime": "2026-03-01T08:00:00Z",
            "sourceIpAddress": f"10.{dice.randrange(256)}.0.{dice.randrange(256)}",
            "userIdentity": {
                "type": dice.choice(["ram-user", "assumed-role"]),
                "accountId": str(10**15 + dice.randrange(10**14)),
                "userName": dice.choice(NAMES),
                "sessionContext": {"attributes": {"mfaAuthenticated": dice.choice([True, False, None, "true"])}},
            },
            "requestParameters": {
                "OwnerId": 2**53 + 1 + 2 * dice.randrange(10**6),
                "Huge": 10**30 + dice.randrange(10**9),
                "Ratio": dice.choice([0, 1.5, 0.1, -2.25, 1e-7, 12345678.125]),
                "Filter": json.dumps({"path": dice.choice(ODD_TEXTS), "limit": dice.randrange(100)}),
                "Ids": [dice.randrange(10**17) for _ in range(dice.randrange(4))],
                "Empty": dice.choice(["", [], {}, None]),
            },
            "responseElements": None,
        }
        # With and without escapes for non-ASCII characters, and with and without spaces.
        return json.dumps(event, ensure_ascii=dice.random() < 0.5, separators=dice.choice([(",", ":"), (", ", ": ")]))

    def nanos(self):
        return self.dice.choice([None, self.dice.randrange(1, 10**9)])

    def audit(self, field="event"):
        if self.dice.random() < 0.05:
            return self.now, self.nanos(), [(field, self.dice.choice(ODD_EVENTS)), ("id", self.id())]
        return self.now, self.nanos(), [(field, self.audit_event())]

    def access(self):
        dice = self.dice
        fields = [
            ("request_id", self.id()),
            ("remote_addr", f"192.0.2.{dice.randrange(256)}"),
            ("request_uri", f"/search?q={dice.choice(NAMES)}&page={dice.randrange(50)}"),
            ("status", dice.choice(["200", "301", "404", "502"])),
            ("body_bytes_sent", str(dice.randrange(10**6))),
            ("user_agent", dice.choice(ODD_TEXTS)),
            ("referer", ""),
            ("trace", json.dumps({"span": dice.randrange(10**18), "name": dice.choice(ODD_TEXTS)})),
        ]
        if dice.random() < 0.02:
            fields.append(("cookie", f"before {MARKER} after"))
        return self.now, self.nanos(), fields

    def write(self, sls):
        """Writes everything; returns how many logs of each topic there are."""
        kinds = [
            ("actiontrail_audit_event", "actiontrail_internal", self.audit),
            ("actiontrail_audit_event", "actiontrail_internal", self.audit),
            ("actiontrail_event", "actiontrail_internal", self.audit),
            ("nginx_access", "10.20.0.7", self.access),
            ("", "10.20.0.8", self.access),
        ]
        counts = collections.Counter()
        for number in range(GROUPS):
            topic, source, make = kinds[number % len(kinds)]
            tags = [("__hostname__", f"web-{number % 7}"), ("__receive_time__", str(self.now)), ("team", "财务")]
            sls.put(topic, source, tags, [make() for _ in range(LOGS_PER_GROUP)])
            counts[topic] += LOGS_PER_GROUP
        return counts


def run(lab):
    """Returns whether both sides have the same events."""
    seed_page()
    sls, theirs, ours = lab.sls(SHARDS), lab.hec(), lab.hec()
    counts = Writer().write(sls)
    total = sum(counts.values())
    topics = ", ".join(f"{count} {topic or 'without topic'}" for topic, count in counts.items())
    print(f"parity: wrote {total} logs: {topics}", flush=True)
    spoiling = sls.spoiling()

    forwarder = lab.forwarder(spoiling, ours, "ours")
    started = time.monotonic()
    wait_until(lambda: ours.state()["events"] >= total or forwarder.poll() is not None, 60, "forwarder is not through")
    took = time.monotonic() - started
    print(f"parity: forwarder delivered {ours.state()['events']} events in {took:.1f} s", flush=True)
    command = [
        sys.executable, os.path.join(ROOT, "tests/peers/seed_hec.py"), "--seed-page", SEED_PAGE,
        "--sls-port", str(spoiling.port), "--hec-port", str(theirs.port), "--token", TOKEN,
        "--project", PROJECT, "--logstore", LOGSTORE, "--group", "theirs", "--ak-id", KEY_ID, "--ak-key", KEY_SECRET,
        "--count", str(total), "--timeout", "90",
    ]
    if subprocess.run(command).returncode != 0:
        raise Failed("the vendor's script did not deliver everything")

    dumps = []
    for name, hec in (("theirs", theirs), ("ours", ours)):
        dumps.append(os.path.join(lab.directory.name, f"{name}.jsonl"))
        with open(dumps[-1], "wb") as file:
            file.write(hec.get("/_emulator/events"))
    equal = subprocess.run([sys.executable, os.path.join(ROOT, "tests/peers/compare.py"), *dumps]).returncode == 0
    if not equal:
        print(output_of(forwarder), file=sys.stderr)
    return equal


def main():
    with Lab() as lab:
        try:
            equal = run(lab)
        except Failed as failure:
            logs = "\n".join(f"--- {child.log}\n{output_of(child)}" for child in lab.running)
            sys.exit(f"parity: {failure}\n{logs}")
    sys.exit(0 if equal else "parity: the events differ")


if __name__ == "__main__":
    main()
