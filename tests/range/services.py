"""The servers of the range: each a real program, configured to live in the lab's work folder."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from tests.range.lab import ADDRESSES, NAS, SERVERS, Lab, run

PEERS = str(Path(__file__).with_name("peers.py"))
DOMAIN = "range.example"
TUNNEL_DOMAIN = f"t.{DOMAIN}"
TUNNEL_SECRET = "range"
TUNNEL_SERVER = "10.99.0.1"
CONTROLLER_PORT = 4443
WEB_V6 = SERVERS.addresses[-1].split("/")[0]

#: name and size of what the web servers offer
PAGES = (("index.html", 4_000), ("news.html", 24_000), ("photo.jpg", 90_000), ("update.bin", 700_000))

_WORDS = (
    "gateway",
    "window",
    "packet",
    "harbour",
    "lantern",
    "river",
    "signal",
    "meadow",
    "copper",
    "anchor",
)


def start_all(lab: Lab) -> None:
    """Start every server and wait until all that speak TCP listen."""
    _make_content(lab.work)
    web, nas, shell = ADDRESSES["web"], ADDRESSES["nas"], ADDRESSES["shell"]
    _nginx(lab, SERVERS.name, [web, f"[{WEB_V6}]"])
    _nginx(lab, NAS.name, [nas])
    _sshd(lab, SERVERS.name, shell)
    _sshd(lab, NAS.name, nas)
    _dns(lab)
    _mqtt(lab)
    for command in (("clock", ADDRESSES["clock"]), ("controller", web, str(CONTROLLER_PORT))):
        lab.spawn(SERVERS.name, sys.executable, PEERS, *command, log=command[0])
    listening = {
        f"{web}:80",
        f"{web}:443",
        f"{shell}:22",
        f"{ADDRESSES['resolver']}:53",
        f"{ADDRESSES['broker']}:1883",
        f"{web}:{CONTROLLER_PORT}",
    }
    lab.wait_listening(SERVERS.name, listening)
    lab.wait_listening(NAS.name, {f"{nas}:80", f"{nas}:443", f"{nas}:22"})


def _make_content(work: Path) -> None:
    site = work / "www"
    site.mkdir(exist_ok=True)
    words = random.Random(1)
    for name, size in PAGES:
        text = " ".join(words.choices(_WORDS, k=size // 4))
        (site / name).write_text(text[:size])
    (work / "htpasswd").write_text("admin:" + run("openssl", "passwd", "-apr1", "correct horse"))
    certificate = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN=www.{DOMAIN}")
    run("openssl", "req", *certificate, "-keyout", str(work / "tls.key"), "-out", str(work / "tls.pem"))
    for key in ("host_key", "user_key"):
        (work / key).unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / key))


def _nginx(lab: Lab, host: str, addresses: list[str]) -> None:
    work = lab.work
    scratch = work / f"nginx-{host}"
    scratch.mkdir(exist_ok=True)
    listen = " ".join(f"listen {address}:80; listen {address}:443 ssl;" for address in addresses)
    # Everything nginx writes by default under /var and /run is moved into its scratch folder.
    temporary = " ".join(
        f"{kind}_temp_path {scratch}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (scratch / "nginx.conf").write_text(f"""
daemon off; user root; worker_processes 1; pid {scratch}/pid; error_log {scratch}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; {temporary}
  server {{
    {listen} root {work}/www;
    ssl_certificate {work}/tls.pem; ssl_certificate_key {work}/tls.key;
    location /private/ {{ auth_basic closed; auth_basic_user_file {work}/htpasswd; }}
  }}
}}
""")
    lab.spawn(host, "nginx", "-c", str(scratch / "nginx.conf"), "-e", "stderr", log=f"nginx-{host}")


def _sshd(lab: Lab, host: str, address: str) -> None:
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's compiled-in folder for privilege separation
    config = lab.work / f"sshd-{host}.conf"
    # Keys open the door, no password does: a guesser fails however long it tries.
    config.write_text(f"""ListenAddress {address}
HostKey {lab.work}/host_key
AuthorizedKeysFile {lab.work}/user_key.pub
PermitRootLogin prohibit-password
PasswordAuthentication yes
UsePAM no
StrictModes no
MaxStartups 100
PidFile none
Subsystem sftp internal-sftp
""")
    lab.spawn(host, "/usr/sbin/sshd", "-D", "-e", "-f", str(config), log=f"sshd-{host}")


def _dns(lab: Lab) -> None:
    """A resolver that knows the range's names and hands the tunnel's domain to its server."""
    resolver = ADDRESSES["resolver"]
    names = {
        DOMAIN: ADDRESSES["web"],
        f"broker.{DOMAIN}": ADDRESSES["broker"],
        f"nas.{DOMAIN}": ADDRESSES["nas"],
    }
    records = [f"--address=/{name}/{address}" for name, address in names.items()]
    options = ["--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--no-hosts"]
    bind = [f"--listen-address={resolver}", "--bind-interfaces", "--pid-file="]
    tunnel = f"--server=/{TUNNEL_DOMAIN}/{resolver}#5300"
    ipv6 = f"--address=/{DOMAIN}/{WEB_V6}"
    lab.spawn(SERVERS.name, "dnsmasq", *options, *bind, *records, ipv6, tunnel, log="dnsmasq")
    iodined = ["iodined", "-f", "-c", "-P", TUNNEL_SECRET, "-p", "5300", "-l", resolver]
    lab.spawn(SERVERS.name, *iodined, TUNNEL_SERVER, TUNNEL_DOMAIN, log="iodined")


def _mqtt(lab: Lab) -> None:
    config = lab.work / "mosquitto.conf"
    config.write_text(f"listener 1883 {ADDRESSES['broker']}\nallow_anonymous true\nuser root\n")
    lab.spawn(SERVERS.name, "mosquitto", "-c", str(config), log="mosquitto")
