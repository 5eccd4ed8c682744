#!/usr/bin/env python3
"""Compares the messages that rsyslog and syslog-ng received from `forwarder` with the logs, field by field.

    python syslog_fields.py [--logs N] [CASE…]

Audit logs as ActionTrail writes them and a corpus of hostile ones (line feeds followed by forged headers, NUL, invalid
UTF-8, separators inside values, a value of a megabyte, header fields that the standard does not allow) go
through `forwarder emulate sls` and `forwarder` to a real receiver. This program computes each expected message from the
logs and from docs/syslog.md, independently of the code of `forwarder`. Every message must arrive exactly once, with these
bytes, and the receiver must have parsed these fields from it; nothing else may arrive.
"""

import argparse
import collections
import datetime
import hashlib
import ipaddress
import os
import re
import sys
import time

from bad_bytes import MARKER, SPOILT
from parity import Writer
from peers import ROOT, Failed, Lab, output_of, stop, through, wait_until
from receivers import FIELDS, Rsyslog, SyslogNg, shipping

SHARDS = 4
LOGS, PER_GROUP = 10_000, 250
HOSTNAME = "peers-host"
SD_ID = "peer@32473"
MEGABYTE = 1 << 20
ROOMY, DATAGRAM = 2 * MEGABYTE, 1400
# Bytes that cut messages reserve for a byte order mark, whether it is sent or not.
MARK = 3

FACILITIES = (
    "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock "
    "local0 local1 local2 local3 local4 local5 local6 local7"
).split()
SEVERITIES = "emerg alert crit err warning notice info debug".split()


class Case(collections.namedtuple("Case", "receiver input octet limit label more")):
    """A receiver's input, whether frames are octet-counted, the maximum message size, the delivery label, and settings."""


def case(receiver, name, octet, limit=ROOMY, label="confirmed", **more):
    return Case(receiver, name, octet, limit, label, {"MAX_MESSAGE": f"{limit}B"} | more)


# UDP and RELP have their own frames: as with octet counting, only NUL must be escaped.
CASES = {
    "rsyslog-tcp": case(Rsyslog, "tcp", False),
    "rsyslog-octet": case(Rsyslog, "tcp", True, FRAMING="octet"),
    "rsyslog-cut": case(Rsyslog, "ptcp", False, 1024, OVERSIZE="truncate"),
    "rsyslog-udp": case(Rsyslog, "udp", True, DATAGRAM, "sent", OVERSIZE="truncate"),
    "rsyslog-udp-split": case(Rsyslog, "udp", True, DATAGRAM, "sent", OVERSIZE="split", RATE="10000"),
    "rsyslog-tls": case(Rsyslog, "tls", True),
    "rsyslog-mtls": case(Rsyslog, "mtls", True),
    # rsyslog's GnuTLS driver does not answer close_notify: it proves nothing, and detecting that causes repeats.
    "rsyslog-gtls": case(Rsyslog, "gtls", True, label="written"),
    "rsyslog-relp": case(Rsyslog, "relp", True, label="acknowledged"),
    "rsyslog-relp-tls": case(Rsyslog, "relptls", True, label="acknowledged"),
    "syslog-ng-tcp": case(SyslogNg, "tcp", False),
    "syslog-ng-octet": case(SyslogNg, "octet", True, FRAMING="octet"),
    "syslog-ng-split": case(SyslogNg, "octet", True, 1024, FRAMING="octet", OVERSIZE="split"),
    "syslog-ng-tls": case(SyslogNg, "tls", True),
    "syslog-ng-mtls": case(SyslogNg, "mtls", True),
    "syslog-ng-tls-lf": case(SyslogNg, "tlslf", False, FRAMING="lf"),
}

# The id of a log in the structured data, and the number of a part.
NAME = re.compile(
    rb'\[peer@32473 id="(log-\d{6})"(?:[^\]\\]|\\.)*\](?:\[part@32473 id="[0-9a-f]{16}" part="(\d+)")?', re.DOTALL
)

FORGED = "<8>1 2026-01-01T00:00:00Z forged evil - - - root logged in"
HOSTILE_VALUES = [
    f"x\n{FORGED}", f"x\r\n{FORGED}\r\n", f"x\0{FORGED}", f"\n{len(FORGED)} {FORGED}", f"x\n\n\n{FORGED}\n",
    "".join(map(chr, range(32))) + "\x7f", "".join(map(chr, range(0x80, 0xa0))), "\u2028 and \u2029 and \u0085",
    "k=v||id=forged||k2=v2", "=", "||", "|", "a=b=c", "", " ", "  two  ", "12 monkeys", "\ufeffmark", "\ufffd",
    '"]\\', "[x@1 y=\"z\"]", "] [", "- - -", "%s %n {} ${x} $(id) `id`", "#012 #012x ##012 #043 #000 #177 #200 #12 #",
    "tab\there", "é用户😀", "e\u0301", MARKER, f"before {MARKER} after", f"{MARKER}{MARKER}\n{MARKER}",
    "x" * 2000, "用" * 700 + "\n" * 700, "x" * 900 + "#0120" * 100, "😀" * 400,
]
LONG_VALUES = ["x" * MEGABYTE, "用\n" * (MEGABYTE // 4)]
HOSTILE_NAMES = ["a\nb", "a=b", "a||b", f"n\n{FORGED}", "nul\0", f"{MARKER}", "用户", "a b", '"]\\']
# Header fields, and values for them.
HOSTILE_HEADERS = [
    *[(name, value) for name in ("host", "program", "procid", "msgid") for value in (
        "plain-1.example", "", "with a space", f"x\n{FORGED}", "nul\0", "用户", "x" * 32, "y" * 33, "z" * 48, "p" * 49,
        "q" * 128, "r" * 129, "s" * 255, "t" * 256, "]\"\\", "-", "\t", MARKER, "192.0.2.1:514", "2001:db8::1", "[::1]", "a[0]",
    )],
    *[("facility", value) for value in (*FACILITIES, *map(str, range(24)))],
    *[("severity", value) for value in (*SEVERITIES, *map(str, range(8)))],
]


class Log(collections.namedtuple("Log", "id time nanos topic source tags fields")):
    """A log as written to SLS, with its fields in order."""


class Corpus:
    """The logs, in groups that share topic, source and tags."""

    def __init__(self, count):
        self.groups = []
        self.numbers = 0
        self.now = int(time.time())
        writer = Writer()
        for first in range(0, count, PER_GROUP):
            topic = ("actiontrail_audit_event", "actiontrail_event")[first // PER_GROUP % 2]
            logs = [[("event", writer.audit_event())] for _ in range(min(PER_GROUP, count - first))]
            self.group(topic, "actiontrail_internal", [("__receive_time__", str(self.now)), ("team", "财务")], logs)
        self.group("hostile", "10.0.0.1", [("__hostname__", "web-1")], [
            *[[("value", value)] for value in HOSTILE_VALUES],
            *[[("note", value), ("x", "1")] for value in HOSTILE_VALUES if len(value) < 100],
            *[[(name, "v"), ("x", "1")] for name in HOSTILE_NAMES],
            *[[(f"header_{name}", value), ("x", "1")] for name, value in HOSTILE_HEADERS],
        ])
        for value in HOSTILE_VALUES[:5]:
            self.group(value, value, [("tag", value)], [[("x", "1")]])
        for value in LONG_VALUES:
            self.group("long", "10.0.0.2", [], [[("before", "1"), ("value", value), ("after", "2")]])

    def group(self, topic, source, tags, logs):
        made = []
        for fields in logs:
            self.numbers += 1
            # Without a fraction, with whole microseconds, and with nanoseconds.
            nanos = (0, 123_456_000, 1, 999_999_999, 500_000_000)[self.numbers % 5]
            name = f"log-{self.numbers:06}"
            made.append(Log(name, self.now - self.numbers, nanos, topic, source, tags, [("id", name), *fields]))
        self.groups.append(made)

    def write(self, sls):
        for group in self.groups:
            logs = [(log.time, log.nanos, log.fields) for log in group]
            sls.put(group[0].topic, group[0].source, group[0].tags, logs)

    def expected(self, case):
        """The expected messages, by the log's id and the number of the part."""
        logs = [log for group in self.groups for log in group]
        return {(log.id, part): fields for log in logs for part, fields in enumerate(messages(log, case), 1)}


def flattened(log):
    """The log as the hook receives it, without its time: names and values as bytes in the order of the vendor's dict."""
    pairs = [("__topic__", log.topic), ("__source__", log.source)]
    if log.nanos:
        pairs.append(("__time_ns_part__", str(log.nanos)))
    pairs += [(f"__tag__:{name}", value) for name, value in log.tags] + log.fields
    return [tuple(text.encode().replace(MARKER.encode(), SPOILT) for text in pair) for pair in pairs]


def repaired(text):
    """The bytes as UTF-8, with U+FFFD in place of invalid ones."""
    return text.decode("utf-8", "replace").encode()


def controls(octet):
    """The control characters that are escaped."""
    return [0] if octet else [*range(0x09), *range(0x0a, 0x20), 0x7f]


def written(octet):
    """A pattern of the digits that make a preceding `#` an escape: those of control characters, of `#`, of `|` and of `=`."""
    return b"|".join(b"%03o" % code for code in [*controls(octet), *b"#|="])


def escaped(text, octet):
    """Control characters as `#` and three octal digits, and a `#` that would read as one as `#043`."""
    text = re.sub(b"#(?=%s)" % written(octet), b"#043", text)
    return re.sub(b"[%s]" % b"".join(b"\\x%02x" % code for code in controls(octet)), lambda found: b"#%03o" % found[0][0], text)


def paired(pairs, octet):
    """Pairs, each after `||`: in keys and values, a `|` before another one or at the end is escaped, and in keys the `=`."""
    text = b""
    for key, value in pairs:
        key, value = (re.sub(rb"\|(?=\||\Z)", b"#174", escaped(repaired(piece), octet)) for piece in (key, value))
        text += b"||%s=%s" % (key.replace(b"=", b"#075"), value)
    return text


def cut(text, room, octet):
    """The longest prefix of escaped text that cuts neither a character nor an escape."""
    kept = text[:room]
    while len(kept) < len(text) and text[len(kept)] & 0xc0 == 0x80:
        kept = kept[:-1]
    for back in (1, 2, 3):
        if re.match(b"#(%s)" % written(octet), text[len(kept) - back:len(kept) - back + 4]):
            return kept[:-back]
    return kept


def cleaned(text, most, refused=rb"[^!-~]"):
    """A header field: printable ASCII, other bytes as `_x…_`, cut with a digest; `-` if it is empty."""
    odd = rb"(?:%s|_(?=x[0-9A-F]{2}|h[0-9A-F]{12}))+" % refused
    name = re.sub(odd, lambda found: b"_x%s_" % found[0].hex().upper().encode(), text)
    if len(name) <= most:
        return name or b"-"
    pieces = re.findall(rb"_x(?:[0-9A-F]{2})+_|.", name, re.DOTALL)
    while len(b"".join(pieces)) > most - 15:
        pieces.pop()
    return b"".join(pieces) + b"_h%s_" % hashlib.sha256(text).hexdigest()[:12].upper().encode()


def host_name(text):
    """HOSTNAME: syslog-ng refuses a message whose host contains `[`, or `:` without being an IPv6 address."""
    try:
        ipaddress.IPv6Address(text.decode())
        return cleaned(text, 255)
    except ValueError:
        return cleaned(text, 255, rb"[^!-9;-Z\\-~]")


def code(text, names):
    text = text.decode()
    return names.index(text) if text in names else int(text)


def messages(log, case):
    """The expected messages of a log, each as fields and bytes (tests/peers/syslog_header.lua makes the event)."""
    flat = flattened(log)
    header = {name: value for name, value in flat if name.startswith(b"header_")}
    given = lambda name: header.get(f"header_{name}".encode(), b"")
    moment = datetime.datetime.fromtimestamp(log.time, datetime.timezone.utc)
    stamp = moment.replace(microsecond=log.nanos // 1000, tzinfo=None).isoformat() + "Z"
    fields = {
        "pri": b"%d" % (code(given("facility") or b"user", FACILITIES) * 8 + code(given("severity") or b"info", SEVERITIES)),
        "ts": stamp.encode(),
        "host": host_name(given("host") or HOSTNAME.encode()),
        "app": cleaned(given("program"), 48),
        "procid": cleaned(given("procid"), 128),
        "msgid": cleaned(given("msgid"), 32),
        "sd": element(SD_ID, [("id", log.id.encode()), *[("note", value) for name, value in flat if name == b"note"]], case.octet),
    }
    text = paired((pair for pair in flat if not pair[0].startswith(b"header_")), case.octet)
    if len(opening(fields)) + len(text) <= case.limit:
        return [whole(fields, text)]
    digest = hashlib.sha256(text).hexdigest()
    if case.more["OVERSIZE"] == "truncate":
        mark = f" [truncated: {len(text)} bytes, sha256 {digest}]".encode()
        return [whole(fields, cut(text, case.limit - MARK - len(opening(fields)) - len(mark), case.octet) + mark)]

    def part(number, of):
        names = [("id", digest[:16]), ("part", str(number)), ("of", str(of))]
        return fields | {"sd": fields["sd"] + element("part@32473", [(name, value.encode()) for name, value in names], True)}

    room, pieces = case.limit - MARK - len(opening(part(len(text), len(text)))), []
    while text:
        pieces.append(cut(text, room, case.octet))
        text = text[len(pieces[-1]):]
    return [whole(part(number, len(pieces)), piece) for number, piece in enumerate(pieces, 1)]


def element(name, pairs, octet):
    """An SD-ELEMENT."""
    values = [(name, re.sub(rb'(["\\\]])', rb"\\\1", escaped(repaired(value), octet))) for name, value in pairs]
    return f"[{name} ".encode() + b" ".join(b'%s="%s"' % (name.encode(), value) for name, value in values) + b"]"


def opening(fields):
    """The text before the message."""
    return b"<%(pri)b>1 %(ts)b %(host)b %(app)b %(procid)b %(msgid)b %(sd)b " % {k.encode(): v for k, v in fields.items()}


def whole(fields, text):
    return fields | {"msg": text, "raw": opening(fields) + text}


def fields_of(received):
    """The fields of a message that a receiver wrote, as bytes."""
    return {name: received.get(name, "").encode("utf-8", "surrogateescape") for name in FIELDS}


def as_written(fields, receiver):
    """The fields in the form in which a receiver writes them."""
    if receiver is SyslogNg:
        # It has an offset for the zone and always a fraction, nothing for the NILVALUE but the sender for the host, and no
        # line feeds at the end of a frame with a count.
        fields = {name: b"" if value == b"-" and name != "host" else value for name, value in fields.items()}
        stamp = re.sub(rb"(:\d\d)Z$", rb"\1.000000Z", fields["ts"])
        fields["ts"] = stamp.replace(b"Z", b"+00:00")
        fields["host"] = b"127.0.0.1" if fields["host"] == b"-" else fields["host"]
        fields |= {name: fields[name].rstrip(b"\n") for name in ("msg", "raw")}
    return fields


def compare(expected, messages, receiver, repeats=False):
    """Yields the differences."""
    seen = collections.Counter()
    for received in messages:
        fields = fields_of(received)
        found = NAME.match(fields["sd"])
        name = found and (found[1].decode(), int(found[2] or 1))
        if name not in expected:
            yield f"a message that was not sent: {str(received)[:500]}"
            continue
        seen[name] += 1
        for field, value in as_written(expected[name], receiver).items():
            if fields[field] != value:
                yield f"{name} {field}: {len(value)} bytes {shown(value)} became {len(fields[field])} {shown(fields[field])}"
    missing = [name for name in expected if not seen[name]]
    if missing:
        yield f"{len(missing)} messages are missing: {missing[:10]}"
    if not repeats:
        yield from (f"{name} came {count} times" for name, count in seen.items() if count > 1)


def shown(value):
    return repr(value if len(value) <= 400 else value[:200] + b" ... " + value[-200:])


def run(lab, sls, corpus, name):
    """Returns whether everything arrived as expected."""
    one, began = CASES[name], time.monotonic()
    receiver = one.receiver(lab, [one.input]).start()
    script = os.path.join(ROOT, "tests/peers/syslog_header.lua")
    settings = shipping(receiver, one.input, HOSTNAME=HOSTNAME, **one.more)
    child = lab.forward(sls, name, FORWARDER_SCRIPT=script, **settings)
    wait_until(lambda: through(sls, name, child), 90, f"{name}: the checkpoints do not get to the ends:\n{output_of(child)}")
    expected = corpus.expected(one)
    receiver.settled(one.input, len(expected), 5)
    stop(child, 15)
    receiver.kill(15)
    faults = list(compare(expected, receiver.messages(one.input), one.receiver, repeats=one.label == "written"))
    means = re.findall(r"delivered means (\w+); destination", output_of(child))[-1:]
    if means != [one.label]:
        faults.append(f"at the end delivered means {means}, expected {one.label}")
    for fault in faults[:20]:
        print(f"{name}: {fault}")
    print(f"{name:17} {len(expected)} messages, {len(faults)} differences, {time.monotonic() - began:.0f} s", flush=True)
    if faults:
        print(output_of(child), file=sys.stderr)
    return not faults


def self_test():
    """Checks the rules by which this program computes messages."""
    assert escaped(b"a\nb\0c\td\x7f#012#12#000#043", False) == b"a#012b#000c\td#177#043012#12#043000#043043"
    assert escaped(b"a\nb\0#012#000", True) == b"a\nb#000#012#043000"
    assert cut(b"ab#012c", 4, False) == b"ab" and cut(b"ab#012c", 6, False) == b"ab#012"
    assert cut("a用b".encode(), 2, True) == b"a" and cut(b"ab#012c", 4, True) == b"ab#0"
    assert repaired(SPOILT + b"\xe4") == "\ufffd\ufffd\ufffdx\ufffd".encode()
    assert cleaned(b"a b\n\xff~_x20_", 48) == b"a_x20_b_x0AFF_~_x5F_x20_" and cleaned(b"", 5) == b"-"
    assert cleaned(b"a" * 33, 32) == b"a" * 17 + b"_h" + hashlib.sha256(b"a" * 33).hexdigest()[:12].upper().encode() + b"_"
    assert host_name(b"[::1]") == b"_x5B3A3A_1]" and host_name(b"2001:db8::1") == b"2001:db8::1"
    assert paired([(b"a=b", b"v||w|"), (b"k", b"x|y\n#174")], False) == b"||a#075b=v#174|w#174||k=x|y#012#043174"
    log = Log("log-000001", 1_700_000_000, 5000, "t\n", "s", [("h", "w")], [("id", "log-000001"), ("note", 'x"]\n')])
    [fields] = messages(log, case(Rsyslog, "tcp", False))
    assert fields["raw"] == (
        b'<14>1 2023-11-14T22:13:20.000005Z peers-host - - - [peer@32473 id="log-000001" note="x\\"\\]#012"] '
        b'||__topic__=t#012||__source__=s||__time_ns_part__=5000||__tag__:h=w||id=log-000001||note=x"]#012'
    ), fields
    received = {name: value.decode() for name, value in fields.items()}
    check = lambda messages: len(list(compare({(log.id, 1): fields}, messages, Rsyslog)))
    assert check([received]) == 0
    assert check([]) == check([received | {"host": "other"}]) == check([received, received]) == 1
    assert check([received, {"sd": "-", "msg": FORGED}]) == 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--logs", type=int, default=LOGS, help="audit logs beside the hostile ones")
    args = parser.parse_args()
    self_test()
    whole = True
    with Lab() as lab:
        try:
            sls, corpus = lab.sls(SHARDS), Corpus(args.logs)
            corpus.write(sls)
            spoiling = sls.spoiling()
            for name in args.cases or CASES:
                whole &= run(lab, spoiling, corpus, name)
        except Failed as failure:
            logs = "\n".join(f"--- {child.log}\n{output_of(child)}" for child in lab.running)
            sys.exit(f"syslog_fields: {failure}\n{logs}")
    sys.exit(0 if whole else "syslog_fields: what was received is not what was sent")


if __name__ == "__main__":
    main()
