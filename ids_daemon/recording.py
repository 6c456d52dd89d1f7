"""A live capture written to a file while it is metered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from capture import CaptureError, CaptureWriter, LiveCapture, PacketBatch


class Recording:
    """What a live capture gave, as a pcapng file.

    A disk that fails ends the recording, not the capture: it is told once.
    """

    def __init__(self, path: str, live: LiveCapture, tell: Callable[[str], None]) -> None:
        """CaptureError when the file exists already or cannot be made."""
        self._live = live
        self._tell = tell
        self.failed = False  #: whether packets are missing in the file
        self._writer: CaptureWriter | None = CaptureWriter(
            path, live.interfaces, live.link_types, live.snaplen
        )

    def of(self, batches: Iterable[PacketBatch]) -> Iterator[PacketBatch]:
        """The same batches, each written before it is given on."""
        for batch in batches:
            if self._writer is not None:
                try:
                    self._writer.write(batch)
                except CaptureError as error:
                    self.failed = True
                    self._tell(f"{error}; capturing goes on")
                    writer, self._writer = self._writer, None
                    writer.abandon()
            yield batch

    def close(self) -> None:
        """End the file with how far time went by, and say how much is in it."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close([(one.packets, one.drops) for one in self._live.interface_counts()])
        except CaptureError as error:
            self.failed = True
            self._tell(str(error))
        else:
            self._tell(f"{writer.path}: {writer.packets:,} packets recorded")
