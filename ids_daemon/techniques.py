"""Attack family -> MITRE ATT&CK technique (Enterprise, v18)."""

from __future__ import annotations

import numpy as np

_TCP, _UDP = 6, 17

#: Every technique that an alert may name.
NAMES = {
    "T1018": "Remote System Discovery",
    "T1046": "Network Service Discovery",
    "T1048": "Exfiltration Over Alternative Protocol",
    "T1071": "Application Layer Protocol",
    "T1071.004": "DNS",
    "T1095": "Non-Application Layer Protocol",
    "T1110": "Brute Force",
    "T1190": "Exploit Public-Facing Application",
    "T1498": "Network Denial of Service",
    "T1499": "Endpoint Denial of Service",
    "T1572": "Protocol Tunneling",
    "T1595.001": "Scanning IP Blocks",
}

_FIXED = {"bruteforce": "T1110", "exfil": "T1048", "tunnel": "T1572", "web": "T1190"}


def technique_of(family: str, actor_inside: bool, flow: np.void) -> str | None:
    """The technique id of an alert, or None where the family says too little (`other`).

    Looking around is discovery from inside and reconnaissance from outside.  `flow`, the FLOW_DTYPE
    record of the alert, tells a command channel's carrier, and a flood of the line (unanswered, or
    without connections) from an exhausted service.
    """
    if family in ("scan", "sweep"):
        if not actor_inside:
            return "T1595.001"
        return "T1046" if family == "scan" else "T1018"
    if family in ("c2", "botnet"):
        if flow["protocol"] not in (_TCP, _UDP):
            return "T1095"
        return "T1071.004" if flow["dst_port"] == 53 else "T1071"
    if family == "dos":
        answered = flow["protocol"] == _TCP and flow["answer_ns"] != 0
        return "T1499" if answered else "T1498"
    return _FIXED.get(family)
