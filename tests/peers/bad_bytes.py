"""A proxy before the SLS emulator that puts invalid UTF-8 into the pages.

The emulator refuses text that is not UTF-8, as the service documents; old logs, other writers and other paths into a
logstore contain such bytes all the same. A test therefore writes a marker, and the proxy replaces it by invalid bytes of
the same length, so that protobuf's lengths stay correct. Everything else passes unchanged, including signatures.
"""

import http.client
import http.server
import threading

import lz4.block

MARKER = "SPOIL"
SPOILT = b"\xff\xfe\xe4\xbdx"


class Relay(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A reply is sent in two pieces; without this the second waits for the acknowledgement of the first.
    disable_nagle_algorithm = True

    def relay(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        reply = upstream.getresponse()
        body = reply.read()
        if reply.headers.get("x-log-compresstype") == "lz4":
            body = spoilt(body, int(reply.headers["x-log-bodyrawsize"]))
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        upstream.close()
        try:
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            # The client was stopped meanwhile.
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = relay

    def log_message(self, *_):
        pass


def spoilt(body, size):
    """A compressed page with every marker replaced."""
    page = lz4.block.decompress(body, uncompressed_size=size)
    return lz4.block.compress(page.replace(MARKER.encode(), SPOILT), store_size=False)


def start(upstream):
    """Starts the proxy before a port, in a thread that ends with the program; returns its port."""
    assert len(SPOILT) == len(MARKER)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    server.daemon_threads = True
    server.upstream = upstream
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]
