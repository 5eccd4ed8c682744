#!/usr/bin/env python3
"""The vendor's syslog script, taken from its documentation page.

    python seed_syslog.py --seed-page FILE

The page is given with --seed-page, and no part of it is stored here. The second script of the page is cut out between its
coding line and its `__main__` block; only settings are changed: the address of the receiver, host name and tag, the
intervals, the start. It compiles unchanged. Other tests run it (peers.py); this program only checks that it can be cut out:
exit code 0, or 2 if the page is not the expected one.
"""

import argparse
import json
import sys

from seed_hec import MAIN, UnknownPage, cut_out, replace_once


def configured(script, port, hostname, tag, start):
    """The script with our settings."""
    for pattern, replacement in (
        (r'"host": "[^"]*"', '"host": "127.0.0.1"'),
        (r'"port": \d+', f'"port": {port}'),
        (r'"hostname": None', f'"hostname": {json.dumps(hostname)}'),
        (r'"tag": None', f'"tag": {json.dumps(tag)}'),
        (r'^    cursor_start_time = "[^"]*"', f"    cursor_start_time = {json.dumps(start)}"),
        (r"^    heartbeat_interval = \d+", "    heartbeat_interval = 2"),
        (r"^    data_fetch_interval = \d+", "    data_fetch_interval = 0.1"),
    ):
        script = replace_once(script, pattern, replacement)
    return script


def runnable(page, port, hostname, tag, start):
    """A module that compiles and starts the vendor's main()."""
    script = configured(cut_out(page, 2), port, hostname, tag, start)
    script += f"\n{MAIN} '__main__':\n    main()\n"
    compile(script, "sync_data.py", "exec")
    return script


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed-page", required=True, help="the vendor's page as text")
    args = parser.parse_args()
    with open(args.seed_page, encoding="utf-8") as file:
        page = file.read()
    try:
        runnable(page, 514, "host", "tag", "2018-12-26 0:0:0")
    except (UnknownPage, SyntaxError) as error:
        print(f"seed_syslog: {args.seed_page}: {error}", file=sys.stderr)
        return 2
    print("seed_syslog: the script compiles")
    return 0


if __name__ == "__main__":
    sys.exit(main())
