"""An EVE event in words: one sentence, or one line with its time.

Reads any tool's EVE, so no field is taken for granted and nothing unprintable gets through.
"""

from __future__ import annotations

from typing import Any


def sentence(event: dict[str, Any]) -> str:
    """`Port scan: 192.0.2.66 -> 198.51.100.7 and 3 more, 42 flows, score 3.21, incident 0f3a... opened`."""
    alert = _mapping(event.get("alert"))
    metadata = _mapping(alert.get("metadata"))
    parts = [f"{alert.get('signature') or event.get('event_type') or 'event'}: {_who(event, metadata)}"]
    flows = first(metadata, "flows")
    if flows:
        parts.append(f"{flows} flow" + ("" if flows == "1" else "s"))
    score = first(metadata, "score")
    if score:
        parts.append(f"score {score}")
    incident = first(metadata, "incident_id")
    if incident:
        parts.append(f"incident {incident} {first(metadata, 'incident_state')}".rstrip())
    return printable(", ".join(parts))


def alert_line(event: dict[str, Any]) -> str:
    """The sentence with its time and severity before and the strongest evidence after it."""
    alert = _mapping(event.get("alert"))
    metadata = _mapping(alert.get("metadata"))
    time = short_time(event.get("timestamp"))
    severity = alert.get("severity", "-")
    evidence = first(metadata, "evidence")
    return printable(f"{time}  [{severity}]  {sentence(event)}" + (f" ({evidence})" if evidence else ""))


def short_time(timestamp: object) -> str:
    """`2017-07-07T13:00:00.123456+0000` -> `2017-07-07 13:00:00Z`; other zones keep their offset."""
    text = str(timestamp or "-")
    date, _, rest = text.partition("T")
    clock, zone = rest[:8], rest[-5:]
    if not rest:
        return printable(text)
    return printable(f"{date} {clock}" + ("Z" if zone in ("+0000", "-0000") else zone))


def first(metadata: dict[str, Any], key: str) -> str:
    """The first value of a metadata key, or an empty text."""
    values = metadata.get(key)
    return str(values[0]) if isinstance(values, list) and values else ""


def hosts(event: dict[str, Any], metadata: dict[str, Any], key: str, fallback: str) -> str:
    """`192.0.2.1`, or `192.0.2.1 and 41 more`: actors or targets, else the line's own address."""
    named = metadata.get(key)
    if not (isinstance(named, list) and named):
        return str(event.get(fallback) or "-")
    total = first(metadata, f"{key}_total")
    more = (int(total) if total.isdecimal() else len(named)) - 1
    # The address of the flow that crossed, not just whoever came first.
    own = event.get(fallback)
    shown = str(own) if own in named else str(named[0])
    return f"{shown} and {more} more" if more > 0 else shown


def counted(number: int, noun: str) -> str:
    """`1 packet`, `1,234 packets`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Control characters, escape sequences among them, become blanks."""
    return "".join(c if c.isprintable() else " " for c in text)


def _who(event: dict[str, Any], metadata: dict[str, Any]) -> str:
    actor = hosts(event, metadata, "actors", "src_ip")
    target = hosts(event, metadata, "targets", "dest_ip")
    return f"{actor} -> {target}"


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


#: Why packets are not metered, by the name of the counter.
NOT_METERED = {
    "arp": "ARP",
    "not_ip": "not IP",
    "truncated": "cut before the headers end",
    "malformed": "malformed",
    "ipv6": "IPv6",
    "other_protocols": "neither TCP nor UDP",
    "fragments": "later fragments",
    "link_type": "of a link type that is not read",
}
