#!/usr/bin/env python3
"""Faults under which the vendor's recipe loses logs, and the behaviour of `forwarder` under them.

    python red_list.py [--forwarder-only] CASE… | all

Each case starts its own emulators, writes logs with unique ids, causes the fault and counts the ids that never
arrive. Exits with 1 if `forwarder` loses one, lets a checkpoint go back or uses one name twice; the vendor's figures are
only printed. Needs the vendor's SDK; without --forwarder-only also the vendor's page (SEED_PAGE). FORWARDER_BIN names the
program.
"""

import argparse
import signal
import sys
import time

import bad_bytes
from peers import BUSY, Failed, Lab, output_of, stop, wait_until

GROUP = "siem"


class Vendor:
    """The vendor's script and SDK."""

    name = "vendor"
    # The script's orderly stop: Ctrl-C.
    stop_signal = signal.SIGINT
    # It tries each batch once. A new process waits four seconds for the shards of the old one.
    quiet = 10

    def start(self, lab, sls, hec):
        return lab.vendor(sls, hec, GROUP)


class Forwarder:
    """The program of this repository."""

    name = "forwarder"
    stop_signal = signal.SIGTERM
    quiet = 20

    def start(self, lab, sls, hec):
        return lab.forwarder(sls, hec, GROUP, FORWARDER_RUN_DRAIN_TIMEOUT="2s")


class Ids:
    """Numbers the logs of a case."""

    def __init__(self):
        self.written = []

    def logs(self, count):
        """New logs: the fields of a web server, and the id."""
        now, first = int(time.time()), len(self.written)
        ids = [f"log-{number:06}" for number in range(first, first + count)]
        self.written += ids
        rest = [("status", "200"), ("uri", "/cart?page=1"), ("user", "王芳")]
        return [(now, None, [("id", name), *rest]) for name in ids]


def put(sls, ids, groups, logs=100):
    for _ in range(groups):
        sls.put("nginx_access", "10.0.0.1", [("host", "web-1")], ids.logs(logs))


def loss(hec, ids, quiet):
    """The result of the case as text, and whether everything arrived."""
    hec.settled(len(set(ids)), quiet)
    arrived = hec.ids()
    lost = [name for name in ids if name not in arrived]
    return f"lost {len(lost)} of {len(ids)}", not lost


def outage(lab, peer):
    """Splunk answers 503 for three seconds, while logs keep arriving."""
    sls, hec, ids = lab.sls(1), lab.hec(), Ids()
    put(sls, ids, 1)
    peer.start(lab, sls, hec)
    wait_until(lambda: hec.state()["events"] >= 100, 20, "nothing arrives before the outage")
    hec.order(do="during", fault=BUSY, seconds=3)
    for _ in range(20):
        put(sls, ids, 1)
        time.sleep(0.25)
    return loss(hec, ids.written, peer.quiet)


def stop_in_outage(lab, peer):
    """It is stopped while Splunk answers 503, and started again afterwards."""
    sls, hec, ids = lab.sls(1), lab.hec(), Ids()
    put(sls, ids, 10)
    hec.order(do="during", fault=BUSY, seconds=600)
    child = peer.start(lab, sls, hec)
    wait_until(lambda: hec.state()["requests"] >= 1, 20, "nothing is delivered")
    time.sleep(0.5)
    stop(child, peer.stop_signal)
    saved = sls.checkpoint(GROUP)
    hec.order(do="clear")
    peer.start(lab, sls, hec)
    result, whole = loss(hec, ids.written, peer.quiet)
    return f"{result}; the stop saved {saved or 0} of 10 log groups, of which none was delivered", whole


def hand_over_in_outage(lab, peer):
    """Its shard is assigned to a second consumer while Splunk answers 503."""
    sls, hec, ids = lab.sls(1), lab.hec(), Ids()
    put(sls, ids, 10)
    hec.order(do="during", fault=BUSY, seconds=600)
    peer.start(lab, sls, hec)
    wait_until(lambda: hec.state()["requests"] >= 1, 20, "nothing is delivered")
    second = peer.start(lab, sls, hec)
    wait_until(lambda: second.consumer in sls.consumers(GROUP), 20, "the second does not join")
    sls.happen(event="hand_over", group=GROUP, shard=0, consumer=second.consumer)
    # Some release a shard at once, some after delivery: both are correct if nothing is lost.
    deadline = time.monotonic() + 8
    while sls.owner(GROUP) != second.consumer and time.monotonic() < deadline:
        time.sleep(0.1)
    saved = sls.checkpoint(GROUP)
    hec.order(do="clear")
    result, whole = loss(hec, ids.written, peer.quiet)
    return f"{result}; saved in the outage: {saved or 0} of 10 log groups, of which none was delivered", whole


def expired(lab, peer):
    """While it is down, the log at its checkpoint expires in SLS. Logs that SLS still has must arrive."""
    sls, hec, ids = lab.sls(1), lab.hec(), Ids()
    put(sls, ids, 1)
    child = peer.start(lab, sls, hec)
    wait_until(lambda: hec.state()["events"] >= 100 and sls.behind(GROUP) == 0, 20, "the first logs are not through")
    stop(child, peer.stop_signal)
    put(sls, ids, 10)
    sls.happen(event="expire", shard=0, keep=5)
    kept = ids.written[-500:]
    peer.start(lab, sls, hec)
    # Logs from before the outage are in the HEC emulator as well, and are not counted here.
    hec.settled(600, peer.quiet)
    return loss(hec, kept, 0)


def zombie(lab, peer):
    """One consumer hangs in the middle of a batch, another takes over its shard and moves the checkpoint, then the first resumes."""
    sls, hec, ids = lab.sls(1), lab.hec(), Ids()
    put(sls, ids, 5)
    hec.order(do="next", fault={"kind": "trickle", "every_ms": 100})
    first = peer.start(lab, sls, hec)
    wait_until(lambda: hec.state()["requests"] >= 1, 20, "nothing is delivered")
    # The first request may be a check, which is sent before the group is joined.
    wait_until(lambda: first.consumer in sls.consumers(GROUP), 20, "the first does not join")
    first.send_signal(signal.SIGSTOP)
    sls.happen(event="evict", group=GROUP, consumer=first.consumer)
    second = peer.start(lab, sls, hec)
    wait_until(lambda: sls.checkpoint(GROUP) == 5, 30, "the second does not take over")
    # The vendor's script saves at most every three seconds.
    time.sleep(3.5)
    put(sls, ids, 5)
    wait_until(lambda: sls.checkpoint(GROUP) == 10, 30, "the second does not get further")
    first.send_signal(signal.SIGCONT)
    lowest = 10
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        lowest = min(lowest, sls.checkpoint(GROUP))
        time.sleep(0.1)
    for child in (first, second):
        child.kill()
        child.wait()
    result, whole = loss(hec, ids.written, 1)
    return f"{result}; the zombie's save moved the checkpoint from 10 to {lowest} log groups", whole and lowest == 10


def bad_topic(lab, peer):
    """One log group in ten has a topic with a byte that is not UTF-8."""
    sls, hec, ids = lab.sls(1), lab.hec(), Ids()
    put(sls, ids, 5)
    sls.put(f"nginx {bad_bytes.MARKER}", "10.0.0.1", [], ids.logs(100))
    put(sls, ids, 4)
    peer.start(lab, sls.spoiling(), hec)
    return loss(hec, ids.written, peer.quiet)


def twins(lab, peer):
    """Two containers, each with the program as process 1. They run before the logs are written."""
    sls, hec, ids = lab.sls(2), lab.hec(), Ids()
    lab.prefix = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    for _ in range(2):
        peer.start(lab, sls, hec)
    # Both have joined and divided the shards, or believe that they have.
    time.sleep(10)
    for _ in range(10):
        put(sls, ids, 1)
        time.sleep(0.3)
    result, whole = loss(hec, ids.written, peer.quiet)
    # Repeats can arrive after the last new log.
    time.sleep(3)
    names = sls.consumers(GROUP)
    twice = sum(count > 1 for count in hec.ids().values())
    return f"{result}; {len(names)} in the group, {twice} logs arrived more than once", whole and twice == 0


CASES = {
    "outage": outage,
    "hand-over": hand_over_in_outage,
    "stop": stop_in_outage,
    "expired": expired,
    "zombie": zombie,
    "bad-topic": bad_topic,
}
# Not in `all`: it needs `unshare`, which is not allowed everywhere.
WITH_NAMESPACES = {"twins": twins}


def run(case, peer):
    """Runs one case with one peer; returns whether nothing was lost."""
    with Lab() as lab:
        try:
            result, whole = (CASES | WITH_NAMESPACES)[case](lab, peer())
        except Failed as failure:
            logs = "\n".join(f"--- {child.log}\n{output_of(child)}" for child in lab.running)
            raise Failed(f"{case}, {peer.name}: {failure}\n{logs}") from failure
        if not whole and peer is Forwarder:
            print("\n".join(f"--- {child.log}\n{output_of(child)}" for child in lab.running), file=sys.stderr)
    print(f"{case:10} {peer.name:10} {result}", flush=True)
    return whole


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "cases", nargs="+", metavar="CASE", choices=[*CASES, *WITH_NAMESPACES, "all"],
        help=f"{', '.join(CASES)}; all of these; or twins, which needs unshare",
    )
    parser.add_argument("--forwarder-only", action="store_true", help="leave the vendor's half out")
    args = parser.parse_args()
    cases = CASES if "all" in args.cases else args.cases
    whole = True
    try:
        for case in cases:
            if not args.forwarder_only:
                run(case, Vendor)
            whole &= run(case, Forwarder)
    except Failed as failure:
        sys.exit(f"red_list: {failure}")
    sys.exit(0 if whole else "red_list: forwarder lost logs, let a checkpoint go back, or had two of a name")


if __name__ == "__main__":
    main()
