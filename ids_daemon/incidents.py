"""Findings about hosts become incidents: one attack, one incident, a few alerts.

Pure: no clock but packet time, no input or output.  Alerts come out in the order of their packet
time and do not depend on how the findings were batched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from typing import Protocol

import numpy as np

from ids_daemon.addresses import Networks
from ids_daemon.hostlist import HostList
from ids_daemon.signatures import UNNAMED, signature_of, signatures
from ids_daemon.techniques import technique_of

#: Hosts named in an alert on either side; more are counted, not listed.
LISTED_HOSTS = 64

#: A counterpart takes part when it has at least this share of the rows of the most frequent one:
#: all sources of a spoofed flood do, the ordinary clients beside one password guesser do not.
_PART_TAKEN = 0.5

#: A window's family is taken as graver than the incident's so far from this share on.
_SURE_FAMILY = 0.5

_SECOND = 1_000_000_000


class Finding(Protocol):
    """What `models` says of a host whose evidence crossed the threshold: a dataclass, see its Finding."""

    @property
    def time_ns(self) -> int: ...
    @property
    def role(self) -> str: ...
    @property
    def host(self) -> bytes: ...
    @property
    def score(self) -> float: ...
    @property
    def threshold(self) -> float: ...
    @property
    def family(self) -> str: ...
    @property
    def family_share(self) -> float: ...
    @property
    def evidence(self) -> tuple[str, ...]: ...
    @property
    def counterparts(self) -> tuple[tuple[bytes, int], ...]: ...
    @property
    def flow(self) -> np.void: ...
    @property
    def flows(self) -> int: ...


class State(StrEnum):
    OPENED = "opened"
    ESCALATED = "escalated"
    CLOSED = "closed"


class Ending(StrEnum):
    """Why an incident was closed."""

    QUIET = "quiet"  #: no evidence for `quiet` seconds of packet time
    LIMIT = "limit"  #: `max_incidents` were open, and this one had been quiet longest
    END = "end"  #: the capture or the run ended


@dataclass(frozen=True, slots=True)
class Alert:
    """What is told of an incident at one moment: at opening, at escalation, at its close."""

    time_ns: int  #: packet time of the decision
    incident_id: str
    update: int  #: 0, 1, 2, ... within the incident
    state: State
    ending: Ending | None  #: of a CLOSED alert
    family: str
    technique: str | None  #: ATT&CK technique id
    score: float  #: the highest so far
    threshold: float
    actors: tuple[bytes, ...]  #: at most LISTED_HOSTS, first seen first
    targets: tuple[bytes, ...]
    actors_total: int
    targets_total: int
    evidence: tuple[str, ...]
    first_seen_ns: int
    last_seen_ns: int
    flows: int  #: at least so many flows are evidence
    flow: np.void  #: the FLOW_DTYPE record that decided
    actor_first: bool  #: the flow's initiator is an actor; else its ends are told the other way round


class Incident:
    """An open incident."""

    def __init__(self, finding: Finding, actors: Sequence[bytes], targets: Sequence[bytes]) -> None:
        self.actors = HostList(actors, LISTED_HOSTS)
        self.targets = HostList(targets, LISTED_HOSTS)
        self.incident_id = _identity(finding)
        self.opening = self.latest = self.strongest = finding
        self.family = _known(finding.family)
        self.updates = 0
        self.flows = finding.flows
        self.last_seen_ns = finding.time_ns
        self.told_severity = signature_of(self.family).severity
        self.told_magnitude = self.magnitude
        self._shares = {self.family: finding.family_share}

    def add(self, finding: Finding, actors: Iterable[bytes], targets: Iterable[bytes]) -> None:
        """Take in more evidence."""
        for host in actors:
            self.actors.add(host)
        for host in targets:
            self.targets.add(host)
        if finding.flow["flow_id"] != self.latest.flow["flow_id"]:
            self.flows += 1
        self.latest = finding
        if finding.score > self.strongest.score:
            self.strongest = finding
        self.last_seen_ns = max(self.last_seen_ns, finding.time_ns)
        self._weigh_family(finding)

    def _weigh_family(self, finding: Finding) -> None:
        """The family with the largest sum of shares, among the gravest ones that were sure once."""
        family = _known(finding.family)
        severity, current = signature_of(family).severity, signature_of(self.family).severity
        if severity < current and finding.family_share >= _SURE_FAMILY:
            self.family = family
        self._shares[family] = self._shares.get(family, 0.0) + finding.family_share
        if severity == current and self._shares[family] > self._shares[self.family]:
            self.family = family

    @property
    def magnitude(self) -> int:
        """Powers of ten reached: 1 from 10 targets, 10 actors or 100 flows, 2 from 100, 100 or 1000."""
        return max(
            _power_of_ten(self.targets.total),
            _power_of_ten(self.actors.total),
            _power_of_ten(self.flows) - 1,
        )

    def is_graver(self) -> bool:
        """Graver or larger by a power of ten than when last told."""
        return signature_of(self.family).severity < self.told_severity or self.magnitude > self.told_magnitude


@dataclass(slots=True)
class IncidentStats:
    """findings = opened + joined; opened = closed_quiet + closed_limit + closed_end + those open."""

    findings: int = 0
    opened: int = 0
    joined: int = 0
    escalated: int = 0
    closed_quiet: int = 0
    closed_limit: int = 0
    closed_end: int = 0
    open: int = 0

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class Incidents:
    """All open incidents.  Feed findings in the order `models` gives them."""

    def __init__(self, home_networks: Networks, quiet_s: float = 300.0, max_incidents: int = 1024) -> None:
        self._home = home_networks
        self._quiet_ns = round(quiet_s * _SECOND)
        self._limit = max_incidents
        self._now_ns = -(2**63)
        # Longest quiet first: an incident moves to the end with each evidence.
        self._open: dict[str, Incident] = {}
        self._by_actor: dict[bytes, Incident] = {}
        self._by_target: dict[bytes, Incident] = {}
        self.stats = IncidentStats()

    def add(self, finding: Finding) -> Iterator[Alert]:
        """Take a finding; yields the alerts it causes, closings that were due before it first."""
        yield from self.advance(finding.time_ns)
        # Flow records are views of a meter's buffer, which the next ones overwrite.
        finding = replace(finding, flow=finding.flow.copy())  # type: ignore[type-var]
        self.stats.findings += 1
        actors, targets = _sides(finding)
        incident = self._home_of(finding, actors, targets)
        if finding.role == "target":
            actors = self._not_taken(actors, incident)
        if incident is None:
            if len(self._open) == self._limit:
                longest_quiet = next(iter(self._open.values()))
                yield self._close(longest_quiet, finding.time_ns, Ending.LIMIT)
            incident = Incident(finding, actors, targets)
            self.stats.opened += 1
            self._index(incident)
            yield self._tell(incident, State.OPENED, finding.time_ns, finding)
            return
        self.stats.joined += 1
        incident.add(finding, actors, targets)
        self._index(incident)
        if incident.is_graver():
            self.stats.escalated += 1
            yield self._tell(incident, State.ESCALATED, finding.time_ns, finding)

    def advance(self, now_ns: int) -> Iterator[Alert]:
        """Packet time has come to `now_ns`: close what has been quiet long enough."""
        self._now_ns = max(self._now_ns, now_ns)
        while self._open:
            incident = next(iter(self._open.values()))
            due_ns = incident.last_seen_ns + self._quiet_ns
            if due_ns > self._now_ns:
                return
            yield self._close(incident, due_ns, Ending.QUIET)

    def finish(self, end_ns: int | None = None) -> Iterator[Alert]:
        """The packets have ended (at `end_ns`): close everything that is open."""
        if end_ns is not None:
            yield from self.advance(end_ns)
        for incident in list(self._open.values()):
            yield self._close(incident, max(self._now_ns, incident.last_seen_ns), Ending.END)

    def _home_of(
        self, finding: Finding, actors: Sequence[bytes], targets: Sequence[bytes]
    ) -> Incident | None:
        """The open incident that a finding belongs to.

        An actor's evidence belongs to the incident of that actor.  A target's belongs to the incident
        of whoever it has most to do with, or to one of the same family that it is a target of: another
        attacker with another attack on the same host is another incident.  A flood has many actors:
        theirs belongs to the flood of their common target.
        """
        if finding.role == "actor":
            incident = self._by_actor.get(finding.host)
            if incident is None and finding.family == "dos" and targets:
                flood = self._by_target.get(targets[0])
                incident = flood if flood is not None and flood.family == "dos" else None
            return incident
        by_counterpart = self._by_actor.get(actors[0]) if actors else None
        by_target = self._by_target.get(finding.host)
        if by_target is not None and by_target.family != _known(finding.family):
            by_target = None
        return by_counterpart or by_target

    def _not_taken(self, actors: list[bytes], incident: Incident | None) -> list[bytes]:
        """Without those that another open incident is about: two attackers at once are two incidents."""
        return [host for host in actors if self._by_actor.get(host) in (None, incident)] or actors

    def _index(self, incident: Incident) -> None:
        """Make the incident the latest one, findable by its listed hosts."""
        self._open.pop(incident.incident_id, None)
        self._open[incident.incident_id] = incident
        for host in incident.actors:
            self._by_actor.setdefault(host, incident)
        for host in incident.targets:
            self._by_target.setdefault(host, incident)
        self.stats.open = len(self._open)

    def _close(self, incident: Incident, time_ns: int, ending: Ending) -> Alert:
        del self._open[incident.incident_id]
        for index, hosts in ((self._by_actor, incident.actors), (self._by_target, incident.targets)):
            for host in hosts:
                if index.get(host) is incident:
                    del index[host]
        self.stats.open = len(self._open)
        counter = f"closed_{ending}"
        setattr(self.stats, counter, getattr(self.stats, counter) + 1)
        return self._tell(incident, State.CLOSED, time_ns, incident.opening, ending)

    def _tell(
        self,
        incident: Incident,
        state: State,
        time_ns: int,
        finding: Finding,
        ending: Ending | None = None,
    ) -> Alert:
        """An alert of the incident as it stands, with the flow of `finding`."""
        closing = state is State.CLOSED
        actors, targets = tuple(incident.actors), tuple(incident.targets)
        actor_first = _actor_first(finding)
        actor = finding.flow["src" if actor_first else "dst"].tobytes()
        incident.told_severity = signature_of(incident.family).severity
        incident.told_magnitude = incident.magnitude
        alert = Alert(
            time_ns=time_ns,
            incident_id=incident.incident_id,
            update=incident.updates,
            state=state,
            ending=ending,
            family=incident.family,
            technique=technique_of(incident.family, actor in self._home, finding.flow),
            score=incident.strongest.score,
            threshold=finding.threshold,
            actors=actors,
            targets=targets,
            actors_total=incident.actors.total,
            targets_total=incident.targets.total,
            evidence=incident.strongest.evidence if closing else finding.evidence,
            first_seen_ns=incident.opening.time_ns,
            last_seen_ns=incident.last_seen_ns,
            flows=incident.flows,
            flow=finding.flow,
            actor_first=actor_first,
        )
        incident.updates += 1
        return alert


def _identity(finding: Finding) -> str:
    """16 hexadecimal digits over what opened the incident: the same in every run."""
    opened = f"{finding.time_ns} {finding.role} {finding.family} {int(finding.flow['flow_id'])} ".encode()
    return blake2b(opened + finding.host, digest_size=8).hexdigest()


def _known(family: str) -> str:
    return family if family in signatures() else UNNAMED


def _sides(finding: Finding) -> tuple[list[bytes], list[bytes]]:
    """(actors, targets) of a finding: the host on its side, the counterparts that take part on the other."""
    most = finding.counterparts[0][1] if finding.counterparts else 0
    others = [host for host, rows in finding.counterparts if rows >= _PART_TAKEN * most]
    others = others or [_other_end(finding)]
    return ([finding.host], others) if finding.role == "actor" else (others, [finding.host])


def _other_end(finding: Finding) -> bytes:
    source = finding.flow["src"].tobytes()
    return finding.flow["dst"].tobytes() if source == finding.host else source


def _actor_first(finding: Finding) -> bool:
    """Whether the flow's initiator is on the actor's side."""
    starts = finding.flow["src"].tobytes() == finding.host
    if finding.flow["dst"].tobytes() == finding.host and not starts:
        return finding.role == "target"
    return starts == (finding.role == "actor")


def _power_of_ten(count: int) -> int:
    return len(str(count)) - 1 if count > 0 else 0
