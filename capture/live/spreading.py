"""Which worker gets a packet: the program of PACKET_FANOUT_CBPF.

Both directions of a flow, its fragments and what is inside its tunnel must come to one worker, so
the outer addresses alone decide, in either order.  PACKET_FANOUT_HASH does not do: it looks at
ports, which later fragments have not, and into tunnels.
"""

from __future__ import annotations

from capture.live.bpf import Instruction

# Classic BPF, <linux/filter.h>.  The network layer is addressed from its own start, wherever the frame
# begins: a packet that goes out is seen from its Ethernet header, one that comes in is not.
_NETWORK = 0x1_0000_0000 - 0x100000
_PROTOCOL = 0x1_0000_0000 - 0x1000
_LOAD, _LOAD_HALF_AT, _LOAD_WORD_AT = 0x20, 0x48, 0x40  # _AT: X bytes further
_LOAD_MEMORY, _STORE, _SET_X, _LOAD_X_MEMORY, _STORE_X = 0x60, 0x02, 0x01, 0x61, 0x03
_ADD, _MULTIPLY, _SHIFT, _XOR_X, _TO_X, _FROM_X = 0x04, 0x24, 0x74, 0xAC, 0x07, 0x87
_EQUAL, _JUMP, _RETURN, _RETURN_A = 0x15, 0x05, 0x06, 0x16

_IPV4, _IPV6, _PPPOE = 0x0800, 0x86DD, 0x8864
_TAGS = (0x8100, 0x88A8, 0x9100)
_PPP_IPV4, _PPP_IPV6 = 0x21, 0x57
_GOLDEN = 0x9E3779B1  # spreads neighbouring addresses: 2^32 divided by the golden ratio


#: (code, label to go to where there is one, constant)
_Line = tuple[int, str, int]


def by_addresses() -> list[Instruction]:
    """The program: a number that is the same for both directions, 0 for what is not IP."""
    lines: list[_Line | str] = [(_LOAD, "", _PROTOCOL), (_SET_X, "", 0)]
    for depth in range(2):  # tags that are still in the frame
        lines += [(_EQUAL, f"tag{depth}", tag) for tag in _TAGS]
        lines += [(_JUMP, "type", 0), f"tag{depth}", (_LOAD_HALF_AT, "", _NETWORK + 2)]
        lines += [(_STORE, "", 0), *_further(4), (_LOAD_MEMORY, "", 0)]
    lines += ["type", (_EQUAL, "v4", _IPV4), (_EQUAL, "v6", _IPV6), (_EQUAL, "pppoe", _PPPOE)]
    lines += ["other", (_RETURN, "", 0)]
    lines += ["pppoe", *_further(8), (_LOAD_HALF_AT, "", _NETWORK - 2)]
    lines += [(_EQUAL, "v4", _PPP_IPV4), (_EQUAL, "v6", _PPP_IPV6), (_RETURN, "", 0)]
    lines += ["v6", *_folded(range(8, 40, 4)), (_JUMP, "mix", 0)]
    lines += ["v4", *_folded(range(12, 20, 4))]
    lines += ["mix", (_MULTIPLY, "", _GOLDEN), (_SHIFT, "", 16), (_RETURN_A, "", 0)]
    return _assembled(lines)


def _further(count: int) -> list[_Line]:
    """X += count."""
    return [(_FROM_X, "", 0), (_ADD, "", count), (_TO_X, "", 0)]


def _folded(places: range) -> list[_Line]:
    """A = the words at these places of the network layer, one xor the other."""
    lines = [(_STORE_X, "", 1), (_LOAD_WORD_AT, "", _NETWORK + places[0])]
    for place in places[1:]:
        lines += [(_STORE, "", 0), (_LOAD_X_MEMORY, "", 1), (_LOAD_WORD_AT, "", _NETWORK + place)]
        lines += [(_LOAD_X_MEMORY, "", 0), (_XOR_X, "", 0)]
    return lines


def _assembled(lines: list[_Line | str]) -> list[Instruction]:
    """Labels become distances, all of them forward."""
    places: dict[str, int] = {}
    code: list[_Line] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(code)
        else:
            code.append(line)
    program: list[Instruction] = []
    for at, (operation, label, constant) in enumerate(code):
        distance = places[label] - at - 1 if label else 0
        if operation == _JUMP:
            program.append((operation, 0, 0, distance))
        else:
            program.append((operation, distance, 0, constant & 0xFFFFFFFF))
    return program
