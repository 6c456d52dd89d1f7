"""Addresses and ports: their hashes, and what they say by themselves."""

from __future__ import annotations

import numpy as np

from models.windows.jit import kernel


@kernel
def mix(value):
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def hash2(x, y):
    return mix(mix(np.uint64(x) + np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(y))


@kernel
def half(address, first):
    """Eight bytes of an address as a big-endian number."""
    value = np.uint64(0)
    for i in range(first, first + 8):
        value = (value << np.uint64(8)) | np.uint64(address[i])
    return value


@kernel
def is_multicast(hi, lo):
    """Multicast, limited broadcast or no address at all: nobody who could answer."""
    if hi == 0 and lo >> np.uint64(32) == np.uint64(0xFFFF):
        first = (lo >> np.uint64(24)) & np.uint64(0xFF)
        limited_broadcast = lo & np.uint64(0xFFFFFFFF) == np.uint64(0xFFFFFFFF)
        return (first >= 224 and first < 240) or limited_broadcast or first == 0
    return hi >> np.uint64(56) == np.uint64(0xFF) or (hi == 0 and lo == 0)


@kernel
def is_home(networks, hi, lo):
    """Whether an address is in one of the networks, rows of (hi, lo, mask_hi, mask_lo)."""
    for i in range(len(networks)):
        if hi & networks[i, 2] == networks[i, 0] and lo & networks[i, 3] == networks[i, 1]:
            return True
    return False


@kernel
def service_class(protocol, port):
    """0 dns, 1 web, 2 login, 3 chatter, 4 other known, 5 other."""
    if protocol != 6 and protocol != 17:
        return 5
    if port == 53:
        return 0
    if port in (80, 443, 8080, 8443, 8000, 8888):
        return 1
    if port in (20, 21, 22, 23, 25, 88, 110, 143, 389, 445, 465, 587, 636, 993, 995):
        return 2
    if port in (1433, 2222, 2323, 3306, 3389, 5432, 5900, 5985, 5986):
        return 2
    if port in (67, 68, 69, 123, 137, 138, 161, 162, 546, 547, 1900, 3702, 5350, 5351, 5353, 5355, 17500):
        return 3
    return 4 if port < 1024 else 5
