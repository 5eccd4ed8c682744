"""The cost of the status page and the metrics: instructions per request, counted by callgrind only while the reply is made. The
memory of the history has a unit test in src/admin/history.rs.

Usage: cost.py FORWARDER [SHARDS]
Instruction counts do not depend on the load of the machine; those of a debug build are an upper bound. Needs valgrind.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

# Seconds between two requests: of the page, and of Prometheus.
ASKED = [("/events", 2), ("/metrics", 15)]
REQUESTS = 20
# Instructions per second of one core, approximately.
CORE = 3e9


def started(arguments, environment, home, pattern, wrapper=()):
    """A process, and the figures that it reports about itself."""
    log = home / f"log-{len(list(home.glob('log-*')))}"
    with open(log, "wb") as output:
        child = subprocess.Popen([*wrapper, *arguments], env=environment, cwd=home, stdout=output, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    while not (found := re.search(pattern, log.read_text(errors="replace"))):
        assert time.monotonic() < deadline and child.poll() is None, log.read_text()
        time.sleep(0.1)
    return child, found.group(1)


def counted(forwarder, shards, path, home):
    """Instructions of one reply."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    sls, endpoint = started([forwarder, "emulate", "sls", "--shards", str(shards), "--rate", "50"], environment, home, r"SLS on (http://[^ :]+:\d+)")
    hec, url = started([forwarder, "emulate", "hec"], environment, home, r"HEC on (http://\S+)")
    script = home / "hook.lua"
    script.write_text("function process(log)\n  return { event = log }\nend\n")
    environment |= {
        "SLS_ENDPOINT": endpoint, "SLS_PROJECT": "demo-project", "SLS_LOGSTORE": "audit", "SLS_CG": "siem", "SLS_AK_ID": "id",
        "SLS_AK_KEY": "key", "FORWARDER_HEC_URL": url, "FORWARDER_HEC_TOKEN": "t", "FORWARDER_SCRIPT": str(script),
        "FORWARDER_ADMIN_LISTEN": "127.0.0.1:0", "FORWARDER_RUN_MEMORY": "512MiB",
    }
    result = home / "callgrind.out"
    wrapper = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={result}", "--toggle-collect=*admin*Asked*reply*"]
    children = [sls, hec]
    try:
        program, page = started([forwarder], environment, home, r"status page at (http://[^/]+)", wrapper)
        children.append(program)
        get = lambda what: urllib.request.urlopen(page + what, timeout=120).read().decode()
        deadline = time.monotonic() + 300
        while f"forwarder_shards_held {shards}\n" not in (text := get("/metrics")):
            assert time.monotonic() < deadline, text
            time.sleep(1)
        time.sleep(30)
        subprocess.run(["callgrind_control", "--zero", str(program.pid)], check=True, capture_output=True)
        for _ in range(REQUESTS):
            size = len(get(path))
        program.send_signal(signal.SIGTERM)
        program.wait(timeout=300)
        total = int(re.search(r"^(?:summary|totals): (\d+)", result.read_text(), re.M).group(1))
        return total / REQUESTS, size
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()


def main():
    forwarder = str(pathlib.Path(sys.argv[1]).resolve())
    shards = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    share = 0.0
    for path, every in ASKED:
        with tempfile.TemporaryDirectory() as home:
            instructions, size = counted(forwarder, shards, path, pathlib.Path(home))
        share += instructions / every / CORE
        print(f"{path}, {shards} shards: {instructions / 1e6:.2f} million instructions, {size} bytes")
    print(f"the page every 2 s and the metrics every 15 s: {100 * share:.3f} % of a core")
    assert share < 0.01, "more than a hundredth of a core"


if __name__ == "__main__":
    main()
