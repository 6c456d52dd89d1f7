"""Packets from capture files: pcap and pcapng, compressed or not, growing, or standard input."""

from __future__ import annotations

import os

from capture.files.capture_file import BATCH_PACKETS, CaptureFile
from capture.files.writer import CaptureWriter

__all__ = ["BATCH_PACKETS", "CaptureFile", "CaptureWriter", "open_capture"]


def open_capture(path: str | os.PathLike[str], *, follow: bool = False) -> CaptureFile:
    """Open a capture file, `-` for standard input, as a source of PacketBatch.

    `follow` waits for more at the end of a regular file that is still being written (see
    CaptureFile).  Raises CaptureError when the file cannot be opened, is no capture or is of a
    link type that is not read.  Where the file is cut or damaged, iterating raises it once all
    packets before were given; where packets of a pcapng are of such a link type, once all others were.
    """
    return CaptureFile(path, follow=follow)
