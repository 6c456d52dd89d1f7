"""Labelled flows of the CICIDS2017 family: read, cleaned, split, brought to [0, 1]."""
