"""The paper's experiment on single flows: fit, search, and Table 1 against other systems."""
