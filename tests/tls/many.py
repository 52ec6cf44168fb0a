"""Starts an instance with many certificates, changes one, and tells what that cost in CPU time."""

import datetime
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

binary, count, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
TICKS = os.sysconf("SC_CLK_TCK")


def write(index):
    """A pair of its own for each shop, written as those who renew certificates do."""
    name = f"shop{index}.example"
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=90))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    leaf = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for path, data in ((f"{index}.key", private), (f"{index}.pem", leaf.public_bytes(pem))):
        (folder / "next").write_bytes(data)
        (folder / "next").chmod(0o600)
        (folder / "next").rename(folder / path)
    return leaf.public_bytes(serialization.Encoding.DER)


def free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def leaf(name):
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", https)) as plain:
        with context.wrap_socket(plain, server_hostname=name) as secured:
            return secured.getpeercert(binary_form=True)


def until(what, done):
    end = time.monotonic() + 300
    while not done():
        if time.monotonic() > end or sidecar.poll() is not None:
            sys.exit(f"not in time: {what}; see {folder / 'tillgate.log'}")
        time.sleep(0.05)


def answers():
    try:
        return bool(leaf("shop0.example"))
    except OSError:
        return False


folder.mkdir(parents=True, exist_ok=True)
for index in range(count):
    if not (folder / f"{index}.pem").exists():
        write(index)
https, admin, shop = free(), free(), free()
pairs = "".join(f'[[certificate]]\nchain = "{i}.pem"\nkey = "{i}.key"\n' for i in range(count))
(folder / "tillgate.toml").write_text(f"""data_dir = "data"
[admin]
listen = "127.0.0.1:{admin}"
[log]
access = "off"
[[listen]]
address = "127.0.0.1:{https}"
tls = true
{pairs}[[site]]
hosts = ["*.example"]
upstreams = ["http://127.0.0.1:{shop}"]
""")
log = open(folder / "tillgate.log", "wb")
sidecar = subprocess.Popen([binary, "run", "--config", folder / "tillgate.toml"], stderr=log)
try:
    until("the start", answers)
    print(f"start with {count} certificates: {cpu(sidecar):.2f} s of CPU")
    # What was written just now is read once more, because its stamp says nothing yet.
    before = write(1)
    until("the first reload", lambda: leaf("shop1.example") == before)
    time.sleep(3)
    worst = [0.0]
    stop = threading.Event()

    def handshakes():
        while not stop.is_set():
            begun = time.monotonic()
            leaf("shop2.example")
            worst[0] = max(worst[0], time.monotonic() - begun)
            time.sleep(0.02)

    idle = cpu(sidecar)
    time.sleep(30)
    idle = cpu(sidecar) - idle
    print(f"half a minute of doing nothing: {idle:.2f} s of CPU")
    busy = cpu(sidecar)
    after = write(1)
    until("the reload", lambda: leaf("shop1.example") == after)
    time.sleep(3)
    print(f"a reload with one of them changed: {cpu(sidecar) - busy:.2f} s of CPU")
    other = threading.Thread(target=handshakes)
    other.start()
    after = write(1)
    until("the reload under traffic", lambda: leaf("shop1.example") == after)
    time.sleep(1)
    stop.set()
    other.join()
    print(f"the longest handshake during a reload: {worst[0] * 1000:.0f} ms")
finally:
    sidecar.terminate()
    sidecar.wait()
