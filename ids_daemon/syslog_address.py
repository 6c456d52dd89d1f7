"""Where syslog messages go: a unix datagram socket or a UDP host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SyslogAddress:
    """`path` of a unix socket, or `host` and `port` of a UDP receiver."""

    path: str | None = None
    host: str = ""
    port: int = 514


def parse_address(text: str) -> SyslogAddress:
    """`/dev/log`, `udp:192.0.2.1`, `udp:logs.example:5514` or `udp:[2001:db8::1]:514`; also `udp://`.

    ValueError, in words, for anything else.
    """
    if text.startswith("/"):
        if len(text.encode()) > 107:
            raise ValueError("the path of a unix socket has at most 107 bytes")
        return SyslogAddress(path=text)
    scheme, _, rest = text.partition(":")
    if scheme != "udp" or not rest:
        raise ValueError("wants the path of a unix socket, such as /dev/log, or udp:HOST[:PORT]")
    rest = rest.removeprefix("//")
    if rest.startswith("["):
        host, closed, port = rest[1:].partition("]")
        port = port.removeprefix(":")
        if not closed:
            raise ValueError("an IPv6 address stands in brackets: udp:[2001:db8::1]:514")
    elif rest.count(":") > 1:
        raise ValueError("an IPv6 address stands in brackets: udp:[2001:db8::1]:514")
    else:
        host, _, port = rest.partition(":")
    if any(sign in host for sign in "/@ "):
        raise ValueError(f"{host} is no name of a host")
    if not host:
        raise ValueError("no host between udp: and the port")
    if not port:
        return SyslogAddress(host=host)
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"{port} is no port: 1 to 65535")
    return SyslogAddress(host=host, port=int(port))
