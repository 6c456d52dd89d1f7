"""The service: flow records scored by `models` become incidents, and incidents become alerts."""

__version__ = "0.1.0"
