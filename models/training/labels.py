"""Labels of captures: who attacked whom, and when.  One JSON object a line, one line a capture."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError

#: Families as labelled by others, and as the network knows them (models.evidence.FAMILIES).
FAMILY_OF = {
    "sweep": "scan",
    "flood": "dos",
    "slow-dos": "dos",
    "http-dos": "dos",
    "reflection": "dos",
    "ddos": "dos",
    "botnet": "c2",
    "malware": "c2",
    "exfiltration": "exfil",
    "exploit": "other",
}

#: Lists of hosts in a label stop here; a longer one (see `*_total`) counts as anybody.
_LISTED = 64

Mask = npt.NDArray[np.bool_]


class Networks:
    """Hosts and networks of a label; words that are neither (`spoofed`, `many`) are left out."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._rows: list[tuple[int, int, int, int]] = []
        for text in texts:
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                continue
            address, bits = int(network.network_address), network.prefixlen
            if network.version == 4:
                address, bits = 0xFFFF_0000_0000 | address, bits + 96
            mask = (1 << 128) - (1 << (128 - bits))
            low = (1 << 64) - 1
            self._rows.append((address >> 64, address & low, mask >> 64, mask & low))

    def __bool__(self) -> bool:
        return bool(self._rows)

    def hold(self, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> Mask:
        """Which addresses, given as halves, are among them."""
        held = np.zeros(high.shape, np.bool_)
        for address_high, address_low, mask_high, mask_low in self._rows:
            held |= ((high & np.uint64(mask_high)) == np.uint64(address_high)) & (
                (low & np.uint64(mask_low)) == np.uint64(address_low)
            )
        return held


@dataclass(frozen=True, slots=True)
class CaptureLabel:
    """What is known of one capture."""

    path: str
    attack: bool
    origin: str  #: data set or laboratory: captures of one are alike
    family: str | None
    attackers: Networks
    victims: Networks
    anybody_attacks: bool  #: more attackers than listed
    anybody_suffers: bool
    start_s: float | None  #: of the attack, epoch seconds
    end_s: float | None
    in_scope: bool  #: the attack shows in the behaviour of flows

    @property
    def located(self) -> bool:
        """Whether it is known where the attack is: without either side any flow may be of it."""
        return bool(self.attackers) or bool(self.victims)

    @property
    def wanted(self) -> Networks:
        """Who must be named: the attackers, where their addresses are their own; else the victims."""
        return self.attackers if self.attackers else self.victims

    def attack_flows(self, records: np.ndarray) -> Mask:
        """Which FLOW_DTYPE records lie between the named sides in the labelled span."""
        if not self.attack:
            return np.zeros(len(records), np.bool_)
        source, destination = halves(records["src"]), halves(records["dst"])
        if not self.attackers or self.anybody_attacks:
            between = self.victims.hold(*source) | self.victims.hold(*destination)
        elif not self.victims or self.anybody_suffers:
            between = self.attackers.hold(*source) | self.attackers.hold(*destination)
        else:
            between = self.attackers.hold(*source) & self.victims.hold(*destination)
            between |= self.victims.hold(*source) & self.attackers.hold(*destination)
        if self.start_s is not None:
            between &= records["end_ns"] >= (self.start_s - 1.0) * 1e9
        if self.end_s is not None:
            between &= records["start_ns"] <= (self.end_s + 1.0) * 1e9
        return between


def halves(addresses: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """(n, 16) addresses as two (n,) numbers each."""
    pairs = np.ascontiguousarray(addresses).view(">u8").reshape(-1, 2).astype(np.uint64)
    return pairs[:, 0], pairs[:, 1]


def read_labels(path: str | os.PathLike[str]) -> list[CaptureLabel]:
    """Labelled captures of kind `attack` or `benign`; TrainingError names file and line."""
    labels = []
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    entry = json.loads(line)
                    if entry["kind"] in ("attack", "benign"):
                        labels.append(_label(entry))
                except KeyError as error:
                    raise TrainingError(
                        f"{path}:{number}: not a capture's label: it has no {error.args[0]!r}"
                    ) from None
                except (ValueError, TypeError, AttributeError) as error:
                    raise TrainingError(f"{path}:{number}: not a capture's label: {error}") from None
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}; labels are one JSON object a line") from None
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path}: not text in UTF-8 ({error.reason}); labels are JSON lines") from None
    if not labels:
        raise TrainingError(f"{path}: no capture of kind attack or benign in it")
    return labels


def labels_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the label file: part of what a bundle says of its training data."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _label(entry: Mapping[str, Any]) -> CaptureLabel:
    family: str | None = entry.get("family")
    return CaptureLabel(
        path=str(entry["path"]),
        attack=entry["kind"] == "attack",
        origin=str(entry.get("origin", "unknown")),
        family=FAMILY_OF.get(family, family) if family else None,
        attackers=Networks(_texts(entry, "attackers")),
        victims=Networks(_texts(entry, "victims")),
        anybody_attacks=int(entry.get("attackers_total") or 0) > _LISTED,
        anybody_suffers=int(entry.get("victims_total") or 0) > _LISTED,
        start_s=_seconds(entry, "attack_start"),
        end_s=_seconds(entry, "attack_end"),
        in_scope=bool(entry.get("in_scope", True)),
    )


def _texts(entry: Mapping[str, Any], key: str) -> list[str]:
    texts = entry.get(key) or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{key} is no list of texts")
    return texts


def _seconds(entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is not None and not isinstance(value, (int, float)):
        raise TypeError(f"{key} is no number of seconds")
    return value
