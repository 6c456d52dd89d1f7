"""Names of classes: one spelling for each, whatever form of the data sets it was read from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from models.training.flows.table import BENIGN

#: By the letters and digits of a label in lower case.  2017 and corrected, 2018, grouped.
_CLASSES = {
    "benign": BENIGN,
    "normal": BENIGN,
    "normaltraffic": BENIGN,
    "ftppatator": "FTP brute force",
    "ftpbruteforce": "FTP brute force",
    "sshpatator": "SSH brute force",
    "sshbruteforce": "SSH brute force",
    "bruteforce": "Brute force",
    "dosslowloris": "DoS Slowloris",
    "dosattacksslowloris": "DoS Slowloris",
    "dosslowhttptest": "DoS Slowhttptest",
    "dosattacksslowhttptest": "DoS Slowhttptest",
    "doshulk": "DoS Hulk",
    "dosattackshulk": "DoS Hulk",
    "dosgoldeneye": "DoS GoldenEye",
    "dosattacksgoldeneye": "DoS GoldenEye",
    "heartbleed": "Heartbleed",
    "dos": "DoS",
    "ddos": "DDoS",
    "ddosattackloichttp": "DDoS LOIC-HTTP",
    "ddosattacksloichttp": "DDoS LOIC-HTTP",
    "ddosloichttp": "DDoS LOIC-HTTP",
    "ddosattackloicudp": "DDoS LOIC-UDP",
    "ddosloicudp": "DDoS LOIC-UDP",
    "ddosattackhoic": "DDoS HOIC",
    "ddoshoic": "DDoS HOIC",
    "webattackbruteforce": "Web brute force",
    "bruteforceweb": "Web brute force",
    "webattackxss": "Web XSS",
    "bruteforcexss": "Web XSS",
    "webattacksqlinjection": "Web SQL injection",
    "webattacksql": "Web SQL injection",
    "sqlinjection": "Web SQL injection",
    "webattack": "Web attack",
    "webattacks": "Web attack",
    "infiltration": "Infiltration",
    "infilteration": "Infiltration",
    "infiltrationportscan": "Infiltration port scan",
    "infiltrationnmapportscan": "Infiltration port scan",
    "infiltrationdropboxdownload": "Infiltration download",
    "infiltrationcommunicationvictimattacker": "Infiltration communication",
    "portscan": "Port scan",
    "portscanning": "Port scan",
    "bot": "Botnet",
    "bots": "Botnet",
    "botnet": "Botnet",
    "botnetares": "Botnet",
}

_KNOWN = frozenset(_CLASSES.values())

#: What flow tools write where nobody has labelled yet.
_UNLABELLED = {"nolabel", "needmanuallabel", "cic", "unlabelled", "unlabeled"}

_DASHES = re.compile("[\u2010-\u2015\u2212\ufffd\x96\x97]")
_ATTEMPTED = re.compile(r"\s*-\s*attempted\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Named:
    """What a label says."""

    name: str  #: of the class; "" where the label says nothing
    attempted: bool = False  #: the attack was tried and came to nothing
    unlabelled: bool = False  #: a mark of the flow tool, not a label


def named(label: str) -> Named:
    """A label as found in a file; one that is not known keeps its own spelling, dashes made plain."""
    text = " ".join(_DASHES.sub("-", label).split())
    attempted = bool(_ATTEMPTED.search(text))
    text = _ATTEMPTED.sub("", text)
    key = re.sub(r"[^a-z0-9]", "", text.lower())
    if key in ("", "nan"):
        return Named("")
    if key in _UNLABELLED:
        return Named("", unlabelled=True)
    return Named(_CLASSES.get(key, text), attempted)


def is_known(name: str) -> bool:
    """Whether a class is one of the data sets'; a label that is not known names one of its own."""
    return name in _KNOWN


def decoded(text: bytes) -> tuple[str, str]:
    """A cell or header of unknown encoding, and the encoding: UTF-8, else Windows-1252, else Latin-1."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return text.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return text.decode("latin-1"), "latin-1"
