"""Send frames through an interface as fast as told, by sendmmsg(2); for namespaces only.

    python -m tests.live.sender LINK CAPTURE [--rate PACKETS_A_SECOND] [--count N] [--seconds AT_MOST]
    python -m tests.live.sender --frames '[["v0", "<hex>"], ...]'

Prints {"sent": ..., "seconds": ...}: packets that the kernel took.  Reads captures with its own
few lines, so that nothing is compiled and it starts at once.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import socket
import struct
import time
from pathlib import Path

SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
BURST = 64
LARGEST = 65_536


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _MsgHdr(ctypes.Structure):
    _fields_ = [
        *(("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32)),
        *(("vectors", ctypes.POINTER(_IoVec)), ("vector_count", ctypes.c_size_t)),
        *(("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t), ("flags", ctypes.c_int)),
    ]


class _MMsgHdr(ctypes.Structure):
    _fields_ = [("header", _MsgHdr), ("length", ctypes.c_uint)]


class Sender:
    """Frames laid out once for sendmmsg, sent in bursts.

    `bypass` goes around the queue of the interface, and around captures on this side of it.
    """

    def __init__(self, link: str, frames: list[bytes], *, bypass: bool) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, bypass)
        self._socket.bind((link, 0))
        self._count = len(frames)
        self._buffer = ctypes.create_string_buffer(b"".join(frames))
        self._vectors = (_IoVec * len(frames))()
        self._messages = (_MMsgHdr * len(frames))()
        address = ctypes.addressof(self._buffer)
        for vector, message, frame in zip(self._vectors, self._messages, frames, strict=True):
            vector.base, vector.length = address, len(frame)
            message.header.vectors, message.header.vector_count = ctypes.pointer(vector), 1
            address += len(frame)
        self._libc = ctypes.CDLL(None, use_errno=True)

    def send(self, count: int, rate: float, seconds: float) -> tuple[int, float]:
        """`count` packets at `rate` a second (0: as fast as it goes) -> (packets sent, seconds)."""
        begun = time.perf_counter()
        sent = 0
        while sent < count:
            elapsed = time.perf_counter() - begun
            if elapsed > seconds:
                break
            due = count if not rate else min(count, int(elapsed * rate) + 1)
            if due <= sent:
                time.sleep(min(0.001, (sent + 1) / rate - elapsed))
                continue
            at = sent % self._count
            sent += self._burst(at, min(BURST, due - sent, self._count - at))
        return sent, time.perf_counter() - begun

    def _burst(self, first: int, count: int) -> int:
        at = ctypes.byref(self._messages, first * ctypes.sizeof(_MMsgHdr))
        done = self._libc.sendmmsg(self._socket.fileno(), at, count, 0)
        if done < 0:
            number = ctypes.get_errno()
            if number in (11, 105):  # EAGAIN, ENOBUFS: the queue is full for a moment
                time.sleep(0)
                return 0
            raise OSError(number, os.strerror(number))
        return int(done)


def frames_of_pcap(path: Path) -> list[bytes]:
    """The frames of a classic pcap file in this machine's byte order."""
    data, position, frames = path.read_bytes(), 24, []
    while position + 16 <= len(data):
        (length,) = struct.unpack_from("=I", data, position + 8)
        frames.append(data[position + 16 : position + 16 + length])
        position += 16 + length
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(prog="sender", description="Send frames inside a namespace.")
    parser.add_argument("link", nargs="?")
    parser.add_argument("capture", nargs="?", type=Path)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300, help="then it ends with fewer sent")
    parser.add_argument("--frames")
    arguments = parser.parse_args()
    if arguments.frames:
        frames = [(name, bytes.fromhex(text)) for name, text in json.loads(arguments.frames)]
        for name, frame in frames:
            Sender(name, [frame], bypass=False).send(1, 0, 60)
        print(json.dumps({"sent": len(frames)}))
        return
    frames = frames_of_pcap(arguments.capture)
    sent, seconds = Sender(arguments.link, frames, bypass=True).send(
        arguments.count or len(frames), arguments.rate, arguments.seconds
    )
    print(json.dumps({"sent": sent, "seconds": seconds}))


if __name__ == "__main__":
    main()
