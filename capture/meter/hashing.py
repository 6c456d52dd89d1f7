"""Hashes of flow keys: a keyed one for the table, a fixed one for the flow's public id."""

from __future__ import annotations

import numpy as np

from capture.jit import helper, kernel

_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S27 = np.uint64(27)
_S30 = np.uint64(30)
_S31 = np.uint64(31)
_S32 = np.uint64(32)
_MASK32 = np.uint64(0xFFFFFFFF)
_MASK51 = np.uint64((1 << 51) - 1)


@helper
def mix(value):
    """The finaliser of splitmix64: every input bit moves every output bit."""
    value = (value ^ (value >> _S30)) * _M1
    value = (value ^ (value >> _S27)) * _M2
    return value ^ (value >> _S31)


@helper
def combine(state, value):
    return mix((state + _GOLDEN) ^ np.uint64(value))


@helper
def half_products(keys, first, value):
    """Both 32-bit halves of a number times a key each."""
    return keys[first] * (value & _MASK32) + keys[first + 1] * (value >> _S32)


@helper
def tuple_hash(keys, a_hi, a_lo, b_hi, b_lo, ports, protocol):
    """Sum of the pieces of a 5-tuple, each times a secret number; its upper half is the hash.

    Multilinear hashing (Lemire and Kaser 2014): whoever does not know the numbers makes two tuples
    collide with a chance of 2^-32.  The products do not wait for each other, as rounds would.
    """
    ends = half_products(keys, 0, a_lo) + half_products(keys, 2, b_lo)
    ends += half_products(keys, 4, a_hi) + half_products(keys, 6, b_hi)
    return ends + keys[8] * ports + keys[9] * protocol


@helper
def key_hash(keys, tuple_hash, rest):
    """Hash of a flow's key, 32 bits: its tuple and what else is in the key.

    It is not mixed any further: keys in a row then lie in a row of slots, which memory brings faster by a
    fifth than slots anywhere, and chains stay short (of one key in a hundred their mean is above 5).
    """
    return upper_half(tuple_hash + keys[10] * rest)


@helper
def upper_half(sums):
    """The bits of a sum of products that are hashed; the lower ones are not."""
    return np.uint32(sums >> _S32)


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
