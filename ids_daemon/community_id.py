"""Community ID version 1: one text that names a flow the same way in every tool.

`"1:" + base64(sha1(seed . source . destination . protocol . 0 . source port . destination port))`
in network byte order, the smaller (address, port) first (corelight/community-id-spec).
"""

from __future__ import annotations

import base64
import hashlib
import struct

from ids_daemon.addresses import Address

_ICMP, _TCP, _UDP, _ICMPV6, _SCTP = 1, 6, 17, 58, 132
_WITH_PORTS = (_TCP, _UDP, _SCTP, _ICMP, _ICMPV6)

#: ICMP message type -> type of its answer.  Both stand for the ports, so that a question and its
#: answer get one id.
_ANSWERS = {
    _ICMP: {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17, 10: 9, 9: 10},
    _ICMPV6: {
        128: 129,
        129: 128,
        130: 131,
        131: 130,
        133: 134,
        134: 133,
        135: 136,
        136: 135,
        139: 140,
        140: 139,
        144: 145,
        145: 144,
    },
}


def community_id(
    protocol: int, source: Address, destination: Address, first: int = 0, second: int = 0, *, seed: int = 0
) -> str:
    """The id of a flow; both addresses of one IP version.

    `first` and `second` are the ports of TCP, UDP and SCTP, type and code of ICMP and ICMPv6, and
    unused for other protocols.  `seed` (0..65535) keeps ids of separate networks apart.
    """
    ends = source.packed, destination.packed
    ordered = True
    if protocol in _ANSWERS:
        answer = _ANSWERS[protocol].get(first)
        if answer is None:  # a message without an answer: type and code, and the ends stay in place
            ordered = False
        else:
            second = answer
    if protocol not in _WITH_PORTS:
        first = second = 0
    if ordered and (ends[0], first) > (ends[1], second):
        ends = ends[1], ends[0]
        first, second = second, first
    hashed = struct.pack("!H", seed) + ends[0] + ends[1] + struct.pack("!BB", protocol, 0)
    if protocol in _WITH_PORTS:
        hashed += struct.pack("!HH", first, second)
    return "1:" + base64.b64encode(hashlib.sha1(hashed).digest()).decode("ascii")
