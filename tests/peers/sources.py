#!/usr/bin/env python3
"""The vendor's SDK writes into logstores of several projects; one `forwarder` delivers them to three destinations.

    python sources.py

Each logstore is a `[[source]]`, and the script chooses the destinations of a log by its content. Every destination must have
exactly the events that were written for it, each once and with all fields of its log. Needs the vendor's SDK; FORWARDER_BIN
names the program.
"""

import collections
import json
import os
import random
import signal
import sys
import time

from parity import ODD_TEXTS
from peers import TOKEN, Failed, Lab, output_of, stop, wait_until

SHARDS = 2
GROUPS, LOGS_PER_GROUP = 20, 25
GROUP = "several"

# The name, project and logstore of each source. Logstores of different projects may have the same name.
SOURCES = [
    ("trail", "security", "actiontrail"),
    ("waf", "security", "waf-logs"),
    ("trail-eu", "security-eu", "actiontrail"),
    ("web", "shop", "access"),
]
DESTINATIONS = ["splunk", "archive", "lake"]

# The destinations of a log by its field `level`; None: the log has no such field.
ROUTES = {"alert": ["splunk", "lake"], "notice": ["archive"], "debug": ["lake"], "drop": [], None: DESTINATIONS}

SCRIPT = """
local routes = { alert = { "splunk", "lake" }, notice = "archive", debug = { "lake" } }
function process(log, meta)
  if log.level == "drop" then return nil end
  local event = { source = meta.source, project = meta.project, logstore = meta.logstore, log = log }
  return { event = event, to = routes[log.level] }
end
"""


def exactly(event):
    """An event as text, the same for equal events."""
    return json.dumps(event, sort_keys=True, ensure_ascii=False)


def write(sls):
    """Writes logs into all logstores in turn; returns the events that each destination must get."""
    dice, now = random.Random(20180), int(time.time())
    expected = {name: collections.Counter() for name in DESTINATIONS}
    for number in range(GROUPS * len(SOURCES)):
        name, project, logstore = SOURCES[number % len(SOURCES)]
        topic, host = dice.choice(["actiontrail_event", "nginx_access", ""]), f"web-{number % 7}"
        logs = []
        for at in range(LOGS_PER_GROUP):
            # The same in each logstore: an event of another source cannot be told from it by its id.
            fields = [("id", f"{number // len(SOURCES)}-{at}"), ("text", dice.choice(ODD_TEXTS))]
            level = dice.choice(list(ROUTES))
            if level:
                fields.append(("level", level))
            nanos = dice.randrange(1, 10**9)
            logs.append((now, nanos, fields))
            log = dict(fields) | {
                "__time__": str(now), "__topic__": topic, "__source__": "10.20.0.7", "__time_ns_part__": str(nanos),
                "__tag__:host": host,
            }
            event = {"source": name, "project": project, "logstore": logstore, "log": log}
            for destination in ROUTES[level]:
                expected[destination][exactly(event)] += 1
        sls.put(topic, "10.20.0.7", [("host", host)], logs, project, logstore)
    return expected


def settings(destinations):
    """A settings file with all sources and destinations."""
    table = lambda kind, **keys: "".join([f"[[{kind}]]\n", *(f"{key} = {json.dumps(keys[key])}\n" for key in keys)])
    sources = [table("source", name=name, project=project, logstore=logstore) for name, project, logstore in SOURCES]
    kinds = [table("destination", name=name, type="hec", url=hec.url) for name, hec in destinations.items()]
    return "\n".join(sources + kinds)


def behind(sls):
    """The number of log groups after the checkpoints of all logstores; None while one has no checkpoint."""
    groups = [group for logstore in sls.state()["logstores"] for group in logstore["consumer_groups"]]
    shards = [shard["behind"] for group in groups for shard in group["shards"]]
    return None if None in shards or len(shards) < SHARDS * len(SOURCES) else sum(shards)


def difference(expected, hec):
    """How many events are missing at a destination, and how many it should not have; with an example of each."""
    lines = hec.get("/_emulator/events").splitlines()
    got = collections.Counter(exactly(json.loads(json.loads(line)["raw"])) for line in lines)
    missing, more = expected - got, got - expected
    examples = [next(iter(events), "") for events in (missing, more)]
    return f"{missing.total()} missing, {more.total()} too many: {examples}" if missing or more else None


def run(lab):
    """Returns the differences, one line for each destination that has any."""
    sls = lab.sls(SHARDS)
    destinations = {name: lab.hec() for name in DESTINATIONS}
    expected = write(sls)
    logs = GROUPS * len(SOURCES) * LOGS_PER_GROUP
    print(f"sources: wrote {logs} logs into {len(SOURCES)} logstores of 3 projects", flush=True)

    path = lambda name: os.path.join(lab.directory.name, name)
    for name, text in (("routes.lua", SCRIPT), ("forwarder.toml", settings(destinations))):
        with open(path(name), "w", encoding="utf-8") as file:
            file.write(text)
    forwarder = lab.forward(
        sls, GROUP, FORWARDER_CONFIG=path("forwarder.toml"), FORWARDER_SCRIPT=path("routes.lua"),
        FORWARDER_HEC_TOKEN=TOKEN, SLS_PROJECT=None, SLS_LOGSTORE=None,
    )

    def through():
        if forwarder.poll() is not None:
            raise Failed(f"it ended with {forwarder.returncode}:\n{output_of(forwarder)}")
        return behind(sls) == 0

    wait_until(through, 20, f"not everything is delivered:\n{output_of(forwarder)}")
    code = stop(forwarder, signal.SIGTERM)
    if code != 0:
        raise Failed(f"it ended with {code}:\n{output_of(forwarder)}")
    for name, events in expected.items():
        print(f"sources: {name} should have {events.total()} events", flush=True)
    found = {name: difference(expected[name], hec) for name, hec in destinations.items()}
    return [f"{name}: {text}" for name, text in found.items() if text]


def main():
    with Lab() as lab:
        try:
            differences = run(lab)
        except Failed as failure:
            sys.exit(f"sources: {failure}")
    sys.exit("\n".join(differences) if differences else 0)


if __name__ == "__main__":
    main()
