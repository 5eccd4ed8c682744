#!/usr/bin/env python3
"""Receivers are killed, stopped or frozen while they receive a backlog: counts the logs that never arrive.

    python syslog_kills.py [--kills N] [--vendor] [CASE…]

Each case has one receiver on one transport. While logs flow, the receiver is killed, stopped in order or frozen for a
while, at random moments, and started again; with --kills 4 (the default) it goes down four times. When every checkpoint of
the group is at the end of its shard, every log must be in the receiver's files, because `forwarder` reports it as
delivered. `delivery = "sent"` makes no such promise, so missing logs are only counted.

--vendor adds the vendor's script under the same faults, and only counts its losses. It needs the vendor's SDK and page.
"""

import argparse
import os
import random
import re
import shutil
import signal
import sys
import time

from peers import LOGSTORE, PROJECT, ROOT, Failed, Lab, output_of, stop, through, wait_until
from receivers import Emulated, Rsyslog, SyslogNg, shipping

LOGS, PER_GROUP, SHARDS = 200_000, 1000, 4

# Receiver, its input, and settings that the transport does not imply.
CASES = {
    "rsyslog-tcp": (Rsyslog, "tcp", {}),
    "rsyslog-octet": (Rsyslog, "tcp", {"FRAMING": "octet"}),
    "rsyslog-tls": (Rsyslog, "tls", {}),
    "rsyslog-relp": (Rsyslog, "relp", {}),
    "rsyslog-relp-tls": (Rsyslog, "relptls", {}),
    "syslog-ng-tcp": (SyslogNg, "tcp", {}),
    "syslog-ng-tls": (SyslogNg, "tls", {}),
    "emulator-tcp": (Emulated, "tcp", {}),
    "emulator-tls": (Emulated, "tls", {}),
    "emulator-relp": (Emulated, "relp", {}),
    "rsyslog-tcp-sent": (Rsyslog, "tcp", {"DELIVERY": "sent"}),
}
# One of each kind.
DEFAULT = [
    "rsyslog-tcp", "rsyslog-tls", "rsyslog-relp", "syslog-ng-tcp", "syslog-ng-tls", "emulator-tcp", "rsyslog-tcp-sent"
]

# The delivery label that `forwarder` logs.
LABELS = {
    name: "sent" if name.endswith("-sent") else "acknowledged" if "relp" in name else "confirmed" for name in CASES
}

ID = re.compile(rb"\|\|id=log-(\d+)")


def write(sls):
    """A backlog of logs with unique ids."""
    now = int(time.time())
    for first in range(0, LOGS, PER_GROUP):
        logs = [
            (now, None, [("id", f"log-{number:07}"), ("status", "200"), ("uri", "/cart?page=1"), ("user", "王芳")])
            for number in range(first, first + PER_GROUP)
        ]
        sls.put("nginx_access", "10.0.0.1", [("host", "web-1")], logs)


class Round:
    """One group reads the backlog from its beginning; the receiver's files are empty."""

    def __init__(self, lab, sls, case, number, peer, dice):
        self.sls, self.dice = sls, dice
        kind, self.input, more = CASES[case]
        self.receiver = kind(lab, [self.input]).start()
        self.group = f"{case}-{peer}-{number}"
        # Messages per second, each time before the receiver goes down.
        self.rates = []
        if peer == "vendor":
            self.child = lab.vendor_syslog(sls, self.receiver.ports[self.input], self.group, "host", "tag")
        else:
            script = os.path.join(ROOT, "tests/peers/syslog_header.lua")
            settings = shipping(self.receiver, self.input, **more)
            self.child = lab.forward(sls, self.group, FORWARDER_SCRIPT=script, **settings)

    def through(self):
        return through(self.sls, self.group, self.child)

    def flows(self):
        """Waits until logs flow; returns False if all have been delivered already."""
        before, since = self.receiver.count(self.input), time.monotonic()
        while (count := self.receiver.count(self.input)) < before + PER_GROUP:
            if self.through():
                return False
            if time.monotonic() - since > 60:
                raise Failed(f"nothing arrives for a minute:\n{output_of(self.child)}")
            time.sleep(0.02)
        self.rates.append((count - before) / (time.monotonic() - since))
        time.sleep(self.dice.uniform(0, 2.5))
        return True

    def faults(self, most):
        """Takes the receiver down while logs flow, at most this many times; returns how often."""
        downs = 0
        while downs < most and self.flows():
            fault = self.dice.choice(["kill", "kill", "stop", "freeze"])
            if fault == "freeze":
                self.receiver.stall(self.dice.uniform(0.2, 1.5))
                continue
            self.receiver.kill(signal.SIGKILL if fault == "kill" else signal.SIGTERM)
            time.sleep(self.dice.uniform(0.05, 0.5))
            self.receiver.start()
            downs += 1
        return downs

    def arrived(self):
        """The number of different logs that arrived, and the number of messages."""
        numbers = [int(found[1]) for found in map(ID.search, self.receiver.lines(self.input)) if found]
        return len(set(numbers)), len(numbers)

    def end(self):
        if self.child.poll() is None:
            stop(self.child, signal.SIGTERM)
        self.receiver.kill()
        # A logstore has room for 30 groups.
        self.sls.client().delete_consumer_group(PROJECT, LOGSTORE, self.group)
        shutil.rmtree(self.receiver.home)


def run(lab, sls, case, peer, kills, dice):
    """Runs rounds until the receiver has gone down this many times; returns whether everything reported as delivered arrived."""
    downs = lost = sent = repeats = number = 0
    rates, began = [], time.monotonic()
    while downs < kills:
        number += 1
        one = Round(lab, sls, case, number, peer, dice)
        downs += one.faults(kills - downs)
        wait_until(one.through, 120, f"the checkpoints do not get to the ends:\n{output_of(one.child)}")
        one.receiver.settled(one.input, float("inf"), 1.5)
        different, messages = one.arrived()
        lost, repeats, sent = lost + LOGS - different, repeats + messages - different, sent + LOGS
        rates += one.rates
        one.end()
        means = re.findall(r"delivered means (\w+); destination", output_of(one.child))[-1:]
        if peer == "forwarder" and means != [LABELS[case]]:
            raise Failed(f"at the end delivered means {means}, expected {LABELS[case]}:\n{output_of(one.child)}")
    print(
        f"{case:17} {peer:9} down {downs:2} times: lost {lost} of {sent}, {repeats} repeats; {number} rounds, "
        f"{sorted(rates)[len(rates) // 2]:,.0f} a second before it went down; {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return lost == 0 or LABELS[case] == "sent" or peer == "vendor"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: {', '.join(DEFAULT)}")
    parser.add_argument("--kills", type=int, default=4, help="how often the receiver of a case goes down")
    parser.add_argument("--seed", type=int, default=None, help="the dice, to throw them again")
    parser.add_argument("--vendor", action="store_true", help="run the vendor's script in place of forwarder (TCP only)")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.randrange(10**6)
    print(f"syslog_kills: --seed {seed}", flush=True)
    is_whole = True
    with Lab() as lab:
        try:
            sls = lab.sls(SHARDS)
            write(sls)
            for case in args.cases or DEFAULT:
                is_whole &= run(lab, sls, case, "vendor" if args.vendor else "forwarder", args.kills, random.Random(seed))
        except Failed as failure:
            logs = "\n".join(f"--- {child.log}\n{output_of(child)}" for child in lab.running)
            sys.exit(f"syslog_kills: {failure}\n{logs}")
    sys.exit(0 if is_whole else "syslog_kills: forwarder reported logs as delivered that did not arrive")


if __name__ == "__main__":
    main()
