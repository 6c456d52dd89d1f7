"""Record a labelled capture of the range, seen on the LAN side of its gateway.

    sudo .venv/bin/python -m tests.range.record --out DIR [--seconds N] [--seed S]
        [--only TECHNIQUE-OR-FAMILY,...] [--benign-only] [--pause S] [--snaplen BYTES]

Every client works all the time: web, DNS, NTP, ssh, MQTT, downloads.  Attacks come one after the
other with pauses, each once: those of --only in the order given, without it all in an order drawn
from the seed.  The recording lasts --seconds, longer where the attacks need it.

DIR receives lan.pcapng.zst, labels.jsonl (one attack a line: start, end, family, technique,
attackers, victims, packets), sessions.jsonl (the benign sessions) and work/ (every program's log).
The seed fixes who does what in which order, not the timing of the packets.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from tests.range import behaviours, packetfile, services
from tests.range.behaviours import ATTACKS, Attack
from tests.range.lab import ADDRESSES, Lab, RangeError

SETTLE_SECONDS = 1.0  #: a label goes on this long after its tool ended: the last answers
DRAIN_SECONDS = 1.5  #: until tcpdump has seen the last packets: libpcap hands a block over after 1 s
MEAN_GAP_SECONDS = 1.2  #: between the sessions of a client


class Recorder:
    """Runs the clients and the attacks in a lab and keeps their labels."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab = lab
        self.seed = seed
        self.labels: list[dict[str, Any]] = []
        self.sessions: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._guard = threading.Lock()  # spawn keeps a list of processes

    def benign(self, seconds: float) -> None:
        """Let the clients work for a while."""
        self._stop.wait(seconds)

    def attack(self, attack: Attack) -> None:
        """Run one attack to its end and note its label."""
        start = time.time()
        code = self._run(attack.attacker, behaviours.command_of(attack), attack.seconds, attack.technique)
        time.sleep(SETTLE_SECONDS)
        label = {
            "start": round(start, 3),
            "end": round(time.time(), 3),
            "family": attack.family,
            "technique": attack.technique,
            "attackers": [] if attack.spoofed else [ADDRESSES[attack.attacker]],
            "victims": [ADDRESSES[name] for name in attack.victims],
        }
        self.labels.append(label)
        print(f"{attack.family:12}{attack.technique:18}{attack.attacker:10}exit code {code}", flush=True)

    @contextmanager
    def clients_working(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._client, args=(name,)) for name in behaviours.CLIENT_NAMES]
        try:
            for thread in threads:
                thread.start()
            yield
        finally:
            self._stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(behaviours.SESSION_SECONDS + 5)

    def _client(self, name: str) -> None:
        rng = random.Random(f"{self.seed} {name}")
        while not self._stop.wait(rng.expovariate(1 / MEAN_GAP_SECONDS)):
            session, line = behaviours.choose_session(rng, name)
            start = time.time()
            code = self._run(name, line, behaviours.SESSION_SECONDS, None)
            row = {"start": round(start, 3), "end": round(time.time(), 3), "client": ADDRESSES[name]}
            self.sessions.append(row | {"session": session, "exit_code": code})

    def _run(self, host: str, line: str, seconds: float, log: str | None) -> int:
        with self._guard:
            process = self.lab.spawn(host, "timeout", "-k", "1", str(seconds), "bash", "-c", line, log=log)
        return process.wait(seconds + 5)


@contextmanager
def capturing(lab: Lab, path: Path, snaplen: int) -> Iterator[None]:
    """tcpdump on the gateway's LAN bridge; RangeError when it lost packets."""
    options = ["-Z", "root", "-n", "-s", str(snaplen), "-B", "65536", "--time-stamp-precision=micro"]
    log = lab.work / "tcpdump.log"
    process = lab.spawn("gw", "tcpdump", "-i", "lan", *options, "-w", str(path), log="tcpdump")
    end = time.monotonic() + 10
    while "listening on" not in log.read_text():
        if process.poll() is not None or time.monotonic() > end:
            raise RangeError(f"tcpdump did not start: {log.read_text().strip()}")
        time.sleep(0.05)
    try:
        yield
    finally:
        time.sleep(DRAIN_SECONDS)
        process.send_signal(signal.SIGINT)
        process.wait(20)
    dropped = re.search(r"(\d+) packets dropped by kernel", log.read_text())
    if dropped is None or int(dropped[1]):
        raise RangeError(f"tcpdump lost packets: {log.read_text().strip()}")


def record(out: Path, seconds: float, seed: int, attacks: list[Attack], pause: float, snaplen: int) -> int:
    """Record into `out`; returns the number of attacks that left no packet in their label's span."""
    work = out / "work"
    shutil.rmtree(work, ignore_errors=True)
    raw = work / "lan.pcap"
    rng = random.Random(seed)
    with Lab(work) as lab:
        (lab.work / "words.txt").write_text(behaviours.words(rng))
        services.start_all(lab)
        recorder = Recorder(lab, seed)
        with capturing(lab, raw.resolve(), snaplen):
            began = time.monotonic()
            with recorder.clients_working():
                for attack in attacks:
                    recorder.benign(pause * rng.uniform(0.8, 1.2))
                    recorder.attack(attack)
                recorder.benign(max(pause if attacks else 0.0, began + seconds - time.monotonic()))
    packets = packetfile.read_pcap(raw)
    raw.unlink()
    for label in recorder.labels:
        span = (label["start"], label["end"])
        label["packets"] = packetfile.count_between(packets, label["attackers"], label["victims"], *span)
    packetfile.write_pcapng(out / "lan.pcapng.zst", packets, snaplen)
    _write_lines(out / "labels.jsonl", recorder.labels)
    _write_lines(out / "sessions.jsonl", sorted(recorder.sessions, key=lambda row: row["start"]))
    failed = sum(1 for row in recorder.sessions if row["exit_code"])
    print(f"{len(packets)} packets, {len(recorder.sessions)} benign sessions ({failed} with an exit code)")
    silent = [label["technique"] for label in recorder.labels if not label["packets"]]
    if silent:
        print(
            f"no packet in the capture from: {', '.join(silent)}; see their logs in {work}", file=sys.stderr
        )
    return len(silent)


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def choose_attacks(only: list[str] | None, seed: int) -> list[Attack]:
    """The attacks named, in that order; all in a drawn order when none is; RangeError for unknown names."""
    if only is None:
        return random.Random(seed).sample(ATTACKS, len(ATTACKS))
    chosen: list[Attack] = []
    for name in only:
        found = [attack for attack in ATTACKS if name in (attack.technique, attack.family)]
        if not found:
            known = sorted({attack.technique for attack in ATTACKS} | {attack.family for attack in ATTACKS})
            raise RangeError(f"no attack named {name!r}; there are: {' '.join(known)}")
        chosen += found
    return chosen


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(143)  # an exception, so that the lab is removed


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="record", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAME,...")
    parser.add_argument("--benign-only", action="store_true")
    parser.add_argument("--pause", type=float, default=8, help="mean pause between attacks in seconds")
    parser.add_argument("--snaplen", type=int, default=128)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        attacks = [] if args.benign_only else choose_attacks(args.only, args.seed)
        args.out.mkdir(parents=True, exist_ok=True)
        return 1 if record(args.out, args.seconds, args.seed, attacks, args.pause, args.snaplen) else 0
    except RangeError as error:
        print(f"record: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
