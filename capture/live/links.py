"""The interfaces that are captured, through all that happens to them: down, removed, back again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from capture.errors import CaptureError
from capture.live.link import IFF_RUNNING, IFF_UP, interface_flags, interface_mtu
from capture.live.packet_socket import PacketSocket, RingCounts, RingOptions

Tell = Callable[[str], None]


class Link:
    """One interface and the socket on it, made anew when the interface comes back.

    `socket` is None while the interface is away, and `generation` grows whenever it is another
    one.  What is worth knowing goes to `tell`, one line each.  One thread calls `watch`; any may ask
    for `counts`.
    """

    def __init__(self, name: str, options: RingOptions, tell: Tell) -> None:
        self.name = name
        self.generation = 0
        self.changes = 0  #: how often it went down, came up, was removed, came back or changed its MTU
        self.super_packets = 0  #: longer than the link carries: merged by the network card or the kernel
        self._options = options
        self._tell = tell
        self._lock = threading.Lock()
        self._counts = RingCounts(0, 0, 0)
        self._told_failure = ""
        self.socket: PacketSocket | None = PacketSocket(name, options)
        self.link_type = self.socket.link_type
        self._known_as = name
        self._state = ""

    def start(self) -> None:
        """Let packets in; CaptureError when the kernel refuses the filter."""
        assert self.socket is not None
        self.socket.start()
        self._state = "up"
        self.watch()

    def watch(self) -> None:
        """See what has become of the interface; to be called once a second, and when `poll` tells of it."""
        if self.socket is None:
            self._try_again()
            return
        self.socket.take_error()
        try:
            name = socket.if_indextoname(self.socket.index)
            flags, mtu = interface_flags(name), interface_mtu(name)
        except OSError:
            self._let_go()
            self._changed("the interface was removed; waiting for it to come back")
            return
        if name != self._known_as:
            self._changed(f"the interface is called {name} now; its packets are still told of as {self.name}")
            self._known_as = name
        state = "down" if not flags & IFF_UP else "up" if flags & IFF_RUNNING else "without a carrier"
        if state != self._state:
            self._changed(f"is {state}" + (" again" if state == "up" else "; waiting for packets"))
            self._state = state
        if mtu != self.socket.mtu:
            self._changed(f"the MTU is {mtu} now, it was {self.socket.mtu}")
            self.socket.mtu = mtu

    def counts(self) -> RingCounts:
        """Of all sockets that were on it."""
        with self._lock:
            self._collect()
            return self._counts

    def saw_super_packets(self, count: int, longest: int) -> None:
        """Packets came that are longer than the link carries; the first time it is told."""
        if not self.super_packets and self.socket is not None:
            self._tell(
                f"{self.name}: packets of up to {longest:,} bytes, where the MTU is {self.socket.mtu:,}: the"
                " network card or the kernel merges them before they are seen. They are metered by their"
                " real length; to see them as they were sent: "
                f"ethtool -K {self._known_as} gro off lro off gso off tso off"
            )
        self.super_packets += count

    def close(self) -> None:
        if self.socket is not None:
            self._let_go()

    def _let_go(self) -> None:
        assert self.socket is not None
        with self._lock:
            self._collect()
            self.socket.close()
            self.socket = None
        self.generation += 1

    def _collect(self) -> None:
        if self.socket is not None:
            self._counts = self._counts.plus(self.socket.new_counts())

    def _try_again(self) -> None:
        try:
            index = socket.if_nametoindex(self.name)
            if not interface_flags(self.name) & IFF_UP:
                return
            again = PacketSocket(self.name, self._options)
        except OSError:
            return
        except CaptureError as error:
            self._tell_failure(str(error))
            return
        if again.link_type != self.link_type:
            again.close()
            self._tell_failure(
                f"{self.name}: came back as another kind of interface; start anew to capture it"
            )
            return
        again.start()
        with self._lock:
            self.socket = again
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
