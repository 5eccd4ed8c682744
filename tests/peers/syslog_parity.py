#!/usr/bin/env python3
"""The vendor's syslog script and `forwarder` read the same logs, each with its own group and its own rsyslog.

    python syslog_parity.py

The messages of both must contain the same facts: the time and the text of each log. These differences are known and
counted by name, and must occur as often as the logs imply:

  no_structured_data   the vendor's header has no STRUCTURED-DATA, not even its NILVALUE
  zone_without_colon   +0800, which is not valid in RFC 3339
  header_shift         a tag of two words fills two fields
  time_not_read        rsyslog uses the time of receipt and its own host for these, and finds no name
  time_ns_tuple        the SDK turns `__time_ns_part__` into a tuple: ('5',)
  invalid_utf8         the SDK drops invalid UTF-8, where `forwarder` writes U+FFFD
  torn                 a line feed in a value ends the message; the rest becomes another message
  forged               such a rest that looks like a message, and is parsed as one

Then the same is sent to a syslog-ng, which refuses the messages of the vendor's script. Needs the vendor's SDK and page
(SEED_PAGE); FORWARDER_BIN names the program. Exits with 1 if anything else differs.
"""

import collections
import datetime
import os
import re
import signal
import sys

import parity
from peers import ROOT, Failed, Lab, output_of, seed_page, stop, through, wait_until
from receivers import Rsyslog, SyslogNg, shipping

HOSTNAME, TAG = "siem-host", "audit trail"
ZONE, OFFSET = "Asia/Shanghai", datetime.timezone(datetime.timedelta(hours=8))
FORGED = "<8>1 2026-01-01T00:00:00Z forged evil - - - root logged in"
HOSTILE = [f"x\n{FORGED}", f"x\r\n{FORGED}\r\ny", "two\nlines", "\n\n"]

ID = re.compile(r"[0-9A-F]{8}-PEER")
# `forwarder` sends RFC 5424. The vendor's header lacks a field, and with this tag has an additional one.
OURS = re.compile(r"<14>1 (\S+Z) siem-host audit_x20_trail - - - (.*)", re.DOTALL)
THEIRS = re.compile(r"<14>1 (\S+)\+0800 siem-host audit trail - - (.*)", re.DOTALL)
TIME_NS = re.compile(r"\|\|__time_ns_part__=(\d+)")


def write(sls):
    """The logs of the HEC parity, and a few hostile ones; returns how many."""
    writer = parity.Writer()
    counts = writer.write(sls)
    logs = [(writer.now, None, [("id", writer.id()), ("value", value)]) for value in HOSTILE]
    sls.put("hostile", "10.0.0.1", [], logs)
    return sum(counts.values()) + len(HOSTILE)


def by_id(texts):
    """Texts by the id in them; texts without an id or with a repeated id cannot be compared."""
    found = {}
    for text in texts:
        name = ID.search(text)
        if not name or name[0] in found:
            raise Failed(f"no id, or one that was there already: {text[:300]!r}")
        found[name[0]] = text
    return found


def unescaped(text):
    """The text with the escapes of `forwarder` decoded."""
    return re.sub(r"#([01][0-7]{2})", lambda code: chr(int(code[1], 8)), text)


def without_bad(text):
    return text.replace("\ufffd", "")


def taken(line):
    """A line as rsyslog writes it: if it has a NUL, that becomes #000, and other characters below the space are dropped."""
    return re.sub(r"[\x01-\x1f]", "", line).replace("\0", "#000") if "\0" in line else line


def compare(theirs, ours, known):
    """Yields the unknown differences between two messages of rsyslog."""
    heads = by_id(each["raw"] for each in theirs if THEIRS.match(each["raw"]))
    # Without U+FFFD, which the vendor's messages lack where bytes were dropped; rsyslog ignores an empty line.
    rests = collections.Counter(without_bad(each["raw"]) for each in theirs if not THEIRS.match(each["raw"]))
    for name, raw in by_id(each["raw"] for each in ours).items():
        found = OURS.fullmatch(raw)
        if not found:
            yield f"ours {name}: no RFC 5424 message: {raw[:300]!r}"
            continue
        stamp, text = found[1], unescaped(found[2])
        first, *more = map(taken, TIME_NS.sub(r"||__time_ns_part__=('\1',)", text).split("\n"))
        known["time_ns_tuple"] += bool(TIME_NS.search(text))
        known["torn"] += bool(more)
        rests.subtract(without_bad(line) for line in more if line)
        head = heads.pop(name, None)
        if head is None:
            yield f"{name}: the vendor's is missing"
            continue
        their_stamp, their_text = THEIRS.fullmatch(head).groups()
        their_time = datetime.datetime.strptime(their_stamp, "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=OFFSET)
        if their_time != datetime.datetime.fromisoformat(stamp[:19] + "+00:00"):
            yield f"{name}: time {their_stamp}+0800 | {stamp}"
        if their_text != first and without_bad(their_text) == without_bad(first):
            known["invalid_utf8"] += 1
        elif their_text != first:
            yield f"{name}: text {their_text[:300]!r} | {first[:300]!r}"
    for rest, count in rests.items():
        if count:
            yield f"{count:+} times a piece of the vendor's: {rest[:300]!r}"
    yield from (f"{name}: ours is missing" for name in heads)


def count_defects(theirs, known):
    """Counts the faults of the vendor's messages at the receiver."""
    for each in theirs:
        if not THEIRS.match(each["raw"]):
            known["forged"] += each["pri"] == "8" and each["host"] == "forged"
            continue
        known["zone_without_colon"] += 1
        known["no_structured_data"] += each["sd"] == "-"
        known["header_shift"] += 1
        known["time_not_read"] += each["host"] != HOSTNAME and each["app"] != TAG and "+0800 siem-host" in each["msg"]


def ship(lab, sls, receiver, total, peer, group):
    """Lets one of the two ship everything; returns the messages that arrived."""
    if peer == "vendor":
        child = lab.vendor_syslog(sls, receiver.ports["tcp"], group, HOSTNAME, TAG, TZ=ZONE)
        receiver.settled("tcp", float("inf"), 6)
        # It has sent everything. Its threads do not always end when it is interrupted.
        child.kill()
        child.wait()
    else:
        script = os.path.join(ROOT, "scripts/syslog.lua")
        settings = shipping(receiver, "tcp", HOSTNAME=HOSTNAME, PROGRAM=TAG, MAX_MESSAGE="64KiB")
        child = lab.forward(sls, group, FORWARDER_SCRIPT=script, TZ=ZONE, **settings)
        wait_until(lambda: through(sls, group, child), 60, f"forwarder is not through:\n{output_of(child)}")
        receiver.settled("tcp", total, 3)
        stop(child, signal.SIGTERM)
    return receiver.messages("tcp")


def run(lab):
    """Returns whether both sides contain the same facts."""
    seed_page()
    sls = lab.sls(4)
    total = write(sls)
    spoiling = sls.spoiling()
    theirs, ours = (
        ship(lab, spoiling, Rsyslog(lab, ["tcp"]).start(), total, peer, f"{peer}-rsyslog") for peer in ("vendor", "forwarder")
    )
    known = collections.Counter()
    faults = list(compare(theirs, ours, known))
    count_defects(theirs, known)
    print(f"syslog parity: {total} logs; {len(theirs)} | {len(ours)} messages, {len(faults)} differences; known: ", end="")
    print(", ".join(f"{name} {count}" for name, count in sorted(known.items())), flush=True)
    for fault in faults[:20]:
        print(f"difference: {fault}")

    refused = []
    for peer in ("vendor", "forwarder"):
        messages = ship(lab, spoiling, SyslogNg(lab, ["tcp"]).start(), total, peer, f"{peer}-syslog-ng")
        refused.append(sum("Error processing log message" in each["msg"] for each in messages))
        taken = sum(each["host"] == HOSTNAME for each in messages)
        print(f"syslog-ng: took {taken} messages of {peer}, refused {refused[-1]}", flush=True)
    return not faults and refused[1] == 0 and taken == total == len(ours) and known["header_shift"] == total


def main():
    with Lab() as lab:
        try:
            same = run(lab)
        except Failed as failure:
            logs = "\n".join(f"--- {child.log}\n{output_of(child)}" for child in lab.running)
            sys.exit(f"syslog_parity: {failure}\n{logs}")
    sys.exit(0 if same else "syslog_parity: the facts differ")


if __name__ == "__main__":
    main()
