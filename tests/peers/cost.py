#!/usr/bin/env python3
"""The cost of a log in CPU time, for the vendor's script and for `forwarder`.

    python cost.py [LOGS]

Both read the same kinds of logs, first audit and then web logs, each with its own group and its own HEC emulator.
Each runs twice: for a few logs and then, from its checkpoint on, for LOGS (20000) more, or for ten times as many with
`forwarder`, because its start-up would hide the cost of fewer. The kernel reports user and system time from start to end; the
time of the first run is subtracted. Needs the vendor's SDK and page (SEED_PAGE); FORWARDER_BIN names the program.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

from peers import Failed, Lab, output_of, wait_until

SHARDS = 4
PER_GROUP = 50
FEW = 200
TIMES = 10
PATIENCE = 600


def audit(dice):
    """An event as ActionTrail writes it, of about 1 KB."""
    event = {
        "eventId": f"{dice.getrandbits(128):032x}",
        "eventVersion": "1",
        "eventName": dice.choice(["ConsoleSignin", "RunInstances", "AssumeRole", "PutBucketAcl"]),
        "eventSource": "ecs.cn-hangzhou.aliyuncs.com",
        "eventTime": "2026-03-01T08:00:00Z",
        "sourceIpAddress": f"203.0.{dice.randrange(256)}.{dice.randrange(256)}",
        "userAgent": "AlibabaCloud (Linux; amd64) Java/1.8.0_292-b10 Core/4.5.17 HTTPClient/ApacheHttpClient",
        "userIdentity": {
            "type": "ram-user",
            "accessKeyId": f"LTAI{dice.getrandbits(64):016x}",
            "accountId": str(dice.randrange(10**15)),
            "userName": f"ops-{dice.randrange(40)}",
            "sessionContext": {"attributes": {"mfaAuthenticated": "false", "creationDate": "2026-03-01T07:00:00Z"}},
        },
        "requestParameters": {
            "RegionId": "cn-hangzhou",
            "InstanceIds": [f"i-{dice.getrandbits(64):016x}" for _ in range(2)],
            "Note": 'say "hi"',
            "PageSize": dice.randrange(100),
        },
        "responseElements": None,
        "requestId": f"{dice.getrandbits(64):016X}",
        "isGlobal": False,
    }
    return [("event", json.dumps(event, separators=(",", ":")))]


def nginx(dice):
    """A line of an access log, field by field."""
    return [
        ("remote_addr", f"198.51.{dice.randrange(256)}.{dice.randrange(256)}"),
        ("remote_user", "-"),
        ("request_method", dice.choice(["GET", "POST", "PUT"])),
        ("request_uri", f"/api/v1/items/{dice.randrange(10**5)}?page={dice.randrange(20)}&sort=name&q=shoes+red"),
        ("status", dice.choice(["200", "404", "500"])),
        ("body_bytes_sent", str(dice.randrange(10**5))),
        ("http_referer", "https://shop.example.com/catalogue/index.html"),
        ("http_user_agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0"),
        ("request_time", "0.042"),
        ("upstream_addr", "10.1.2.3:8080"),
        ("request_id", f"{dice.getrandbits(128):032x}"),
    ]


def used(child):
    """Stops a program; returns its CPU time in seconds, including its children."""
    before = os.times()
    child.send_signal(signal.SIGINT)
    try:
        child.wait(15)
    except subprocess.TimeoutExpired:
        # Its threads do not end, so its CPU time so far is used.
        child.kill()
        child.wait()
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def through(child, hec, count, what):
    """Runs a program until `count` events have arrived in all; returns its CPU time in seconds."""
    wait_until(
        lambda: hec.state()["events"] >= count or child.poll() is not None, PATIENCE, f"{what} is not through"
    )
    if child.poll() is not None:
        raise Failed(f"{what} ended with {child.returncode}:\n{output_of(child)}")
    # Everything delivered is also saved.
    time.sleep(3)
    return used(child)


def measure(lab, kind, make, topic, logs):
    """Prints the costs of one kind of log, and their ratio."""
    dice = random.Random(1)
    sls, theirs, ours = lab.sls(SHARDS), lab.hec(), lab.hec()
    written = 0

    def write(count):
        nonlocal written
        now = int(time.time())
        tags = [("__hostname__", "web-1"), ("__receive_time__", str(now))]
        for _ in range(count // PER_GROUP):
            sls.put(topic, "10.0.0.1", tags, [(now, None, make(dice)) for _ in range(PER_GROUP)])
            written += PER_GROUP

    def run(name, hec):
        start = lab.forwarder if name == "ours" else lab.vendor
        return through(start(sls, hec, f"{name}-{kind}"), hec, written, name)

    write(FEW)
    our, their = -run("ours", ours), -run("theirs", theirs)
    before = written
    write(logs)
    their = (their + run("theirs", theirs)) / (written - before) * 1e6
    write(logs * (TIMES - 1))
    our = (our + run("ours", ours)) / (written - before) * 1e6
    print(f"{kind}: vendor {their:.0f} µs, forwarder {our:.1f} µs a log; {their / our:.0f} to 1", flush=True)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with Lab() as lab:
        try:
            measure(lab, "audit", audit, "actiontrail_audit_event", count)
            measure(lab, "nginx", nginx, "nginx_access", count)
        except Failed as failure:
            sys.exit(f"cost: {failure}")


if __name__ == "__main__":
    main()
