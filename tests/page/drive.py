"""The status page in a real browser during faults: an outage, a refusal of SLS, a lag, a bad script, dead letters, a gap.

Usage: drive.py FORWARDER [FOLDER FOR PICTURES]
Needs Debian's chromium and `requirements.txt`. Exit code 0 if the page shows what it should.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

import access
from browser import Browser

GOOD = "function process(log)\n  return { event = log }\nend\n"
BROKEN = "function process(log)\n  return {\nend\n"
FAILING = "function process(log)\n  if log.request_id then error('no id wanted') end\n  return { event = log }\nend\n"


class Bench:
    """The emulators, the program between them, and a browser with its page."""

    def __init__(self, forwarder, folder):
        self.forwarder, self.folder, self.children = forwarder, folder, []
        self.script = folder / "hook.lua"
        self.script.write_text(GOOD)
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self.sls = self.start(["emulate", "sls", "--shards", "2", "--rate", "40"], environment, r"SLS on (http://[^ :]+:\d+)")
        self.hec = self.start(["emulate", "hec"], environment, r"HEC on (http://\S+)")
        environment |= {
            "SLS_ENDPOINT": self.sls, "SLS_PROJECT": "demo-project", "SLS_LOGSTORE": "audit", "SLS_CG": "siem",
            "SLS_AK_ID": "id", "SLS_AK_KEY": "c4n4ry-secret", "FORWARDER_HEC_URL": self.hec,
            "FORWARDER_HEC_TOKEN": "00000000-0000-4000-8000-000000000000", "FORWARDER_SCRIPT": str(self.script),
            "FORWARDER_ADMIN_LISTEN": "127.0.0.1:0", "FORWARDER_SCRIPT_FORCE_RELOAD": "true",
            "FORWARDER_SCRIPT_ROLLBACK_SHARE": "100",
            "FORWARDER_DEAD_LETTERS_MAX_SHARE": "100", "FORWARDER_SLS_START": "begin",
            # The lag is that of the end of a page.
            "FORWARDER_SLS_PAGE_GROUPS": "4",
        }
        self.page = self.start([], environment, r"status page at (http://[^/]+)")
        self.browser = Browser()

    def start(self, arguments, environment, pattern):
        log = self.folder / f"log-{len(self.children)}"
        with open(log, "wb") as output:
            child = subprocess.Popen([self.forwarder, *arguments], env=environment, cwd=self.folder,
                                     stdout=output, stderr=subprocess.STDOUT)
        self.children.append(child)
        deadline = time.monotonic() + 30
        while not (found := re.search(pattern, log.read_text())):
            assert time.monotonic() < deadline and child.poll() is None, log.read_text()
            time.sleep(0.05)
        return found.group(1)

    def order(self, of, **order):
        request = urllib.request.Request(f"{of}/_emulator/faults", json.dumps(order).encode())
        urllib.request.urlopen(request, timeout=10).read()

    def get(self, path, **headers):
        request = urllib.request.Request(self.page + path, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def says(self, headline, words):
        """Waits until the verdict has this headline and one of its reasons contains these words."""
        quoted = json.dumps(words)
        self.browser.until(
            f"the verdict is {headline!r} with {words!r}",
            f"document.querySelector('.verdict h2').textContent === {json.dumps(headline)}"
            f" && document.querySelector('.verdict').innerText.includes({quoted})")
        print(f"  {headline}: {words}", flush=True)

    def is_green(self):
        return self.browser.run("document.querySelector('.verdict').classList.contains('good')")

    def close(self):
        for child in reversed(self.children):
            child.send_signal(signal.SIGKILL)
            child.wait()
        if hasattr(self, "browser"):
            self.browser.close()


def drive(bench, pictures):
    browser = bench.browser
    browser.open(bench.page)
    bench.says("Delivering", "All is well.")
    assert bench.is_green()

    # The page does not reload: a selection stays while the figures change.
    browser.run("getSelection().selectAllChildren(document.querySelector('.verdict h2')); window.loaded = 1")
    before = browser.run("document.querySelector('[aria-labelledby=ledger]').innerText")
    browser.until("the ledger moves on", f"document.querySelector('[aria-labelledby=ledger]').innerText !== {json.dumps(before)}")
    assert browser.run("getSelection().toString()") == "Delivering"
    assert browser.run("window.loaded") == 1, "the page was loaded again"

    if pictures:
        time.sleep(45)
        for name, width, height, dark in [("light", 1280, 900, False), ("dark", 1280, 900, True), ("narrow", 400, 800, False),
                                          ("wide", 3840, 2160, True)]:
            browser.picture(pictures / f"{name}.png", width, height, dark)

    bench.order(bench.hec, do="during", seconds=600, on="all", fault={"kind": "reply", "status": 503, "code": 9})
    bench.says("Paused", "the destination is down")
    assert not bench.is_green()
    bench.order(bench.hec, do="clear")
    bench.says("Delivering", "All is well.")

    bench.order(bench.hec, do="during", seconds=600, on="all", fault={"kind": "reply", "status": 403, "code": 1})
    bench.says("Paused", "rejects our requests")
    bench.order(bench.hec, do="clear")
    bench.says("Delivering", "All is well.")

    bench.order(bench.sls, call="pull", times=1000000, fault="status", status=401, code="Unauthorized")
    bench.says("Paused", "SLS does not let us read")
    if pictures:
        browser.picture(pictures / "refused.png", 1280, 900, False)
    bench.order(bench.sls, clear=True)
    bench.says("Delivering", "All is well.")

    access.check(browser, bench.page)
    lag(bench)

    bench.script.write_text(BROKEN)
    bench.says("Delivering", "script:")
    assert not bench.is_green()
    bench.script.write_text(FAILING)
    bench.says("Delivering", "for an operator: forwarder dlq list --dir ")
    browser.until("the error is there with its line",
                  "document.querySelector('[aria-labelledby=script-]').innerText.includes('hook.lua:2')")
    assert not bench.is_green()
    if pictures:
        browser.picture(pictures / "letters.png", 1280, 900, False)
    bench.script.write_text(GOOD)

    # The process sleeps, logs arrive and expire, then it wakes up.
    bench.children[2].send_signal(signal.SIGSTOP)
    time.sleep(5)
    for shard in (0, 1):
        bench.order(bench.sls, project="demo-project", logstore="audit", event="expire", shard=shard, keep=1)
    bench.children[2].send_signal(signal.SIGCONT)
    bench.says("Logs were lost", "expired in SLS before they were pulled")
    if pictures:
        browser.picture(pictures / "lost.png", 400, 800, True)
    # By keyboard only.
    browser.run("document.querySelector('button[data-post]').focus()")
    access.press(browser, "Enter", 13)
    bench.says("Delivering", "for an operator: forwarder dlq list")

    page, metrics = bench.get("/"), bench.get("/metrics")
    assert "c4n4ry" not in page + metrics + bench.get("/status")
    assert browser.violations == [], browser.violations


def lag(bench):
    """The process sleeps for more than a minute while logs arrive, and the destination then takes seconds for each request."""
    bench.children[2].send_signal(signal.SIGSTOP)
    time.sleep(75)
    bench.order(bench.hec, do="during", seconds=600, on="all", fault={"kind": "trickle", "every_ms": 400})
    bench.children[2].send_signal(signal.SIGCONT)
    late = "/^(Catching up|Delivering late)/.test(document.querySelector('.verdict h2').textContent)"
    green = "document.querySelector('.verdict').classList.contains('good')"
    # One look at both: the page is replaced every two seconds.
    bench.browser.until("the page shows the lag", f"{late} && (window.lagsInGreen ||= {green}, true)")
    assert not bench.browser.run("window.lagsInGreen"), "a lag is green"
    print("  the lag of a process that slept", flush=True)
    bench.order(bench.hec, do="clear")
    bench.says("Delivering", "All is well.")


def check_metrics(bench, promtool):
    """Checks the metrics with promtool and with the parsers of Prometheus' Python client, and that the table of metrics in
    docs/operate.md has every one of them."""
    text = bench.get("/metrics")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert checked.returncode == 0 and not checked.stderr.strip(), checked.stdout + checked.stderr
    strict = bench.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    forms = [(text, parser.text_string_to_metric_families), (strict, openmetrics.text_string_to_metric_families)]
    plain, open_metrics = ({name_of(family) for family in parse(form)} for form, parse in forms)
    # Both forms have the same metrics.
    assert plain == open_metrics and len(plain) > 50, plain ^ open_metrics
    operate = (pathlib.Path(__file__).parents[2] / "docs/operate.md").read_text()
    names = re.findall(r"^# HELP (forwarder_\w+)", text, re.M)
    missing = [name for name in names if f"| `{name}` |" not in operate]
    assert not missing, f"docs/operate.md does not name {missing}"
    print(f"  promtool and two parsers find no fault in {text.count('# TYPE')} metrics", flush=True)


def name_of(family):
    """The name of a family without the end that only one of the two forms has."""
    return re.sub(r"_(info|total)$", "", family.name)


def main():
    forwarder = str(pathlib.Path(sys.argv[1]).resolve())
    pictures = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(forwarder, pathlib.Path(folder))
        try:
            if promtool := os.environ.get("PROMTOOL"):
                check_metrics(bench, promtool)
            drive(bench, pictures)
        except BaseException:
            print((pathlib.Path(folder) / "log-2").read_text()[-3000:])
            raise
        finally:
            bench.close()
    print("the page says what it should")


if __name__ == "__main__":
    main()
