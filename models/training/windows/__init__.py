"""Fitting the daemon's network: labelled records of captures to windows, windows to a model."""
