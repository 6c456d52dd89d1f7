"""Packets from the network interfaces of this machine.

Loads nothing by itself: a filter is checked (`bpf`) without the kernels that read rings (`opening`).
"""
