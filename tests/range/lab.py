"""The range's network: hosts as network namespaces behind one gateway, without an uplink.

    laptop desktop phone camera nas --- [lan] gateway [wan] --- servers
      192.168.50.21 .22 .23 .24 .30      .1        .1  |        203.0.113.22 .53 .80 .88 .123
                                                       +------- scanner guesser flooder staller
                                                                  198.51.100.66 .71 .84 .92

The gateway routes and does not translate addresses, so every host is seen on its LAN side under
its own.  All namespaces are called `<prefix>-<host>`; leaving `Lab` ends every process inside
them and removes them, also what a killed run left behind.  Needs root.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

#: Programs of the range and the Debian packages that bring them.
PROGRAMS = {
    "ab": "apache2-utils",
    "curl": "curl",
    "dig": "bind9-dnsutils",
    "dnsmasq": "dnsmasq-base",
    "ethtool": "ethtool",
    "hping3": "hping3",
    "hydra": "hydra",
    "iodine": "iodine",
    "ip": "iproute2",
    "masscan": "masscan",
    "medusa": "medusa",
    "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "nginx": "nginx-light",
    "nmap": "nmap",
    "openssl": "openssl",
    "ping": "iputils-ping",
    "slowhttptest": "slowhttptest",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "tcpdump": "tcpdump",
}
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class RangeError(Exception):
    """The range cannot be built or run; the message says what is missing and the remedy."""


@dataclass(frozen=True)
class Host:
    """A namespace on one side of the gateway, with one or more addresses on its only link."""

    name: str
    side: str  #: "lan" or "wan": the gateway's bridge it hangs on
    addresses: tuple[str, ...]  #: with prefix length; the first is the one it sends from
    gateways: tuple[str, ...]


GATEWAY = {
    "lan": ("192.168.50.1/24", "fd00:50::1/64"),
    "wan": ("203.0.113.1/24", "198.51.100.1/24", "2001:db8:80::1/64"),
}


def _client(name: str, number: int) -> Host:
    return Host(
        name,
        "lan",
        (f"192.168.50.{number}/24", f"fd00:50::{number}/64"),
        ("192.168.50.1", "fd00:50::1"),
    )


CLIENTS = (_client("laptop", 21), _client("desktop", 22), _client("phone", 23), _client("camera", 24))
NAS = _client("nas", 30)
SERVERS = Host(
    "servers",
    "wan",
    (*(f"203.0.113.{number}/24" for number in (80, 22, 53, 88, 123)), "2001:db8:80::80/64"),
    ("203.0.113.1", "2001:db8:80::1"),
)
INTRUDERS = tuple(
    Host(name, "wan", (f"198.51.100.{number}/24",), ("198.51.100.1",))
    for name, number in (("scanner", 66), ("guesser", 71), ("flooder", 84), ("staller", 92))
)
HOSTS = (*CLIENTS, NAS, SERVERS, *INTRUDERS)

#: The names that command lines use for addresses.
ADDRESSES = {host.name: host.addresses[0].split("/")[0] for host in HOSTS if host is not SERVERS} | {
    "web": "203.0.113.80",
    "shell": "203.0.113.22",
    "resolver": "203.0.113.53",
    "broker": "203.0.113.88",
    "clock": "203.0.113.123",
    "lan": "192.168.50.0/24",
    "abroad": "203.0.113.0/25",
}


def missing_packages() -> list[str]:
    """Debian packages whose programs are not installed, sorted."""
    return sorted(
        {package for program, package in PROGRAMS.items() if not shutil.which(program, path=SEARCH_PATH)}
    )


def check_machine() -> None:
    """Raise RangeError unless this process may build namespaces and every program is there."""
    if os.geteuid() != 0:
        raise RangeError("network namespaces need root: run this with sudo")
    if packages := missing_packages():
        raise RangeError(f"programs missing; install them with: apt-get install {' '.join(packages)}")


def run(*argv: str) -> str:
    """Run a command to its end and return its output; RangeError carries what it complained of."""
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise RangeError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip() or done.returncode}")
    return done.stdout


class Lab:
    """The namespaces of the range, from `with Lab(work) as lab:` until the block is left.

    `work` receives the logs and configuration of all programs, one lab at a time holds a prefix.
    """

    def __init__(self, work: Path, prefix: str = "idsrange") -> None:
        self.work = work.resolve()
        self.prefix = prefix
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock: IO[str] | None = None

    def namespace(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def __enter__(self) -> Lab:
        check_machine()
        self.work.mkdir(parents=True, exist_ok=True)
        self.work.chmod(0o755)  # servers drop root and still read their files
        self._hold_prefix()
        try:
            self._remove()
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything inside the namespaces and remove them."""
        self._remove()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def spawn(self, host: str, *argv: str, log: str | None = None) -> subprocess.Popen[bytes]:
        """Start a command inside a host, its output in `<work>/<log>.log` or nowhere.

        `ip netns exec` replaces itself by the command, so the process is the command's own.
        """
        environment = {"PATH": SEARCH_PATH, "HOME": str(self.work), "LC_ALL": "C"}
        with open(self.work / f"{log}.log" if log else os.devnull, "ab") as out:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace(host), *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.work,
                env=environment,
                start_new_session=True,
            )
        self._processes = [old for old in self._processes if old.poll() is None]
        self._processes.append(process)
        return process

    def run(self, host: str, *argv: str) -> str:
        """Run a command inside a host to its end and return its output."""
        return run("ip", "netns", "exec", self.namespace(host), *argv)

    def wait_listening(self, host: str, sockets: set[str], seconds: float = 10) -> None:
        """Wait until `address:port` of every one of `sockets` listens on TCP in `host`."""
        end = time.monotonic() + seconds
        while absent := sockets - set(self.run(host, "ss", "-Htln").split()):
            if time.monotonic() > end:
                raise RangeError(f"{host}: nothing listens on {sorted(absent)}; see the logs in {self.work}")
            time.sleep(0.1)

    def _hold_prefix(self) -> None:
        path = Path("/run") / f"{self.prefix}.lock"
        self._lock = path.open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            self._lock = None
            raise RangeError(f"another range named {self.prefix!r} is running ({path} is held)") from None

    def _build(self) -> None:
        gateway = self.namespace("gw")
        run("ip", "netns", "add", gateway)
        for bridge, addresses in GATEWAY.items():
            run("ip", "-n", gateway, "link", "add", bridge, "type", "bridge")
            self._address("gw", bridge, addresses)
        for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            self.run("gw", "sysctl", "-qw", setting)
        for host in HOSTS:
            self._connect(host)

    def _connect(self, host: Host) -> None:
        here, gateway = self.namespace(host.name), self.namespace("gw")
        run("ip", "netns", "add", here)
        run("ip", "-n", here, "link", "set", "lo", "up")
        run(
            "ip",
            "-n",
            gateway,
            "link",
            "add",
            host.name,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            here,
        )
        run("ip", "-n", gateway, "link", "set", host.name, "master", host.side, "up")
        self._address(host.name, "eth0", host.addresses)
        for via in host.gateways:
            run("ip", "-n", here, "route", "add", "default", "via", via)
        for where, device in ((host.name, "eth0"), ("gw", host.name)):
            # With offloads on, captures show frames of 64 KiB and checksums never computed.
            off = [word for name in ("tso", "gso", "gro", "tx", "rx", "sg") for word in (name, "off")]
            self.run(where, "ethtool", "-K", device, *off)
        resolver = Path("/etc/netns") / here / "resolv.conf"  # bound over /etc by `ip netns exec`
        resolver.parent.mkdir(parents=True, exist_ok=True)
        resolver.write_text(f"nameserver {ADDRESSES['resolver']}\noptions timeout:1 attempts:1\n")

    def _address(self, host: str, device: str, addresses: tuple[str, ...]) -> None:
        for address in addresses:
            # Duplicate address detection would hold an IPv6 address back for a second.
            extra = ["nodad"] if ":" in address else []
            run("ip", "-n", self.namespace(host), "addr", "add", address, "dev", device, *extra)
        run("ip", "-n", self.namespace(host), "link", "set", device, "up")

    def _own_namespaces(self) -> list[str]:
        names = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.strip()]
        return [name for name in names if name.startswith(f"{self.prefix}-")]

    def _own_pids(self) -> Iterator[int]:
        for name in self._own_namespaces():
            yield from map(int, run("ip", "netns", "pids", name).split())

    def _remove(self) -> None:
        for number, tries in ((signal.SIGTERM, 20), (signal.SIGKILL, 50)):
            for _ in range(tries):
                pids = list(self._own_pids())
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                for process in self._processes:
                    process.poll()
                if not pids:
                    break
                time.sleep(0.1)
        for name in self._own_namespaces():
            run("ip", "netns", "del", name)
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)
