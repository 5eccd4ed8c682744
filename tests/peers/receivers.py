"""Real syslog receivers: rsyslog and syslog-ng, on free loopback ports, with the received messages as JSON lines.

tests/peers/fetch_receivers has unpacked them. Each input of a receiver has its own port and file. A restarted receiver listens on
the same ports and starts files with a new number, so that a line torn by a kill stays the last one of its file and is
recognized as torn.
"""

import glob
import json
import os
import random
import re
import signal
import socket
import subprocess
import time

from peers import FORWARDER, ROOT, Failed, output_of, wait_until, without_proxies

UNPACKED = os.path.join(ROOT, "target/peers/receivers")

# The largest message that they accept: more than anything sent here.
LARGEST = "4194304"

# The subject of the client's certificate.
CLIENT = "forwarder.test"


def program(path):
    """One of the unpacked programs."""
    path = os.path.join(UNPACKED, path)
    if not os.path.exists(os.path.join(UNPACKED, "complete")):
        raise Failed(f"{path} is not there: run tests/peers/fetch_receivers")
    return path


def environment(**more):
    """The environment in which the unpacked programs find their libraries."""
    with open(os.path.join(UNPACKED, "libraries"), encoding="utf-8") as file:
        directories = [os.path.join(UNPACKED, line.strip()) for line in file]
    prefix = os.path.join(UNPACKED, "usr")
    return without_proxies(LD_LIBRARY_PATH=":".join(directories), SYSLOGNG_PREFIX=prefix, **more)


def modules(pattern):
    """The one directory below usr/lib that has a module."""
    found = glob.glob(os.path.join(UNPACKED, "usr/lib", pattern))
    if len(found) != 1:
        raise Failed(f"{len(found)} files match {pattern} in {UNPACKED}")
    return os.path.dirname(found[0])


class Ports:
    """Assigns ports below the ephemeral range, so that a port is still free after a restart."""

    def __init__(self):
        self.taken = set()

    def free(self):
        while True:
            port = random.randrange(20000, 32000)
            if port not in self.taken and unused(port):
                self.taken.add(port)
                return port


def unused(port):
    """Whether a port is free, for TCP and for UDP."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def listening():
    """The TCP and UDP ports in use. They are looked up, because a receiver would count a connection."""
    ports = set()
    for name, states in (("tcp", {"0A"}), ("tcp6", {"0A"}), ("udp", {"07"}), ("udp6", {"07"})):
        try:
            with open(f"/proc/net/{name}", encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except FileNotFoundError:
            continue
        ports |= {int(row[1].rsplit(":", 1)[1], 16) for row in rows if row[3] in states}
    return ports


class Authority:
    """A certificate authority with a server certificate and a client certificate, created for one run."""

    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory)
        self.ca = self.path("ca.pem")
        key = ["-newkey", "rsa:2048", "-nodes"]
        self.openssl(
            "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=Peers",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )
        for name, subject, names, usage in (
            ("server", "localhost", "DNS:localhost,IP:127.0.0.1", "serverAuth"),
            ("client", CLIENT, f"DNS:{CLIENT}", "clientAuth"),
        ):
            with open(self.path(f"{name}.ext"), "w", encoding="ascii") as file:
                file.write(f"basicConstraints=CA:FALSE\nextendedKeyUsage={usage}\nsubjectAltName={names}\n")
            self.openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
            self.openssl(
                "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
            )

    def path(self, name):
        return os.path.join(self.directory, name)

    def openssl(self, *command):
        done = subprocess.run(["openssl", *command], cwd=self.directory, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"openssl {' '.join(command)}: {done.stderr}")


class Receiver:
    """A receiver process, with one port and one series of files for each of its inputs."""

    def __init__(self, lab, inputs):
        self.lab = lab
        unknown = set(inputs) - set(self.INPUTS)
        if unknown:
            raise Failed(f"{self.NAME} has no input {unknown}")
        lab.receivers = getattr(lab, "receivers", 0) + 1
        self.home = os.path.join(lab.directory.name, f"{self.NAME}-{lab.receivers}")
        os.mkdir(self.home)
        if not hasattr(lab, "authority"):
            lab.authority = Authority(os.path.join(lab.directory.name, "ca"))
            lab.ports = Ports()
        self.authority = lab.authority
        self.ports = {name: lab.ports.free() for name in inputs}
        self.generation = 0
        self.child = None
        # For each file, the bytes that were counted, and their number of lines.
        self.counted = {}

    def start(self):
        """Starts or restarts it, and waits until it listens on all its ports."""
        self.generation += 1
        config = os.path.join(self.home, "config")
        with open(config, "w", encoding="utf-8") as file:
            file.write(self.config())
        self.child = self.run(config)

        def ready():
            if self.child.poll() is not None:
                raise Failed(f"{self.NAME} ended with {self.child.returncode}:\n{output_of(self.child)}")
            return set(self.ports.values()) <= listening()

        wait_until(ready, 20, f"{self.NAME} does not listen")
        return self

    def run(self, config):
        return self.lab.start(self.NAME, self.command(config), environment(), self.home)

    def kill(self, number=signal.SIGKILL):
        """Ends it, by default with SIGKILL, and waits until it has ended."""
        self.child.send_signal(number)
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.NAME} does not end:\n{output_of(self.child)}") from None
        self.lab.running.remove(self.child)

    def stall(self, seconds):
        """Freezes it for a while, then continues it."""
        self.child.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.child.send_signal(signal.SIGCONT)

    def cpu(self):
        """Its CPU time in seconds, user and system."""
        with open(f"/proc/{self.child.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def out(self, name):
        """The file that an input currently writes to."""
        return os.path.join(self.home, f"{name}-{self.generation:03}.json")

    def lines(self, name):
        """Yields every whole line that an input has written, as bytes."""
        for path in sorted(glob.glob(os.path.join(self.home, f"{name}-[0-9]*.json"))):
            with open(path, "rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield line

    def messages(self, name):
        """Every message of an input, field by field."""
        return [parsed(line) for line in self.lines(name)]

    def count(self, name):
        """The number of messages that an input has written. Each byte is read only once, so this can be called often."""
        for path in glob.glob(os.path.join(self.home, f"{name}-[0-9]*.json")):
            seen, lines = self.counted.get(path, (0, 0))
            with open(path, "rb") as file:
                file.seek(seen)
                while piece := file.read(1 << 20):
                    seen, lines = seen + len(piece), lines + piece.count(b"\n")
            self.counted[path] = seen, lines
        return sum(lines for path, (_, lines) in self.counted.items() if os.path.basename(path).startswith(f"{name}-"))

    def settled(self, name, enough, quiet):
        """Waits until an input has this many messages, or has received none for this many seconds; returns their number."""
        count, since = 0, time.monotonic()
        while True:
            now = self.count(name)
            if now != count:
                count, since = now, time.monotonic()
            if count >= enough or time.monotonic() - since > quiet:
                return count
            time.sleep(0.2)


def parsed(line):
    """A line that a receiver wrote. Invalid UTF-8 is decoded as lone surrogates."""
    try:
        return json.loads(line.decode("utf-8", "surrogateescape"), strict=False)
    except ValueError as error:
        raise Failed(f"the receiver wrote no JSON: {error}: {line[:300]!r}") from None


def shipping(receiver, name, **more):
    """The environment variables with which `forwarder` ships to an input."""
    protocol, secured, mutual = receiver.SPOKEN[name]
    # A name, so that the receiver's certificate is verified against it; it resolves to more than one address.
    settings = {"HOST": "localhost", "PORT": str(receiver.ports[name]), "PROTOCOL": protocol}
    if secured:
        settings["CA_FILE"] = receiver.authority.ca
    if mutual:
        settings["CLIENT_CERT"] = receiver.authority.path("client.pem")
        settings["CLIENT_KEY"] = receiver.authority.path("client.key")
    return {f"FORWARDER_SYSLOG_{key}": value for key, value in (settings | more).items()}


FIELDS = ("pri", "ts", "host", "app", "procid", "msgid", "sd", "msg", "raw")


class Rsyslog(Receiver):
    """rsyslog with a direct queue: a message is in the file before the input accepts the next one."""

    NAME = "rsyslog"
    # The protocol of each input, and the parameters added to `input(type=… port=…)`.
    PLAIN = 'streamDriver.mode="0" streamDriver.name="ptcp"'
    TLS = (
        'streamDriver.name="{driver}" streamDriver.mode="1" streamDriver.authMode="{auth}" {more} '
        'streamDriver.CAFile="{ca}/ca.pem" streamDriver.certFile="{ca}/server.pem" streamDriver.keyFile="{ca}/server.key"'
    )
    INPUTS = {
        "udp": ("imudp", 'rcvbufSize="4m"'),
        "tcp": ("imtcp", PLAIN),
        "ptcp": ("imptcp", ""),
        "tls": ("imtcp", TLS.format(driver="ossl", auth="anon", more="", ca="{ca}")),
        "mtls": ("imtcp", TLS.format(driver="ossl", auth="x509/name", more=f'permittedPeer=["{CLIENT}"]', ca="{ca}")),
        "gtls": ("imtcp", TLS.format(driver="gtls", auth="anon", more="", ca="{ca}")),
        "relp": ("imrelp", f'maxDataSize="{LARGEST}"'),
        "relptls": (
            "imrelp",
            f'maxDataSize="{LARGEST}" tls="on" tls.caCert="{{ca}}/ca.pem" tls.myCert="{{ca}}/server.pem" '
            f'tls.myPrivKey="{{ca}}/server.key" tls.authMode="name" tls.permittedPeer=["{CLIENT}"]',
        ),
    }
    # Protocol, whether it is TLS, and whether the client needs a certificate.
    SPOKEN = {
        "udp": ("udp", False, False),
        "tcp": ("tcp", False, False),
        "ptcp": ("tcp", False, False),
        "tls": ("tls", True, False),
        "mtls": ("tls", True, True),
        "gtls": ("tls", True, False),
        "relp": ("relp", False, False),
        "relptls": ("relp+tls", True, True),
    }
    PROPERTIES = {
        "pri": 'name="pri"',
        "ts": 'name="timereported" dateFormat="rfc3339"',
        "host": 'name="hostname"',
        "app": 'name="app-name"',
        "procid": 'name="procid"',
        "msgid": 'name="msgid"',
        "sd": 'name="structured-data"',
        "msg": 'name="msg"',
        "raw": 'name="rawmsg"',
    }

    def command(self, config):
        return [
            program("usr/sbin/rsyslogd"), "-n", "-f", config, "-i", os.path.join(self.home, "pid"),
            "-M", modules("*/rsyslog/imtcp.so"),
        ]

    def config(self):
        used = {self.INPUTS[name][0] for name in self.ports}
        return "\n".join([
            # Every byte stays as received, except NUL, which always becomes #000.
            f'global(workDirectory="{self.home}" maxMessageSize="{LARGEST}" net.enableDNS="off" '
            'parser.escapeControlCharactersOnReceive="off" parser.dropTrailingLFOnReception="off" '
            'parser.permitSlashInProgramName="on" processInternalMessages="on")',
            'main_queue(queue.type="Direct")',
            'module(load="imudp")' if "imudp" in used else "",
            'module(load="imptcp")' if "imptcp" in used else "",
            'module(load="imrelp" tls.tlslib="openssl")' if "imrelp" in used else "",
            # rsyslog splits a longer octet-counted frame into one message per line; the default limit is 200,000 bytes.
            f'module(load="imtcp" maxSessions="1000" maxFrameSize="{LARGEST}")' if "imtcp" in used else "",
            'template(name="fields" type="list" option.jsonf="on") {',
            *(f'  property(outname="{name}" {self.PROPERTIES[name]} format="jsonf")' for name in FIELDS),
            "}",
            *(
                f'ruleset(name="{name}") {{ action(type="omfile" file="{self.out(name)}" template="fields") }}'
                for name in self.ports
            ),
            *(self.input(name, port) for name, port in self.ports.items()),
            f'action(type="omfile" file="{os.path.join(self.home, "internal.log")}")',
            "",
        ])

    def input(self, name, port):
        module, more = self.INPUTS[name]
        more = more.format(ca=self.authority.directory)
        return f'input(type="{module}" address="127.0.0.1" port="{port}" ruleset="{name}" name="{name}" {more})'


class SyslogNg(Receiver):
    """syslog-ng, which writes each message before it accepts the next one."""

    NAME = "syslog-ng"
    SERVER = 'cert-file("{ca}/server.pem") key-file("{ca}/server.key")'
    ANYBODY = f"tls({SERVER} peer-verify(optional-untrusted))"
    ONE = f'tls({SERVER} ca-file("{{ca}}/ca.pem") peer-verify(required-trusted) trusted-dn("*CN={CLIENT}*"))'
    # The driver and its options. `syslog` is octet-counted RFC 5424, `network` is line-based.
    INPUTS = {
        "tcp": ("network", 'transport("tcp") flags(syslog-protocol, store-raw-message)'),
        "octet": ("syslog", 'transport("tcp") flags(store-raw-message)'),
        "udp": ("network", 'transport("udp") so-rcvbuf(4194304) flags(syslog-protocol, store-raw-message)'),
        "tls": ("syslog", f'transport("tls") flags(store-raw-message) {ANYBODY}'),
        "mtls": ("syslog", f'transport("tls") flags(store-raw-message) {ONE}'),
        "tlslf": ("network", f'transport("tls") flags(syslog-protocol, store-raw-message) {ANYBODY}'),
    }
    SPOKEN = {
        "tcp": ("tcp", False, False),
        "octet": ("tcp", False, False),
        "udp": ("udp", False, False),
        "tls": ("tls", True, False),
        "mtls": ("tls", True, True),
        "tlslf": ("tls", True, False),
    }
    MACROS = {
        "pri": "$PRI", "ts": "$ISODATE", "host": "$HOST", "app": "$PROGRAM", "procid": "$PID", "msgid": "$MSGID",
        "sd": "$SDATA", "msg": "$MSG", "raw": "$RAWMSG",
    }

    def command(self, config):
        at = lambda name: os.path.join(self.home, name)
        return [
            program("usr/sbin/syslog-ng"), "-F", "--no-caps", "-f", config, "-R", at("persist"), "-p", at("pid"),
            "-c", at("control"), f"--module-path={modules('syslog-ng/*/libafsocket.so')}",
        ]

    def version(self):
        """The version that the configuration must name."""
        text = subprocess.run(
            [program("usr/sbin/syslog-ng"), "--version"], env=environment(), capture_output=True, text=True
        ).stdout
        found = re.search(r"\((\d+\.\d+)", text)
        if not found:
            raise Failed(f"syslog-ng does not tell its version: {text!r}")
        return found[1]

    def config(self):
        fields = " ".join(f"{name}={self.MACROS[name]}" for name in FIELDS)
        lines = [
            f"@version: {self.version()}",
            "options {",
            "  keep-hostname(yes); chain-hostnames(no); use-dns(no); use-fqdn(no); dns-cache(no); create-dirs(yes);",
            "  keep-timestamp(yes); frac-digits(6); ts-format(iso); send-time-zone(UTC); time-zone(UTC);",
            f"  log-msg-size({LARGEST}); log-fifo-size(200000); stats-freq(0); flush-lines(1);",
            "};",
            f'template t_fields {{ template("$(format-json {fields})\\n"); template-escape(no); }};',
        ]
        for name, port in self.ports.items():
            driver, more = self.INPUTS[name]
            more = more.format(ca=self.authority.directory)
            if 'transport("udp")' not in more:
                more += " max-connections(100) log-iw-size(10000)"
            lines += [
                f"source s_{name} {{ {driver}(ip(127.0.0.1) port({port}) {more}); }};",
                f'destination d_{name} {{ file("{self.out(name)}" template(t_fields)); }};',
                f"log {{ source(s_{name}); destination(d_{name}); flags(flow-control); }};",
            ]
        internal = os.path.join(self.home, "internal.log")
        lines.append(f'source s_internal {{ internal(); }}; log {{ source(s_internal); destination {{ file("{internal}"); }}; }};')
        return "\n".join([*lines, ""])


class Emulated(Receiver):
    """`forwarder emulate syslog`, which prints the received messages themselves instead of JSON."""

    NAME = "emulator"
    INPUTS = {"tcp": "tcp", "tls": "tls", "relp": "relp"}
    SPOKEN = {"tcp": ("tcp", False, False), "tls": ("tls", True, False), "relp": ("relp", False, False)}

    def config(self):
        return ""

    def run(self, config):
        [(name, port)] = self.ports.items()
        command = [FORWARDER, "emulate", "syslog", "--port", str(port), "--protocol", self.INPUTS[name], "--print"]
        if self.SPOKEN[name][1]:
            command += ["--cert", self.authority.path("server.pem"), "--key", self.authority.path("server.key")]
        return self.lab.start(self.NAME, command, without_proxies(), self.home, out=self.out(name))
