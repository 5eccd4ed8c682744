#!/usr/bin/env python3
"""Compares two dumps of received events, field by field.

A dump is the reply of the HEC emulator to `GET /_emulator/events`: one JSON object per line, with the event's `raw` as text or
`raw_base64`. A raw event that is JSON is compared as JSON, and so is JSON text within it,
so the order of keys and the spelling of escapes do not matter; numbers are compared
exactly, not as floats. Events are
matched by an id under any of the names in --id, at any depth; an event without an id is matched by its content.

The vendor's dump comes first. Three differences are known and only counted:
  time_ns_list      the vendor's SDK turns `__time_ns_part__` into a list of one string, where the other has the string
  invalid_utf8      the vendor's SDK drops invalid bytes, where the other has U+FFFD
  actiontrail_event the vendor's script leaves the JSON of this topic's `event` as text, where the other has it parsed

Exits with 0 if nothing else differs and each event occurs equally often on both sides, else with 1; with 2 if a file is not a
dump. `--self-test` checks this program.
"""

import argparse
import base64
import collections
import json
import sys
from decimal import Decimal, InvalidOperation

TIME_NS = "__time_ns_part__"
TOPIC, PARSED_TOPIC = "__topic__", "actiontrail_event"
REPLACEMENT = "\ufffd"
ENVELOPE = ("time", "host", "source", "sourcetype", "index", "fields")


class Number(str):
    """A number as it was written: as a float it could equal one that has lost digits."""

    def equals(self, other):
        """Whether both are the same number, exactly."""
        try:
            return self == other or Decimal(self) == Decimal(other)
        except InvalidOperation:
            return False


class TextObject(dict):
    """An object that was there as text."""


class TextArray(list):
    """An array that was there as text."""


class NoDump(Exception):
    """A line that is not an event."""


def parsed(text):
    """JSON with its inner JSON parsed; any other text unchanged."""
    try:
        tree = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number)
    except (ValueError, RecursionError):
        return text
    return inner(tree) if isinstance(tree, (dict, list)) else text


def inner(tree):
    """The tree with every text that is a JSON object or array parsed, and marked as text."""
    if isinstance(tree, dict):
        return {key: inner(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [inner(value) for value in tree]
    if isinstance(tree, str) and not isinstance(tree, Number) and tree.lstrip()[:1] in ("{", "["):
        tree = parsed(tree)
        return {dict: TextObject, list: TextArray}.get(type(tree), str)(tree)
    return tree


def load(path):
    """The events of a dump."""
    events = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line, parse_int=Number, parse_float=Number)
                if "raw_base64" in record:
                    raw = base64.b64decode(record["raw_base64"], validate=True).decode("utf-8", "surrogateescape")
                else:
                    raw = record["raw"]
            except (ValueError, KeyError, TypeError) as error:
                raise NoDump(f"{path}:{number}: no event: {error!r}") from error
            events.append({"raw": parsed(raw)} | {key: record.get(key) for key in ENVELOPE})
    return events


def find_id(tree, names):
    """The first id under any of the names, the nearest to the top first; None if there is none."""
    level = [tree]
    while level:
        for name in names:
            for node in level:
                if isinstance(node, dict) and isinstance(node.get(name), str) and node[name]:
                    return node[name]
        children = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, (dict, list)))
        level = [child for group in children for child in group]
    return None


def canonical(value):
    """A text that is equal for equal trees."""
    return json.dumps(value, sort_keys=True, default=str)


def differences(theirs, ours, path, known):
    """Yields every unknown difference; counts the known ones."""
    if path == "$.raw":
        theirs = with_event_parsed(theirs, ours, known)
    if isinstance(theirs, (dict, list)) and isinstance(ours, (dict, list)) and type(theirs) is not type(ours):
        yield f"{path}: {type(theirs).__name__} | {type(ours).__name__}"
    elif isinstance(theirs, dict) and isinstance(ours, dict):
        yield from in_objects(theirs, ours, path, known)
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for at, (their, our) in enumerate(zip(theirs, ours)):
            yield from differences(their, our, f"{path}[{at}]", known)
    elif isinstance(theirs, Number) and isinstance(ours, Number) and theirs.equals(ours):
        return
    elif type(theirs) is type(ours) and theirs == ours:
        return
    elif isinstance(theirs, str) and isinstance(ours, str) and dropped(theirs, ours):
        known["invalid_utf8"] += 1
    else:
        yield f"{path}: {shown(theirs)} | {shown(ours)}"


def with_event_parsed(theirs, ours, known):
    """The vendor's event, with `event` parsed if it belongs to the topic that only the other side parses."""
    if not (isinstance(theirs, dict) and isinstance(ours, dict) and theirs.get(TOPIC) == PARSED_TOPIC):
        return theirs
    event = theirs.get("event")
    if isinstance(event, TextObject):
        event = dict(event)
    elif isinstance(event, TextArray):
        event = list(event)
    elif isinstance(event, str):
        try:
            event = json.loads(event, parse_int=Number, parse_float=Number, parse_constant=Number)
        except ValueError:
            return theirs
    known["actiontrail_event"] += 1
    return theirs | {"event": event}


def in_objects(theirs, ours, path, known):
    """The differences of two objects."""
    only_theirs = [key for key in theirs if key not in ours]
    only_ours = [key for key in ours if key not in theirs]
    for key in list(only_theirs):
        # A key with invalid bytes is a different key on each side.
        twin = next((our for our in only_ours if dropped(key, our)), None)
        if twin is not None:
            known["invalid_utf8"] += 1
            only_theirs.remove(key)
            only_ours.remove(twin)
            yield from differences(theirs[key], ours[twin], f"{path}.{key}", known)
    for key in only_theirs:
        yield f"{path}.{key}: {shown(theirs[key])} | nothing"
    for key in only_ours:
        yield f"{path}.{key}: nothing | {shown(ours[key])}"
    for key in theirs:
        if key not in ours:
            continue
        if key == TIME_NS and isinstance(ours[key], str) and theirs[key] == [ours[key]]:
            known["time_ns_list"] += 1
        else:
            yield from differences(theirs[key], ours[key], f"{path}.{key}", known)


def dropped(theirs, ours):
    """Whether the texts are equal except for invalid bytes: missing in theirs, U+FFFD in ours."""
    return REPLACEMENT in ours and theirs == ours.replace(REPLACEMENT, "")


def shown(value):
    text = canonical(value)
    return text if len(text) <= 160 else f"{text[:160]}… ({len(text)} characters)"


def compare(theirs, ours, names, out):
    """Prints the differences; returns whether all of them are known."""
    known = collections.Counter()
    faults = []

    def by_id(events):
        groups = collections.defaultdict(list)
        for event in events:
            groups[find_id(event["raw"], names) or canonical(event)].append(event)
        return groups

    left, right = by_id(theirs), by_id(ours)
    for key in left.keys() | right.keys():
        there, here = left.get(key, []), right.get(key, [])
        if len(there) != len(here):
            faults.append(f"{shown(key)}: {len(there)} times | {len(here)} times")
        for their, our in zip(sorted(there, key=canonical), sorted(here, key=canonical)):
            faults.extend(f"{shown(key)}: {text}" for text in differences(their, our, "$", known))
    for name, count in sorted(known.items()):
        print(f"known difference: {name}: {count}", file=out)
    for fault in sorted(faults)[:50]:
        print(f"difference: {fault}", file=out)
    if not theirs or not ours:
        faults.append("a dump is empty")
        print("difference: a dump without events proves nothing", file=out)
    print(f"{len(theirs)} | {len(ours)} events, {len(faults)} differences", file=out)
    return not faults


def self_test():
    """Checks what counts as equal, known and different."""
    import io

    def event(raw, **envelope):
        raw = raw if isinstance(raw, str) else json.dumps(raw)
        return {"raw": parsed(raw)} | {key: envelope.get(key) for key in ENVELOPE}

    def check(theirs, ours, equal, *mentions):
        out = io.StringIO()
        result = compare(theirs, ours, ["id"], out)
        assert result is equal, f"{theirs} {ours}: {result}\n{out.getvalue()}"
        for mention in mentions:
            assert mention in out.getvalue(), f"{mention!r} not in\n{out.getvalue()}"

    one = event({"id": "1", "a": "x"})
    check([one], [event('{"a":"\\u0078" , "id":"1"}')], True, "1 | 1 events, 0 differences")
    check([one, event({"id": "2"})], [event({"id": "2"}), one], True)
    check([event({"id": "1", "e": '{"n":1,"m":2}'})], [event({"id": "1", "e": '{"m":2, "n":1}'})], True)
    check([event({"id": "1", "e": '{"n":1}'})], [event({"id": "1", "e": {"n": 1}})], False, "TextObject | dict")
    check([event({"id": "1", "e": "[1"})], [event({"id": "1", "e": "[1"})], True)
    for text in ('{"n":"x"}', "[1]", "17", "null", '"x"', "true"):
        texts, trees = ({TOPIC: PARSED_TOPIC, "id": "1", "event": value} for value in (text, json.loads(text)))
        check([event(texts)], [event(trees)], True, "actiontrail_event: 1")
        check([event(trees)], [event(texts)], False)
        check([event(texts | {TOPIC: "t"})], [event(trees | {TOPIC: "t"})], False)
    check(
        [event({TOPIC: PARSED_TOPIC, "id": "1", "event": '{"n":1}'})],
        [event({TOPIC: PARSED_TOPIC, "id": "1", "event": {"n": 2}})],
        False,
    )
    check(*[[event({TOPIC: PARSED_TOPIC, "id": "1", "event": "no json"})]] * 2, True)
    check([event("no json")], [event("no json")], True)
    check([one], [event({"id": "1", "a": "y"})], False, '$.raw.a: "x" | "y"')
    check([one], [event({"id": "1"})], False, "nothing")
    check([one], [one, one], False, "1 times | 2 times")
    check([one], [], False, "proves nothing")
    check([], [], False, "proves nothing")
    check([event({"id": "1", "n": "1"})], [event({"id": "1", "n": 1})], False)
    check([event('{"id":"1","n":9007199254740993}')], [event('{"id":"1","n":9007199254740992}')], False)
    check([event('{"id":"1","n":1.10}')], [event('{"id":"1","n":1.1}')], True)
    check([event('{"id":"1","n":NaN}')], [event('{"id":"1","n":0}')], False)
    check([event('{"id":"1","n":true}')], [event('{"id":"1","n":1}')], False)
    check([event({"id": "1"}, time="1")], [event({"id": "1"}, time="2")], False, '$.time: "1" | "2"')
    check([event({"id": "1", TIME_NS: ["5"]})], [event({"id": "1", TIME_NS: "5"})], True, "time_ns_list: 1")
    check([event({"id": "1", TIME_NS: ["5"]})], [event({"id": "1", TIME_NS: "6"})], False)
    check([event({"id": "1", TIME_NS: "5"})], [event({"id": "1", TIME_NS: ["5"]})], False)
    check([event({"id": "1", "a": "xy"})], [event({"id": "1", "a": "x\ufffd\ufffdy"})], True, "invalid_utf8: 1")
    check([event({"id": "1", "ab": "v"})], [event({"id": "1", "a\ufffdb": "v"})], True, "invalid_utf8: 1")
    check([event({"id": "1", "a": "x\ufffdy"})], [event({"id": "1", "a": "xy"})], False)
    check([event({"event": {"deep": {"id": "7"}}})], [event({"event": {"deep": {"id": "7"}}, "new": "1"})], False, '"7"')
    print("compare: the self-test passed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dumps", nargs="*", metavar="DUMP", help="two files of JSON lines, the vendor's first")
    parser.add_argument("--id", default="eventId,request_id,id", help="names under which an id may stand")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        self_test()
        return 0
    if len(args.dumps) != 2:
        parser.error("two dumps are needed")
    try:
        theirs, ours = (load(path) for path in args.dumps)
    except (NoDump, OSError, UnicodeDecodeError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    return 0 if compare(theirs, ours, args.id.split(","), sys.stdout) else 1


if __name__ == "__main__":
    sys.exit(main())
