"""Hashes of flow keys: a keyed one for the table, a fixed one for the flow's public id."""

from __future__ import annotations

import numpy as np

from capture.jit import kernel

_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S27 = np.uint64(27)
_S30 = np.uint64(30)
_S31 = np.uint64(31)
_MASK51 = np.uint64((1 << 51) - 1)


@kernel
def mix(value):
    """The finaliser of splitmix64: every input bit moves every output bit."""
    value = (value ^ (value >> _S30)) * _M1
    value = (value ^ (value >> _S27)) * _M2
    return value ^ (value >> _S31)


@kernel
def combine(state, value):
    return mix((state + _GOLDEN) ^ np.uint64(value))


@kernel
def key_hash(seed, a_hi, a_lo, b_hi, b_lo, ports, rest):
    """Hash of a flow key, keyed by `seed` so that nobody outside can aim at one chain."""
    state = combine(np.uint64(seed), a_lo)
    state = combine(state, b_lo)
    state = combine(state, a_hi)
    state = combine(state, b_hi)
    return combine(combine(state, ports), rest)


@kernel
def flow_id(src_hi, src_lo, dst_hi, dst_lo, src_port, dst_port, protocol, start_ns):
    """51 bits naming a flow by its content: the same in every run, safe in a JSON number."""
    state = combine(np.uint64(0), src_hi)
    state = combine(state, src_lo)
    state = combine(state, dst_hi)
    state = combine(state, dst_lo)
    state = combine(
        state,
        np.uint64(src_port) << np.uint64(32) | np.uint64(dst_port) << np.uint64(8) | np.uint64(protocol),
    )
    return combine(state, np.uint64(start_ns)) & _MASK51
