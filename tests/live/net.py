"""Two network namespaces joined by veth pairs, and what runs inside them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE, THERE = 0, 1


def reason_against() -> str:
    """Why no namespaces can be made here; "" where they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux for network namespaces"
    if shutil.which("ip") is None:
        return "needs `ip`: apt-get install iproute2"
    name = f"ids-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, timeout=30)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=30)
    return "" if made.returncode == 0 else f"network namespaces cannot be made here: {made.stderr.strip()}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


class Namespaces:
    """`here` and `there`, with `links` (v0, v1, ...) between them, up and silent: no IPv6, no addresses."""

    def __init__(self, links: int = 2) -> None:
        self.names = (f"ids-a-{os.getpid()}", f"ids-b-{os.getpid()}")
        self.here, self.there = self.names
        self._links = links

    def __enter__(self) -> Namespaces:
        try:
            for name in self.names:
                ip("netns", "add", name)
                for key in ("all", "default"):
                    self.run(name, "sysctl", "-qw", f"net.ipv6.conf.{key}.disable_ipv6=1")
            for number in range(self._links):
                self.add_link(f"v{number}")
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def add_link(self, link: str) -> None:
        ip("-n", self.here, "link", "add", link, "type", "veth", "peer", "name", link, "netns", self.there)
        for name in self.names:
            ip("-n", name, "link", "set", link, "up")

    def remove(self) -> None:
        for name in self.names:
            pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, timeout=30)
            for pid in pids.stdout.split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=30)

    @staticmethod
    def run(namespace: str, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A command in a namespace to its end; CalledProcessError when it fails."""
        inside = ["ip", "netns", "exec", namespace, *command]
        return subprocess.run(inside, check=True, capture_output=True, text=True, timeout=timeout, cwd=ROOT)

    @staticmethod
    @contextmanager
    def spawned(
        namespace: str, *command: str, environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """A process in a namespace with both outputs piped, killed at the end if it still runs."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        try:
            with process:
                try:
                    yield process
                finally:
                    process.kill()
        finally:
            process.wait()

    def send(self, namespace: str, *frames: tuple[str, bytes]) -> None:
        """One frame after the other, each through the interface named."""
        words = json.dumps([(name, frame.hex()) for name, frame in frames])
        self.run(namespace, sys.executable, "-m", "tests.live.sender", "--frames", words)

    def send_file(self, namespace: str, link: str, capture: Path, *, rate: float = 0, count: int = 0) -> int:
        """Packets of a capture, over and over up to `count`; returns how many were sent."""
        options = ["--rate", str(rate), "--count", str(count)]
        done = self.run(
            namespace, sys.executable, "-m", "tests.live.sender", link, str(capture), *options, timeout=300
        )
        return int(json.loads(done.stdout)["sent"])
