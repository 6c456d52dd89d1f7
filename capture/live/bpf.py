"""Programs that the kernel runs over packets before anybody sees them: classic BPF.

A program is a list of instructions (code, jump if true, jump if false, constant), `struct
sock_filter` of <linux/filter.h>.
"""

from __future__ import annotations

import ctypes
import re
import struct

from capture import link_types
from capture.errors import FilterError

Instruction = tuple[int, int, int, int]

_RET_K, _RET_A = 0x06, 0x16
#: A program's largest length, BPF_MAXINSNS.
_LONGEST = 4096

#: Names of libpcap's library: Debian's, and that of its authors.
_LIBRARIES = ("libpcap.so.0.8", "libpcap.so.1", "libpcap.so")
_NETMASK_UNKNOWN = 0xFFFFFFFF
#: DLT_ numbers, where they are not the LINKTYPE_ number.
_DLT = {link_types.RAW: 12}

#: Takes nothing: for a socket that is not yet to see a packet.
NOTHING: list[Instruction] = [(_RET_K, 0, 0, 0)]


def packed(program: list[Instruction]) -> tuple[bytes, ctypes.Array[ctypes.c_char]]:
    """`struct sock_fprog`, and the instructions that it points to: keep them while it is used."""
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("@HBBI", *one) for one in program))
    return struct.pack("@HP", len(program), ctypes.addressof(instructions)), instructions


def compile_filter(
    text: str, link_type: int = link_types.ETHERNET, snaplen: int = 65_535
) -> list[Instruction]:
    """The program that takes `snaplen` bytes of what the filter matches, all packets if it is empty.

    `text` is in the language of pcap-filter(7); a host's name in it is asked for.  FilterError when it
    is wrong or libpcap is missing.
    """
    if not text.strip():
        return [(_RET_K, 0, 0, snaplen)]
    if re.search(r"\bvlan\b", text):
        raise FilterError(
            text,
            "the kernel takes VLAN tags off before it filters: leave `vlan` out"
            " (packets with a tag match like those without)",
        )
    if "\0" in text:
        raise FilterError(text, "has a character NUL, where libpcap would end it")
    pcap = _libpcap(text)
    handle = pcap.pcap_open_dead(_DLT.get(link_type, link_type), snaplen)
    if not handle:
        raise FilterError(text, "libpcap cannot compile it: out of memory")
    try:
        program = _Program()
        if pcap.pcap_compile(handle, ctypes.byref(program), text.encode(), 1, _NETMASK_UNKNOWN):
            reason = pcap.pcap_geterr(handle).decode("utf-8", "replace")
            raise FilterError(text, f"{reason}; the language is in `man pcap-filter`")
        try:
            found = [program.instructions[i] for i in range(program.length)]
            compiled = [(one.code, one.jt, one.jf, one.k) for one in found]
        finally:
            pcap.pcap_freecode(ctypes.byref(program))
    finally:
        pcap.pcap_close(handle)
    if len(compiled) > _LONGEST:
        raise FilterError(text, f"{len(compiled)} instructions, the kernel takes {_LONGEST}; make it simpler")
    return compiled


class _Instruction(ctypes.Structure):
    _fields_ = [
        *(("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte)),
        ("k", ctypes.c_uint32),
    ]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Instruction))]


def _libpcap(text: str) -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            pcap = ctypes.CDLL(name)
        except OSError:
            continue
        pcap.pcap_open_dead.restype = ctypes.c_void_p
        pcap.pcap_geterr.restype = ctypes.c_char_p
        pcap.pcap_geterr.argtypes = pcap.pcap_close.argtypes = [ctypes.c_void_p]
        pcap.pcap_compile.argtypes = [
            *(ctypes.c_void_p, ctypes.POINTER(_Program), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32)
        ]
        pcap.pcap_freecode.argtypes = [ctypes.POINTER(_Program)]
        return pcap
    raise FilterError(
        text,
        "libpcap is needed to compile it: apt-get install libpcap0.8 (`libpcap` on other systems)",
    )
