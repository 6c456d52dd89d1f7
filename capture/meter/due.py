"""What is due next: each live flow is in the due list of its class, by (flow start, key).  Pure kernels.

A list is doubly linked, and a new flow nearly always belongs at its end; one that is a little out of
order walks back to its place.  A flow that would have to walk far is late: it goes to a heap of its
class, so that times in any order cost the logarithm of their number.  Which of the two a flow is in
changes no order.
"""

from __future__ import annotations

import numpy as np

from capture.jit import helper, inlined
from capture.meter import registers as r
from capture.meter.state import DUE_SECONDS

EXPIRY = len(DUE_SECONDS) - 1
DUE_NS = np.array([int(seconds) * 1_000_000_000 for seconds in DUE_SECONDS], np.int64)

WALK = 32  #: flows that one insertion walks past before its flow is late
_LATE = -2  # in the place of the next flow of a list: this one is in the heap, at `previous`


@helper
def starts_before(flows, dues, first, second):
    """Order of (flow start, key) between two flows; no two flows are equal in it."""
    start, other_start = dues[first].start_ns, dues[second].start_ns
    if start != other_start:
        return start < other_start
    return is_smaller_key(flows[first], flows[second])


@helper
def is_smaller_key(x, y):
    if x.a_hi != y.a_hi:
        return x.a_hi < y.a_hi
    if x.a_lo != y.a_lo:
        return x.a_lo < y.a_lo
    if x.b_hi != y.b_hi:
        return x.b_hi < y.b_hi
    if x.b_lo != y.b_lo:
        return x.b_lo < y.b_lo
    if x.a_port != y.a_port:
        return x.a_port < y.a_port
    if x.b_port != y.b_port:
        return x.b_port < y.b_port
    if x.csv_protocol != y.csv_protocol:
        return x.csv_protocol < y.csv_protocol
    if x.interface != y.interface:
        return x.interface < y.interface
    return x.key_vlan < y.key_vlan


@inlined
def due_insert(table, at, which):
    """Put a flow into due class `which`."""
    flows, dues = table.flows, table.dues
    flows[at].due_class = which
    after = table.due_ends[which, 1]
    steps = 0
    while after >= 0 and steps < WALK and starts_before(flows, dues, at, after):
        after = dues[after].previous
        steps += 1
    if steps == WALK:
        late_insert(flows, dues, table.late[which], table.late_counts, which, at)
    else:
        link_after(table, at, which, after)
    due = dues[at].start_ns + DUE_NS[which]
    if due < table.registers[r.NEXT_DUE] and which < table.registers[r.DUE_CLASSES]:
        table.registers[r.NEXT_DUE] = due


@inlined
def link_after(table, at, which, after):
    """Put a flow behind another one of a list, -1: at its beginning."""
    dues = table.dues
    before = table.due_ends[which, 0] if after < 0 else dues[after].next
    dues[at].previous = after
    dues[at].next = before
    if after < 0:
        table.due_ends[which, 0] = at
    else:
        dues[after].next = at
    if before < 0:
        table.due_ends[which, 1] = at
    else:
        dues[before].previous = at


@inlined
def due_remove(table, at):
    dues = table.dues
    which = table.flows[at].due_class
    before, after = dues[at].previous, dues[at].next
    if after == _LATE:
        late_remove(table.flows, dues, table.late[which], table.late_counts, which, at)
        return
    if before < 0:
        table.due_ends[which, 0] = after
    else:
        dues[before].next = after
    if after < 0:
        table.due_ends[which, 1] = before
    else:
        dues[after].previous = before


@inlined
def first_due(table):
    """The flow that is due first by (due time, flow start, key), or -1; sets NEXT_DUE."""
    best = np.int32(-1)
    best_due = r.FAR
    for which in range(table.registers[r.DUE_CLASSES]):
        at = earliest(table, which, table.due_ends[which, 0])
        if at < 0:
            continue
        due = table.dues[at].start_ns + DUE_NS[which]
        if best < 0 or due < best_due:
            best, best_due = at, due
        elif due == best_due and starts_before(table.flows, table.dues, at, best):
            best = at
    table.registers[r.NEXT_DUE] = best_due
    return best


@inlined
def overdue(table):
    """The flow longest past its expiry, or -1: there is one only where the clock does not sweep."""
    at = earliest(table, EXPIRY, table.due_ends[EXPIRY, 0])
    if at >= 0 and table.dues[at].start_ns + DUE_NS[EXPIRY] <= table.registers[r.CLOCK]:
        return at
    return np.int32(-1)


@inlined
def earliest(table, which, listed):
    """The flow that starts first of the late ones of a class and `listed`, -1: none."""
    if table.late_counts[which] > 0:
        late = table.late[which, 0]
        if listed < 0 or starts_before(table.flows, table.dues, late, listed):
            return late
    return listed


@inlined
def take_in_order(table, heads):
    """Take the flow with the smallest (start, key), or -1, out of the heaps or out of the lists that begin
    at `heads`."""
    best, of = np.int32(-1), 0
    for which in range(len(heads)):
        at = earliest(table, which, heads[which])
        if at >= 0 and (best < 0 or starts_before(table.flows, table.dues, at, best)):
            best, of = at, which
    if best >= 0:
        if table.dues[best].next == _LATE:
            late_remove(table.flows, table.dues, table.late[of], table.late_counts, of, best)
        else:
            heads[of] = table.dues[best].next
    return best


# --- the heap of a class: a binary one, the flow that starts first at 0 ----------------------------


@helper
def late_insert(flows, dues, heap, counts, which, at):
    dues[at].next = _LATE
    counts[which] += 1
    sift_up(flows, dues, heap, counts[which] - 1, at)


@helper
def late_remove(flows, dues, heap, counts, which, at):
    place = dues[at].previous
    counts[which] -= 1
    last = heap[counts[which]]
    if last == at:
        return
    if place > 0 and starts_before(flows, dues, last, heap[(place - 1) // 2]):
        sift_up(flows, dues, heap, place, last)
    else:
        sift_down(flows, dues, heap, counts[which], place, last)


@helper
def sift_up(flows, dues, heap, place, at):
    """Put a flow at a place of the heap or nearer to its top."""
    while place > 0:
        parent = (place - 1) // 2
        if not starts_before(flows, dues, at, heap[parent]):
            break
        set_place(dues, heap, place, heap[parent])
        place = parent
    set_place(dues, heap, place, at)


@helper
def sift_down(flows, dues, heap, count, place, at):
    """Put a flow at a place of the heap or farther from its top."""
    while 2 * place + 1 < count:
        child = 2 * place + 1
        if child + 1 < count and starts_before(flows, dues, heap[child + 1], heap[child]):
            child += 1
        if not starts_before(flows, dues, heap[child], at):
            break
        set_place(dues, heap, place, heap[child])
        place = child
    set_place(dues, heap, place, at)


@helper
def set_place(dues, heap, place, at):
    heap[place] = at
    dues[at].previous = place
