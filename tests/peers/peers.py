"""Shared parts of the peer tests: the emulators, the vendor's script, `forwarder`, and the delivered events.

Everything listens on its own loopback port, and writes below one directory that is removed at the end.
"""

import collections
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import bad_bytes
import seed_hec
import seed_syslog

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FORWARDER = os.path.abspath(os.environ.get("FORWARDER_BIN") or os.path.join(ROOT, "target/release/forwarder"))
SEED_PAGE = os.environ.get("SEED_PAGE") or os.path.join(ROOT, "../shared/seed/ship-logs-to-siem.txt")
SCRIPT = os.path.join(ROOT, "scripts/transform.lua")

KEY_ID, KEY_SECRET = "peer-key", "peer-secret"
TOKEN = "00000000-0000-4000-8000-000000000000"
PROJECT, LOGSTORE = "peers", "logs"
ENDPOINT = "http://emulator.log.example"

BUSY = {"kind": "reply", "status": 503, "code": 9}

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failed(Exception):
    """An error that ends a test."""


def seed_page():
    """The vendor's page."""
    try:
        with open(SEED_PAGE, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise Failed(
            f"the vendor's page is not there: {error}. It is no part of this repository; "
            "SEED_PAGE=FILE names the text of the page 'Ship logs to SIEM'"
        ) from error


def wait_until(condition, seconds, what):
    """Waits for a condition, or fails."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"after {seconds} s: {what}")
        time.sleep(0.05)


def without_proxies(**more):
    """The environment without proxies and credentials."""
    dropped = re.compile(r"(?i).*_proxy$|SLS_|ALIBABA_|FORWARDER_")
    return {name: value for name, value in os.environ.items() if not dropped.match(name)} | more


class Lab:
    """A directory, and the processes that are stopped with it."""

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="peers-")
        self.running = []
        self.started = 0
        # A command before the vendor's script and `forwarder`, to run them elsewhere; they then choose their consumer names.
        self.prefix = []
        return self

    def __exit__(self, *_):
        for child in reversed(self.running):
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
                child.wait()
        self.directory.cleanup()

    def start(self, name, command, env, cwd=None, out=None):
        """Starts a program; its output goes to a file, its standard output to another one if that is named."""
        self.started += 1
        path = os.path.join(self.directory.name, f"{self.started:02}-{name}.log")
        with open(path, "ab") as log, open(out or path, "ab") as output:
            child = subprocess.Popen(command, env=env, cwd=cwd or self.directory.name, stdout=output, stderr=log)
        child.log = path
        self.running.append(child)
        return child

    def emulator(self, kind, *options, **env):
        """Starts `forwarder emulate`, and returns its address once it listens."""
        child = self.start(kind, [FORWARDER, "emulate", kind, "--port", "0", *options], without_proxies(**env))
        found = None

        def listening():
            nonlocal found
            if child.poll() is not None:
                raise Failed(f"emulate {kind} ended with {child.returncode}:\n{output_of(child)}")
            found = re.search(r"\bon (http://127\.0\.0\.1:\d+)", output_of(child))
            return found

        wait_until(listening, 10, f"emulate {kind} does not say its address:\n{output_of(child)}")
        return found[1]

    def sls(self, shards):
        return Sls(self.emulator("sls", "--shards", str(shards), "--key-id", KEY_ID, SLS_AK_KEY=KEY_SECRET))

    def hec(self):
        return Hec(self.emulator("hec", FORWARDER_HEC_TOKEN=TOKEN))

    def forwarder(self, sls, hec, group, **settings):
        """Starts `forwarder` with the script of this repository, delivering to a HEC emulator."""
        hec = {"FORWARDER_HEC_URL": hec.url, "FORWARDER_HEC_TOKEN": TOKEN, "FORWARDER_SCRIPT": SCRIPT}
        return self.forward(sls, group, **hec | settings)

    def forward(self, sls, group, **settings):
        """Starts `forwarder` with these settings; None removes one."""
        name = f"{group}-{self.started}"
        env = without_proxies(
            SLS_ENDPOINT=sls.url, SLS_PROJECT=PROJECT, SLS_LOGSTORE=LOGSTORE, SLS_CG=group,
            SLS_AK_ID=KEY_ID, SLS_AK_KEY=KEY_SECRET, FORWARDER_SLS_CONSUMER="" if self.prefix else name,
            FORWARDER_SLS_HEARTBEAT_INTERVAL="1s", FORWARDER_SLS_FETCH_INTERVAL="100ms",
        )
        home = os.path.join(self.directory.name, name)
        os.mkdir(home)
        env = {key: value for key, value in (env | settings).items() if value is not None}
        child = self.start("forwarder", [*self.prefix, FORWARDER], env, home)
        child.consumer = name
        return child

    def vendor(self, sls, hec, group):
        """Starts the vendor's Splunk script, cut out of its page."""
        return self.vendors_own(sls, group, seed_hec.runnable(seed_page(), hec.port, TOKEN, "2018-12-26 0:0:0"))

    def vendor_syslog(self, sls, port, group, hostname, tag, **more):
        """Starts the vendor's syslog script, cut out of its page, delivering to a loopback port."""
        script = seed_syslog.runnable(seed_page(), port, hostname, tag, "2018-12-26 0:0:0")
        return self.vendors_own(sls, group, script, **more)

    def vendors_own(self, sls, group, script, **more):
        home = tempfile.mkdtemp(dir=self.directory.name)
        path = os.path.join(home, "sync_data.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(script)
        proxies = {"http_proxy": sls.url, "HTTP_PROXY": sls.url, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        env = without_proxies(
            SLS_ENDPOINT=ENDPOINT, SLS_PROJECT=PROJECT, SLS_LOGSTORE=LOGSTORE, SLS_CG=group,
            SLS_AK_ID=KEY_ID, SLS_AK_KEY=KEY_SECRET, **proxies, **more,
        )
        child = self.start("vendor", [*self.prefix, sys.executable, path], env, home)
        child.consumer = f"{group}-{child.pid}"
        return child


def output_of(child):
    with open(child.log, encoding="utf-8", errors="replace") as file:
        return file.read()[-6000:]


def through(sls, group, child):
    """Whether every checkpoint of a program's group is at the end of its shard."""
    if child.poll() is not None:
        raise Failed(f"it ended with {child.returncode}:\n{output_of(child)}")
    return sls.behind(group) == 0


def stop(child, number, seconds=30):
    """Asks a program to stop, and waits until it has."""
    child.send_signal(number)
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"it does not stop:\n{output_of(child)}") from None


class Emulator:
    """The common parts of both emulators."""

    def __init__(self, url):
        self.url = url
        self.port = int(url.rsplit(":", 1)[1])

    def get(self, path):
        with DIRECT.open(f"{self.url}{path}", timeout=30) as reply:
            return reply.read()

    def state(self):
        return json.loads(self.get("/_emulator/state"))

    def order(self, **order):
        request = urllib.request.Request(f"{self.url}/_emulator/faults", json.dumps(order).encode())
        with DIRECT.open(request, timeout=5) as reply:
            reply.read()


class Hec(Emulator):
    """The HEC emulator, which receives events."""

    def ids(self):
        """The number of arrivals of each id."""
        lines = self.get("/_emulator/events").splitlines()
        return collections.Counter(json.loads(json.loads(line)["raw"])["id"] for line in lines)

    def settled(self, expected, quiet):
        """Waits until everything has arrived, or nothing has been sent for `quiet` seconds."""
        last, since = None, time.monotonic()
        while time.monotonic() - since < quiet:
            state = self.state()
            if state["events"] >= expected and len(self.ids()) >= expected:
                return
            if state["requests"] != last:
                last, since = state["requests"], time.monotonic()
            time.sleep(0.2)


class Sls(Emulator):
    """The SLS emulator, which has the logs and the checkpoints."""

    def spoiling(self):
        """The same, with the proxy of bad_bytes.py before it."""
        return Sls(f"http://127.0.0.1:{bad_bytes.start(self.port)}")

    def happen(self, **event):
        self.order(project=PROJECT, logstore=LOGSTORE, **event)

    def client(self):
        """The vendor's SDK, which uses the emulator as its proxy."""
        os.environ |= {"http_proxy": self.url, "no_proxy": "127.0.0.1"}
        from aliyun.log import LogClient

        return LogClient(ENDPOINT, KEY_ID, KEY_SECRET)

    def put(self, topic, source, tags, logs, project=PROJECT, logstore=LOGSTORE):
        """Writes one log group with the SDK. A log is (seconds, nanoseconds, [(name, text or bytes)]).

        If the nanoseconds are None, the SDK sets its own; it replaces an empty source by its own address.
        """
        from aliyun.log import LogItem, PutLogsRequest

        client = self.client()
        items = [LogItem(timestamp=time, time_nano_part=nanos, contents=fields) for time, nanos, fields in logs]
        for item, (_, nanos, _) in zip(items, logs):
            # The constructor treats 0 as absent.
            item.time_nano_part = item.time_nano_part if nanos is None else nanos
        client.put_logs(PutLogsRequest(project, logstore, topic, source, items, logtags=tags))

    def group(self, name):
        """A consumer group, and the logstore that it reads; empty while the group does not exist."""
        for logstore in self.state()["logstores"]:
            for group in logstore["consumer_groups"]:
                if group["name"] == name:
                    return group, logstore
        return {"consumers": [], "shards": []}, {"shards": []}

    def consumers(self, group):
        return [consumer["name"] for consumer in self.group(group)[0]["consumers"]]

    def owner(self, group):
        """The consumer that holds shard 0."""
        return next((shard["owner"] for shard in self.group(group)[0]["shards"]), None)

    def checkpoint(self, group):
        """The checkpoint of shard 0, as a number of log groups; None if there is none."""
        shards, all_shards = (each["shards"] for each in self.group(group))
        saved = next((shard["checkpoint"] for shard in shards), None)
        return None if saved is None else saved - all_shards[0]["begin"]

    def behind(self, group):
        """The number of log groups after the checkpoints; None while a shard has no checkpoint."""
        behind = [shard["behind"] for shard in self.group(group)[0]["shards"]]
        return None if None in behind or not behind else sum(behind)
