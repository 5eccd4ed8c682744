#!/usr/bin/env python3
"""Runs the vendor's Splunk script, taken from its documentation page, under the vendor's SDK.

It pulls from an SLS endpoint on loopback (through `http_proxy`, because the SDK needs a host name) and ships to a HEC
emulator, until that has indexed --count events more than at the start, or --timeout seconds have passed.

The page is given with --seed-page, and no part of it is stored here. The first script of the page is cut out between its
coding line and its `__main__` block. Only settings are changed (address of Splunk, token, intervals, start), and the one
fault that keeps it from compiling: an example in a string literal that begins at column 0 inside a function.

Needs Python 3 with `aliyun-log-python-sdk`; --check only needs Python. Exits with 0 if the events arrived, with 1 if they
did not, with 2 if the page is not the expected one.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

CODING = "# -*- coding: utf-8 -*-"
MAIN = "if __name__ =="


class UnknownPage(Exception):
    """The page does not contain the expected text."""


def cut_out(page, number=1):
    """A script of the page, counted from 1, without its `__main__` block."""
    start = -1
    for _ in range(number):
        start = page.find(CODING, start + 1)
        if start < 0:
            raise UnknownPage(f"no {CODING!r} for script number {number}")
    end = page.find(MAIN, start)
    if end < 0:
        raise UnknownPage(f"no script between {CODING!r} and {MAIN!r}")
    return page[start:end]


def replace_once(script, pattern, replacement):
    """The script with the only match of `pattern` replaced; any other number of matches means a different page."""
    changed, count = re.subn(pattern, lambda _: replacement, script, flags=re.MULTILINE)
    if count != 1:
        raise UnknownPage(f"{count} matches of {pattern!r}, expected 1")
    return changed


def repaired(script):
    """The script with the string literal at column 0 indented to the level of its function."""
    return replace_once(script, r'^"""$', '    """')


def configured(script, hec_port, token, start):
    """The script with our settings."""
    for pattern, replacement in (
        (r'"host": "[^"]*"', '"host": "127.0.0.1"'),
        (r'"port": \d+', f'"port": {hec_port}'),
        (r'"token": "[^"]*"', f'"token": {json.dumps(token)}'),
        (r"'https': \w+", "'https': False"),
        (r'^    cursor_start_time = "[^"]*"', f"    cursor_start_time = {json.dumps(start)}"),
        (r"^    heartbeat_interval = \d+", "    heartbeat_interval = 2"),
        (r"^    data_fetch_interval = \d+", "    data_fetch_interval = 0.1"),
    ):
        script = replace_once(script, pattern, replacement)
    return script


def runnable(page, hec_port, token, start):
    """A module that compiles and starts the vendor's main()."""
    script = configured(repaired(cut_out(page)), hec_port, token, start)
    script += f"\n{MAIN} '__main__':\n    main()\n"
    compile(script, "sync_data.py", "exec")
    return script


def indexed(hec_port):
    """How many events the HEC emulator has indexed."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{hec_port}/_emulator/state", timeout=5) as reply:
        return json.load(reply)["events"]


def environment(args):
    """The script's environment: its own variables, SLS through the proxy, Splunk directly."""
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    proxy = f"http://127.0.0.1:{args.sls_port}"
    return env | {
        "SLS_ENDPOINT": f"http://{args.endpoint}",
        "SLS_PROJECT": args.project,
        "SLS_LOGSTORE": args.logstore,
        "SLS_AK_ID": args.ak_id,
        "SLS_AK_KEY": args.ak_key,
        "SLS_CG": args.group,
        "http_proxy": proxy,
        "HTTP_PROXY": proxy,
        "no_proxy": "127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }


def wait_for(child, args, wanted):
    """Whether the events arrived before the deadline and while the script was running."""
    deadline = time.monotonic() + args.timeout
    while time.monotonic() < deadline:
        if indexed(args.hec_port) >= wanted:
            return True
        if child.poll() is not None:
            print(f"seed_hec: the script ended by itself with {child.returncode}", file=sys.stderr)
            return indexed(args.hec_port) >= wanted
        time.sleep(0.1)
    return False


def stop(child):
    """Ends the script and its threads: orderly if possible, else by force."""
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            return
        child.send_signal(signal_number)
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue


def run(args, script):
    """Runs the script until the events arrived; 0 or 1."""
    before = indexed(args.hec_port)
    with tempfile.TemporaryDirectory(prefix="seed-hec-") as directory:
        # The script writes its own log file into the working directory.
        path = os.path.join(directory, "sync_data.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(script)
        output = open(os.path.join(directory, "output.txt"), "w+", encoding="utf-8", errors="replace")
        with output:
            child = subprocess.Popen(
                [sys.executable, path], cwd=directory, env=environment(args), stdout=output, stderr=subprocess.STDOUT
            )
            started = time.monotonic()
            try:
                arrived = wait_for(child, args, before + args.count)
            finally:
                stop(child)
            took = time.monotonic() - started
            if not arrived:
                output.seek(0)
                sys.stderr.writelines(output.readlines()[-60:])
    count = indexed(args.hec_port) - before
    print(f"seed_hec: {count} of {args.count} events in {took:.1f} s")
    return 0 if arrived else 1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed-page", required=True, help="the vendor's page as text")
    parser.add_argument("--check", action="store_true", help="only cut the script out and compile it")
    parser.add_argument("--sls-port", type=int, help="port of the SLS emulator on 127.0.0.1")
    parser.add_argument("--hec-port", type=int, help="port of the HEC emulator on 127.0.0.1")
    parser.add_argument("--endpoint", default="sls.emulator.example", help="the endpoint's name; the proxy answers for it")
    parser.add_argument("--project", default="demo")
    parser.add_argument("--logstore", default="demo")
    parser.add_argument("--group", default="seed")
    parser.add_argument("--ak-id", default="demo")
    parser.add_argument("--ak-key", default="demo")
    parser.add_argument("--token", default="00000000-0000-0000-0000-000000000000")
    parser.add_argument("--start", default="2018-12-26 0:0:0", help="where to start, as the script wants it")
    parser.add_argument("--count", type=int, default=1, help="events to wait for")
    parser.add_argument("--timeout", type=float, default=60, help="seconds")
    args = parser.parse_args()
    if not args.check and not (args.sls_port and args.hec_port):
        parser.error("--sls-port and --hec-port are needed to run the script")
    return args


def main():
    args = arguments()
    with open(args.seed_page, encoding="utf-8") as file:
        page = file.read()
    try:
        script = runnable(page, args.hec_port or 8088, args.token, args.start)
    except (UnknownPage, SyntaxError) as error:
        print(f"seed_hec: {args.seed_page}: {error}", file=sys.stderr)
        return 2
    if args.check:
        print("seed_hec: the script compiles")
        return 0
    return run(args, script)


if __name__ == "__main__":
    sys.exit(main())
