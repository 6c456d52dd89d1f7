"""Places in Table.registers: the few scalars that a table carries from call to call."""

CLOCK = 0  # largest packet time seen, ns
FREE = 1  # flow entries on their free stack
NEXT_DUE = 2  # no flow is due before this time, ns
STAMP = 3  # writes to the reminder table so far
DUE_CLASSES = 4  # due lists that the clock looks at: all, or all but expiry
# Of a pool: entries given back, then entries that were ever used.
SECONDS = 5
RARE_FLOWS = 7
RARE_DIRECTIONS = 9
COUNT = 11

NEVER = -(2**62)
FAR = 2**62
