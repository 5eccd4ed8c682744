#!/usr/bin/env python3
"""The CPU time of a syslog message: `forwarder`, loggen and rsyslog, over TCP to a receiver that reads and discards.

    python syslog_cost.py [--logs N] [--rounds N]

`forwarder` reads audit logs of about a kilobyte from `forwarder emulate sls`. Its figures are the user and system time of
the whole process from start to end, per log: with a script that drops every log (reading, unpacking, and the call of the
hook), with one that sends the log unchanged, and with scripts/syslog.lua; the difference from the first is the cost of
building messages and delivering them. For comparison, with messages of the same length: loggen, which repeats one message,
and rsyslog, which reads lines from a file (imfile) and sends them (omfwd). FORWARDER_BIN must be a release build.
"""

import argparse
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import parity
from peers import ROOT, Failed, Lab, output_of, stop, through, wait_until
from receivers import environment, modules, program

PER_GROUP = 500
# Padding that gives an audit log the length of ActionTrail's.
PADDING = ', "additionalEventData": {"userAgent": "' + "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 " * 8 + '"}}'

DROP = "function process(log) return nil end\n"
PASS = "function process(log) return log end\n"


class Sink:
    """Accepts connections, reads and counts bytes, and closes when the peer has closed."""

    def __init__(self):
        self.bytes = 0
        self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            threading.Thread(target=self.read, args=(self.server.accept()[0],), daemon=True).start()

    def read(self, connection):
        room = bytearray(1 << 20)
        with connection:
            try:
                while count := connection.recv_into(room):
                    self.bytes += count
            except ConnectionError:
                pass


def spent():
    """CPU time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write(sls, count):
    """Writes this many audit logs; returns the mean length of one as a message."""
    writer = parity.Writer()
    now, length = int(time.time()), 0
    for _ in range(0, count, PER_GROUP):
        logs = [(now, None, [("event", writer.audit_event()[:-1] + PADDING)]) for _ in range(PER_GROUP)]
        length += sum(len(log[2][0][1].encode()) for log in logs)
        sls.put("actiontrail_audit_event", "actiontrail_internal", [("team", "财务")], logs)
    return length // count + 150


def forwarder(lab, sls, count, name, script, **settings):
    """CPU time of `forwarder` per log, in microseconds."""
    before = spent()
    child = lab.forward(sls, name, FORWARDER_SCRIPT=script, **settings)
    wait_until(lambda: through(sls, name, child), 300, f"{name} is not through:\n{output_of(child)}")
    if stop(child, signal.SIGTERM) != 0:
        raise Failed(f"{name} failed:\n{output_of(child)}")
    return (spent() - before) / count * 1e6


def loggen(lab, sink, count, length):
    """CPU time of loggen per message, in microseconds."""
    before = spent()
    command = [
        program("usr/bin/loggen"), "--inet", "--stream", "--size", str(length), "--rate", "100000000", "--interval", "600",
        "--number", str(count), "127.0.0.1", str(sink.port),
    ]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"loggen: {done.stderr}")
    return (spent() - before) / count * 1e6


def rsyslog(lab, sink, count, length):
    """CPU time of rsyslog from a file to a TCP connection, per message, in microseconds."""
    home = os.path.join(lab.directory.name, f"omfwd-{lab.started}")
    os.mkdir(home)
    line = ("<14>1 2026-03-01T08:00:00Z host - - - - " + "x" * length)[:length - 1] + "\n"
    with open(os.path.join(home, "lines"), "w", encoding="ascii") as file:
        for _ in range(count):
            file.write(line)
    config = os.path.join(home, "config")
    with open(config, "w", encoding="ascii") as file:
        file.write(f'''global(workDirectory="{home}" maxMessageSize="64k")
module(load="imfile")
template(name="line" type="string" string="%msg%\\n")
input(type="imfile" file="{home}/lines" tag="x" ruleset="out")
ruleset(name="out") {{ action(type="omfwd" target="127.0.0.1" port="{sink.port}" protocol="tcp" template="line") }}
''')
    before, start = spent(), sink.bytes
    command = [
        program("usr/sbin/rsyslogd"), "-n", "-f", config, "-i", f"{home}/pid", "-M", modules("*/rsyslog/imtcp.so"),
    ]
    child = lab.start("omfwd", command, environment(), home)
    wait_until(lambda: sink.bytes - start >= count * length, 300, f"rsyslog is not through:\n{output_of(child)}")
    stop(child, signal.SIGTERM)
    return (spent() - before) / count * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the best counts")
    args = parser.parse_args()
    with Lab() as lab:
        try:
            measure(lab, args)
        except Failed as failure:
            sys.exit(f"syslog_cost: {failure}")


def measure(lab, args):
    sls, sink, hec = lab.sls(4), Sink(), lab.hec()
    length = write(sls, args.logs)
    scripts = {}
    for name, text in (("drop", DROP), ("pass", PASS)):
        scripts[name] = os.path.join(lab.directory.name, f"{name}.lua")
        with open(scripts[name], "w", encoding="ascii") as file:
            file.write(text)
    scripts["syslog.lua"] = os.path.join(ROOT, "scripts/syslog.lua")
    target = {"FORWARDER_SYSLOG_HOST": "127.0.0.1", "FORWARDER_SYSLOG_PORT": str(sink.port), "FORWARDER_SYSLOG_PROTOCOL": "tcp"}
    to_hec = {"FORWARDER_HEC_URL": hec.url, "FORWARDER_HEC_TOKEN": "00000000-0000-4000-8000-000000000000"}
    best = {}

    def note(name, cost):
        best[name] = min(cost, best.get(name, cost))
        print(f"{name:24} {cost:6.2f} µs", flush=True)

    print(f"{args.logs} messages of {length} bytes each; load {os.getloadavg()[0]:.1f}", flush=True)
    for number in range(args.rounds):
        for name, script in scripts.items():
            group = f"{name.replace('.', '-')}-{number}"
            note(f"forwarder, {name}", forwarder(lab, sls, args.logs, group, script, **target))
        note("forwarder, pass, to HEC", forwarder(lab, sls, args.logs, f"hec-{number}", scripts["pass"], **to_hec))
        note("loggen", loggen(lab, sink, args.logs, length))
        note("rsyslog, imfile to omfwd", rsyslog(lab, sink, args.logs, length))
    base = best["forwarder, drop"]
    print("\nbest of each, and beyond the script that drops:")
    for name, cost in best.items():
        beyond = f"{cost - base:6.2f}" if name.startswith("forwarder") else ""
        print(f"{name:24} {cost:6.2f} µs {beyond}")


if __name__ == "__main__":
    main()
