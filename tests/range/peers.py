"""The few peers of the range that no Debian package offers handily, on the standard library alone.

peers.py clock ADDRESS               answer NTP requests
peers.py controller ADDRESS PORT     a command-and-control server: each check-in gets an order
peers.py ask-time ADDRESS COUNT      ask an NTP server COUNT times, a second apart
peers.py beacon ADDRESS PORT SECONDS PERIOD    check in at a controller every PERIOD seconds
"""

from __future__ import annotations

import random
import socket
import socketserver
import struct
import sys
import time
from collections.abc import Callable

NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970


class _Clock(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, server = self.request
        if len(data) < 48:
            return
        now = struct.pack("!II", int(time.time()) + NTP_EPOCH, time.time_ns() % 1_000_000_000 * 4)
        head = b"\x24\x02\x06\xec" + bytes(8) + b"GPS\0"
        server.sendto(head + now + data[40:48] + now + now, self.client_address)


class _Controller(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(512):
            self.request.sendall(b"wait %d\n" % random.randrange(10, 99))


def clock(address: str) -> None:
    with socketserver.UDPServer((address, 123), _Clock) as server:
        server.serve_forever()


def controller(address: str, port: str) -> None:
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer((address, int(port)), _Controller) as server:
        server.serve_forever()


def ask_time(address: str, count: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        for _ in range(int(count)):
            sent = struct.pack("!II", int(time.time()) + NTP_EPOCH, random.randrange(1 << 32))
            sock.sendto(b"\x23\0\x06\xec" + bytes(36) + sent, (address, 123))
            sock.recv(100)
            time.sleep(1)


def beacon(address: str, port: str, seconds: str, period: str) -> None:
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        with socket.create_connection((address, int(port)), 2) as sock:
            sock.sendall(b"id=7f3a idle=%d\n" % random.randrange(1000))
            sock.recv(64)
        time.sleep(float(period) * random.uniform(0.9, 1.1))


COMMANDS: dict[str, Callable[..., None]] = {
    "clock": clock,
    "controller": controller,
    "ask-time": ask_time,
    "beacon": beacon,
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
