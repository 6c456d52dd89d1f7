"""Places in Table.registers: the few scalars that a table carries from call to call."""

CLOCK = 0  # largest packet time seen, ns
FREE = 1  # entries on the free stack
NEXT_DUE = 2  # no flow is due before this time, ns
SEED = 3  # key of the hash
STAMP = 4  # writes to the reminder table so far
DUE_CLASSES = 5  # due lists that the clock looks at: all, or all but expiry
COUNT = 6

NEVER = -(2**62)
FAR = 2**62
