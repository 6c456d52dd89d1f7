"""Where alerts go, one file a kind; each behind a queue and a thread of its own."""

from __future__ import annotations

from collections.abc import Callable

from ids_daemon.config import Outputs
from ids_daemon.eve import Event
from ids_daemon.sinks.base import Sink
from ids_daemon.sinks.delivery import Delivery
from ids_daemon.sinks.eve import EveFile
from ids_daemon.sinks.journal import Journal
from ids_daemon.sinks.stdout import Stdout
from ids_daemon.sinks.syslog import Syslog

__all__ = ["Delivery", "EveFile", "Sink", "Sinks", "configured"]


class Sinks:
    """All sinks of a run: every event goes to each."""

    def __init__(self, sinks: list[Sink], capacity: int, tell: Callable[[str], None]) -> None:
        self._deliveries = [Delivery(sink, capacity, tell) for sink in sinks]

    def put(self, event: Event) -> None:
        for delivery in self._deliveries:
            delivery.put(event)

    def put_stats(self, event: Event) -> None:
        """Counters as an event: for EVE files, where Suricata has them, and for nobody else."""
        for delivery in self._deliveries:
            if isinstance(delivery.sink, EveFile):
                delivery.put(event)

    def reopen(self) -> None:
        for delivery in self._deliveries:
            delivery.reopen()

    def close(self) -> None:
        for delivery in self._deliveries:
            delivery.close()

    def as_dict(self) -> dict[str, dict[str, int]]:
        return {delivery.sink.name: delivery.as_dict() for delivery in self._deliveries}


def configured(outputs: Outputs) -> list[Sink]:
    """The sinks that the configuration asks for.

    ExtraMissing when one needs a package that is not installed.
    """
    sinks: list[Sink] = []
    if outputs.eve.enabled:
        sinks.append(EveFile(outputs.eve.path))
    sinks += [Syslog(output) for output in outputs.syslog]
    if outputs.journal.enabled:
        sinks.append(Journal())
    if outputs.stdout.enabled:
        sinks.append(Stdout(outputs.stdout.format))
    return sinks
