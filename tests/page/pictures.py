"""The pictures of the README: the status page of `forwarder demo --keep`, light and dark.

Usage: pictures.py FORWARDER [FOLDER]
"""

import base64
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from browser import Browser

WIDTH, HEIGHT = 1280, 860
MOST_BYTES = 150_000


def main():
    forwarder = str(pathlib.Path(sys.argv[1]).resolve())
    folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else pathlib.Path(__file__).parents[2] / "docs/pictures")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        log = pathlib.Path(home) / "log"
        with open(log, "wb") as output:
            demo = subprocess.Popen([forwarder, "demo", "--keep"], cwd=home, stdout=output,
                                    stderr=subprocess.STDOUT, env={"PATH": os.environ["PATH"], "HOME": home})
        browser = Browser()
        try:
            deadline = time.monotonic() + 120
            while not (found := re.search(r"status page:? +(http://[^/\s]+)", log.read_text())):
                assert time.monotonic() < deadline and demo.poll() is None, log.read_text()
                time.sleep(0.1)
            # The address is printed before the page is served.
            while True:
                try:
                    urllib.request.urlopen(found.group(1), timeout=10).read()
                    break
                except OSError:
                    assert time.monotonic() < deadline and demo.poll() is None, log.read_text()
                    time.sleep(0.5)
            browser.open(found.group(1))
            browser.until("it delivers", "document.querySelector('.verdict').classList.contains('good')", 120)
            # The graphs need some minutes to show anything.
            time.sleep(float(os.environ.get("PICTURE_SECONDS", "150")))
            for scheme in ("light", "dark"):
                browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                browser.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
                data = base64.b64decode(browser.call("Page.captureScreenshot", format="png")["data"])
                assert len(data) < MOST_BYTES, f"{scheme}: {len(data)} bytes"
                (folder / f"status-{scheme}.png").write_bytes(data)
        finally:
            browser.close()
            demo.send_signal(signal.SIGKILL)
            demo.wait()


if __name__ == "__main__":
    main()
