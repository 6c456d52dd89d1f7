"""Places in Table.registers: the few scalars that a table carries from call to call."""

CLOCK = 0  # largest packet time seen, ns
FREE = 1  # flow entries on their free stack
NEXT_DUE = 2  # no flow is due before this time, ns
DUE_CLASSES = 3  # due lists that the clock looks at: all, or all but expiry
# Of a pool: entries given back, then entries that were ever used.
SECONDS = 4
RARE_FLOWS = 6
RARE_DIRECTIONS = 8
# Of a ring: entries that were ever written.
REMINDERS = 10
SIGHTS = 11
COUNT = 12

NEVER = -(2**62)
FAR = 2**62
