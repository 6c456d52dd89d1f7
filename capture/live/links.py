"""The interfaces that are captured, through all that happens to them: down, removed, back again."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from capture.errors import CaptureError
from capture.live.link import IFF_RUNNING, IFF_UP, DeviceCounts, device_counts, interface_flags, interface_mtu
from capture.live.packet_socket import PacketSocket, RingCounts, RingOptions

Tell = Callable[[str], None]

#: How long after it was last seen down an interface may take to find its carrier: the kernel looks for it
#: once a second.
_SETTLING_S = 3.0


class Link:
    """One interface and the sockets on it, one a worker, made anew when the interface comes back.

    `sockets` is empty while the interface is away, and `generation` grows whenever they are others.
    What is worth knowing goes to `tell`, one line each.  One thread calls `watch`; any may ask for
    `counts`.
    """

    def __init__(self, name: str, options: RingOptions, tell: Tell, workers: int = 1) -> None:
        self.name = name
        self.generation = 0
        self.changes = 0  #: how often it went down, came up, was removed, came back or changed its MTU
        self.super_packets = 0  #: longer than the link carries: merged by the network card or the kernel
        self._options = options
        self._tell = tell
        self._lock = threading.Lock()
        self._counts = RingCounts(0, 0, 0)
        self._lost = DeviceCounts(0, 0, 0, 0)
        self._device: DeviceCounts | None = None  # at the last look
        self._told_failure = ""
        self._workers = workers
        self._ending = False
        self._known_as = name
        self.sockets: tuple[PacketSocket, ...] = self._opened()
        self.link_type = self.sockets[0].link_type
        self._state = ""
        self._carrier_by = 0.0

    def start(self) -> None:
        """Let packets in; CaptureError when the kernel refuses the filter."""
        for one in self.sockets:
            one.start()
        self._state = "up"
        self.watch()

    def end(self) -> None:
        """Let no further packets in; those in the rings stay."""
        with self._lock:
            self._ending = True
            for one in self.sockets:
                one.stop()

    def watch(self) -> None:
        """See what has become of the interface; to be called once a second, and when `poll` tells of it."""
        if not self.sockets:
            self._try_again()
            return
        for one in self.sockets:
            one.take_error()
        try:
            name = socket.if_indextoname(self.sockets[0].index)
            flags, mtu = interface_flags(name), interface_mtu(name)
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.ENXIO):
                return  # too many open files, say: that tells nothing of the interface
            self._let_go()
            self._changed("the interface was removed; waiting for it to come back")
            return
        if name != self._known_as:
            self._changed(f"the interface is called {name} now; its packets are still told of as {self.name}")
            self._known_as = name
        state = "down" if not flags & IFF_UP else "up" if flags & IFF_RUNNING else "without a carrier"
        now = time.monotonic()
        if state == "down":
            self._carrier_by = now + _SETTLING_S
        settling = state == "without a carrier" and self._state == "down" and now < self._carrier_by
        if state != self._state and not settling:
            self._changed(f"is {state}" + (" again" if state == "up" else "; waiting for packets"))
            self._state = state
        if mtu != self.sockets[0].mtu:
            self._changed(f"the MTU is {mtu} now, it was {self.sockets[0].mtu}")
            for one in self.sockets:
                one.mtu = mtu
        self.lost()

    def counts(self) -> RingCounts:
        """Of all sockets that were on it."""
        with self._lock:
            self._collect()
            return self._counts

    def lost(self) -> DeviceCounts:
        """What the interface itself lost since it is captured: nothing, where that cannot be read."""
        with self._lock:
            self._look_at_device()
            return self._lost

    def saw_super_packets(self, count: int, longest: int, mtu: int) -> None:
        """Packets came that are longer than the link carries; the first time it is told."""
        with self._lock:
            first = not self.super_packets
            self.super_packets += count
        if first:
            self._tell(
                f"{self.name}: packets of up to {longest:,} bytes, where the MTU is {mtu:,}: the"
                " network card or the kernel merges them before they are seen. They are metered by their"
                " real length; to see them as they were sent: "
                f"ethtool -K {self._known_as} gro off lro off gso off tso off"
            )

    def close(self) -> None:
        if self.sockets:
            self._let_go()

    def _opened(self) -> tuple[PacketSocket, ...]:
        """A socket for each worker; the kernel numbers them in this order, on every interface alike."""
        with ExitStack() as opened:
            made: list[PacketSocket] = []
            for _ in range(self._workers):
                made.append(PacketSocket(self.name, self._options))
                opened.callback(made[-1].close)
            if len(made) > 1:
                group = made[0].lead()
                for one in made[1:]:
                    one.join(group)
            opened.pop_all()
        return tuple(made)

    def _let_go(self) -> None:
        with self._lock:
            self._collect()
            self._look_at_device()
            gone, self.sockets = self.sockets, ()
            self._device = None
            for one in gone:
                one.close()
        self.generation += 1

    def _collect(self) -> None:
        for one in self.sockets:
            self._counts = self._counts.plus(one.new_counts())

    def _look_at_device(self) -> None:
        if self.sockets:
            with suppress(OSError):
                now = device_counts(self._known_as)
                if self._device is not None:
                    self._lost = self._lost.plus(now.since(self._device))
                self._device = now

    def _try_again(self) -> None:
        if self._ending:
            return
        try:
            index = socket.if_nametoindex(self.name)
            if not interface_flags(self.name) & IFF_UP:
                return
            again = self._opened()
        except OSError:
            return
        except CaptureError as error:
            self._tell_failure(str(error))
            return
        self._take_over(again, index)

    def _take_over(self, again: tuple[PacketSocket, ...], index: int) -> None:
        """Capture on the interface that came back by these sockets."""
        if again[0].link_type != self.link_type:
            for one in again:
                one.close()
            self._tell_failure(
                f"{self.name}: came back as another kind of interface; start anew to capture it"
            )
            return
        try:
            for one in again:
                one.start()
        except CaptureError as error:
            for one in again:
                one.close()
            self._tell_failure(str(error))
            return
        with self._lock:
            self.sockets = again
            if self._ending:  # since it was looked at
                for one in again:
                    one.stop()
        self.lost()  # from here on
        self.generation += 1
        self._known_as, self._state, self._told_failure = self.name, "up", ""
        self._changed(f"the interface is back (number {index}); capturing goes on")

    def _tell_failure(self, line: str) -> None:
        if line != self._told_failure:
            self._told_failure = line
            self._tell(line)

    def _changed(self, what: str) -> None:
        self.changes += 1
        self._tell(f"{self.name}: {what}")
