"""Window scores to evidence per host, and to findings: one interface for all kinds of evidence.

A host's evidence is the network's logit plus the weight times its most unusual counter.  The logit
counts no more than `target_cap` on target streams, because busy servers look like victims.  A
counter's evidence is the rarity of its value: -log10 of the share of benign captures that reach it.
What decides is the mean of a window's evidence and its moving average over the stream: fast for a
burst, forgiving of one odd window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.window_columns import COUNTER_NAMES, WINDOW
from models.windows import WindowBatch

Floats = npt.NDArray[np.float64]

#: What the family head and the counters name, in the order of the head's outputs.
FAMILIES = ("scan", "bruteforce", "dos", "c2", "exfil", "tunnel", "web", "other")

ROLES = ("actor", "target")

_TOLD_FROM = 1.0  # a counter is named when at most one benign capture in ten reaches its value
_USUAL = 0.1  # "usual: below" is what this share of benign captures reaches
_RESTS = 3  # the third highest benign value starts the tail


@dataclass(frozen=True, slots=True)
class CounterRule:
    """Which counter is evidence, on which streams, and what it says in words."""

    name: str  #: of COUNTER_NAMES
    role: str | None  #: "actor", "target", or None for both
    family: str
    text: str  #: with {value}


#: The calibrated counters: what a plain threshold would look at.
RULES: tuple[CounterRule, ...] = (
    CounterRule("failed_pairs_60", "actor", "scan", "failed connections to {value} services in 60 s"),
    CounterRule("trw", "actor", "scan", "first contacts that fail, sequential test at {value}"),
    CounterRule("login_pair_60", None, "bruteforce", "{value} tries at one login service in 60 s"),
    CounterRule("oneway_packets_10", None, "dos", "{value} unanswered packets in 10 s"),
    CounterRule("dns_packets_600", "actor", "tunnel", "{value} DNS packets in 600 s"),
    CounterRule("dns_bytes_fwd_60", "actor", "tunnel", "{value} bytes in DNS queries in 60 s"),
    CounterRule("packets_fwd_10", "target", "dos", "{value} packets towards the host in 10 s"),
    CounterRule("icmp_bytes_60", None, "dos", "{value} bytes of ICMP in 60 s"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A window at which a host's evidence was above the threshold."""

    time_ns: int  #: packet time of the decision
    role: str  #: which stream of the host: "actor" or "target"
    host: bytes  #: 16 bytes, IPv4 as ::ffff:a.b.c.d
    score: float
    threshold: float
    family: str  #: of FAMILIES
    family_share: float  #: 0 to 1
    evidence: tuple[str, ...]  #: sentences, strongest first
    counterparts: tuple[tuple[bytes, int], ...]  #: other sides among the rows, most frequent first
    flow: np.void  #: the FLOW_DTYPE record that made the window due
    flows: int  #: rows of the window


@dataclass(frozen=True, slots=True)
class Terms:
    """What one kind of evidence adds to B windows."""

    score: Floats  #: (B,)
    family: npt.NDArray[np.int64]  #: (B,) index of FAMILIES
    share: Floats  #: (B,) how sure it is of the family, 0 to 1


class Evidence(Protocol):
    """A kind of evidence: something added to the score, and said."""

    def weigh(self, batch: WindowBatch, logits: Floats, families: Floats) -> Terms: ...

    def say(self, batch: WindowBatch, logits: Floats, i: int) -> list[tuple[float, str]]:
        """What speaks for an attack in window i: (strength, sentence)."""
        ...


class NetworkEvidence:
    """The network's logit, capped on target streams.

    window: rows that the network sees, the newest.
    """

    def __init__(self, target_cap: float, window: int) -> None:
        self._cap, self._window = target_cap, window

    def weigh(self, batch: WindowBatch, logits: Floats, families: Floats) -> Terms:
        score = np.where(batch.role == 1, np.minimum(logits, self._cap), logits)
        best = families.argmax(axis=1)
        return Terms(score.astype(np.float64), best, families[np.arange(len(best)), best].astype(np.float64))

    def say(self, batch: WindowBatch, logits: Floats, i: int) -> list[tuple[float, str]]:
        if logits[i] <= 0:
            return []
        seen = min(int(batch.n_rows[i]), self._window)
        return [(float(logits[i]), f"network logit {logits[i]:.2f} over {seen} flows")]


class CounterEvidence:
    """The rarity of the most unusual counter, weighted.

    calibration: for each rule the highest value of each benign capture, see `calibrate`.
    """

    def __init__(self, calibration: Sequence[Mapping[str, Any]], weight: float) -> None:
        self._weight = weight
        self._rules: list[CounterRule] = []
        self._columns: list[int] = []
        self._tails: list[Floats] = []
        self._captures: list[int] = []
        for entry in calibration:
            rule = CounterRule(entry["name"], entry["role"], entry["family"], entry["text"])
            self._rules.append(rule)
            self._columns.append(COUNTER_NAMES.index(rule.name))
            self._tails.append(np.asarray(entry["maxima"], np.float64))
            self._captures.append(int(entry["captures"]))
        self._families = np.array([FAMILIES.index(rule.family) for rule in self._rules], np.int64)

    def rarities(self, counters: npt.NDArray[np.float32]) -> Floats:
        """(B, rules): -log10 of the share of benign captures that reach each value.

        counters: (B, C) raw, columns COUNTER_NAMES.
        """
        result = np.zeros((len(counters), len(self._rules)))
        is_actor = counters[:, COUNTER_NAMES.index("is_actor")] > 0
        for i, rule in enumerate(self._rules):
            values = counters[:, self._columns[i]].astype(np.float64)
            result[:, i] = rarity(values, self._tails[i], self._captures[i])
            if rule.role is not None:
                result[is_actor != (rule.role == "actor"), i] = 0.0
        return result

    def scores(self, counters: npt.NDArray[np.float32]) -> Floats:
        """(B,): the weight times the most unusual counter of each window."""
        return self._weight * self.rarities(counters).max(axis=1, initial=0.0)

    def weigh(self, batch: WindowBatch, logits: Floats, families: Floats) -> Terms:
        if not self._rules:
            none = np.zeros(len(batch))
            return Terms(none, none.astype(np.int64), none)
        rarities = self.rarities(batch.counters)
        best = rarities.argmax(axis=1)
        highest = rarities[np.arange(len(best)), best]
        return Terms(self._weight * highest, self._families[best], np.where(highest > 0, 1.0, 0.0))

    def say(self, batch: WindowBatch, logits: Floats, i: int) -> list[tuple[float, str]]:
        said = []
        one = self.rarities(batch.counters[i : i + 1])[0]
        for k in np.argsort(-one, kind="stable"):
            if one[k] < _TOLD_FROM:
                break
            tail = self._tails[k]
            usual = tail[min(len(tail) - 1, int(_USUAL * self._captures[k]))]
            text = self._rules[k].text.format(value=_number(batch.counters[i, self._columns[k]]))
            said.append((float(self._weight * one[k]), f"{text} (usual: below {_number(usual)})"))
        return said


def rarity(values: Floats, maxima: Floats, captures: int) -> Floats:
    """-log10 of the share of `captures` whose maximum reaches each value.

    maxima: highest value of each benign capture, descending.  Beyond the third highest there is
    nothing to count, so the rarity goes on with the logarithm of the ratio to it.
    """
    ascending = maxima[::-1]
    reached = len(maxima) - np.searchsorted(ascending, values, side="left")
    floor = min(_RESTS, captures)
    counted = -np.log10(np.maximum(reached, floor) / captures)
    third = max(float(maxima[min(_RESTS, len(maxima)) - 1]), 1e-6)
    beyond = np.log10(np.maximum(values, third) / third)
    return np.where(
        values > third, -np.log10(floor / captures) + beyond, np.minimum(counted, -np.log10(floor / captures))
    )


def calibrate(maxima: Mapping[str, Floats], rules: Sequence[CounterRule] = RULES) -> list[dict[str, Any]]:
    """Calibration of the counters from the highest value of each benign capture, by `rule.name`."""
    return [
        {
            "name": rule.name,
            "role": rule.role,
            "family": rule.family,
            "text": rule.text,
            "captures": len(maxima[rule.name]),
            "maxima": [round(float(v), 4) for v in sorted(np.maximum(maxima[rule.name], 0.0), reverse=True)],
        }
        for rule in rules
    ]


class HostEvidence:
    """Evidence of every host stream over time.

    calibration: `threshold`, `target_cap`, `counter_weight`, `average` and `counters` (see
        `calibrate`), as the bundle holds them.
    capacity: streams of the window table.
    threshold: instead of the calibration's.
    window: rows that the network sees.
    """

    def __init__(
        self,
        calibration: Mapping[str, Any],
        *,
        capacity: int,
        threshold: float | None = None,
        window: int = WINDOW,
    ) -> None:
        self.threshold = float(calibration["threshold"]) if threshold is None else threshold
        self._average = float(calibration["average"])
        self._kinds: list[Evidence] = [
            NetworkEvidence(float(calibration["target_cap"]), window),
            CounterEvidence(calibration["counters"], float(calibration["counter_weight"])),
        ]
        self._mean = np.zeros(capacity)
        self._generation = np.zeros(capacity, np.uint32)

    def decide(self, batch: WindowBatch, logits: Floats, families: Floats) -> tuple[Floats, list[Terms]]:
        """What decides, (B,), in order; moves the averages of the batch's streams on."""
        terms = [kind.weigh(batch, logits, families) for kind in self._kinds]
        total = np.sum([term.score for term in terms], axis=0)
        decisions = np.empty(len(batch))
        for i, (stream, generation) in enumerate(zip(batch.stream, batch.generation, strict=True)):
            if self._generation[stream] != generation:
                self._generation[stream] = generation
                self._mean[stream] = total[i]
            else:
                self._mean[stream] += self._average * (total[i] - self._mean[stream])
            decisions[i] = (total[i] + self._mean[stream]) / 2
        return decisions, terms

    def update(
        self, batch: WindowBatch, logits: Floats, families: Floats, records: np.ndarray
    ) -> list[Finding]:
        """Findings of a batch; `records` are those that the windows were made from."""
        decisions, terms = self.decide(batch, logits, families)
        return [
            self._finding(batch, logits, terms, decisions, i, records)
            for i in np.flatnonzero(decisions > self.threshold)
        ]

    def _finding(
        self,
        batch: WindowBatch,
        logits: Floats,
        terms: Sequence[Terms],
        decisions: Floats,
        i: int,
        records: np.ndarray,
    ) -> Finding:
        votes = np.zeros(len(FAMILIES))
        for term in terms:
            votes[term.family[i]] += max(term.score[i], 0.0) * term.share[i]
        family = int(votes.argmax())
        said = sorted((s for kind in self._kinds for s in kind.say(batch, logits, i)), reverse=True)
        return Finding(
            time_ns=int(batch.time_ns[i]),
            role=ROLES[batch.role[i]],
            host=_address(batch.host[i]),
            score=float(decisions[i]),
            threshold=self.threshold,
            family=FAMILIES[family],
            family_share=float(votes[family] / votes.sum()) if votes.sum() > 0 else 0.0,
            evidence=tuple(text for _, text in said),
            counterparts=_counterparts(batch.peers[i], batch.flows[i]),
            flow=records[batch.record[i]].copy(),
            flows=int(batch.n_rows[i]),
        )


def _counterparts(
    peers: npt.NDArray[np.uint64], flows: npt.NDArray[np.uint64]
) -> tuple[tuple[bytes, int], ...]:
    """The other sides of the rows with their numbers, most frequent first, then by address."""
    counts: dict[bytes, int] = {}
    for peer in peers[flows != 0]:
        address = _address(peer)
        counts[address] = counts.get(address, 0) + 1
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _address(halves: npt.NDArray[np.uint64]) -> bytes:
    return halves.astype(">u8").tobytes()


def _number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"
