"""Packets to flow records: decode, flow table, per-flow statistics, expiry, snapshots."""

from capture.meter.meter import FlowMeter
from capture.meter.stats import MeterStats

__all__ = ["FlowMeter", "MeterStats"]
