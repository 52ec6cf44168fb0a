"""The traffic of tests/soak/run: HTTP/1.1 and HTTP/2, uploads, cards, logins, WebSockets, and clients that
leave in the middle, while the shop is killed and started again."""
import asyncio
import collections
import pathlib
import random
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import time

import httpx
import websockets

from shop import body_of

HOST = "localhost"
# What a client may see while its shop is dead, or its login slowed.
EXCUSED = {429, 502, 503, 504}
KILL_EVERY = 20
# How long after a death an answer may still break off.
AFTERMATH = 4


def free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cards(count):
    """Visa numbers of the range of the published test numbers, always the same."""
    dice, found = random.Random(7), []
    while len(found) < count:
        digits = [4, 1, 1, 1, 1, 1] + [dice.randrange(10) for _ in range(9)]
        doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[::2]]
        digits.append(-(sum(doubled) + sum(digits[1::2])) % 10)
        found.append("".join(map(str, digits)))
    return found


class Soak:
    def __init__(self, binary, work):
        self.binary, self.work = binary, work
        self.ports = {name: free() for name in ["shop", "https", "admin"]}
        self.base = f"https://{HOST}:{self.ports['https']}"
        self.counts, self.wrong = collections.Counter(), []
        self.cards = cards(500)
        self.killed = 0.0

    def context(self):
        return ssl.create_default_context(cafile=self.work / "ca.pem")

    def start_shop(self):
        script = pathlib.Path(__file__).parent.parent / "clients/shop.py"
        self.shop = subprocess.Popen(
            [sys.executable, script, str(self.ports["shop"])], stderr=subprocess.DEVNULL
        )

    def start_sidecar(self):
        # Who was locked out by a run before this one would tell nothing.
        shutil.rmtree(self.work / "soak-data", ignore_errors=True)
        config = self.work / "soak.toml"
        config.write_text(f"""data_dir = "soak-data"
[admin]
listen = "127.0.0.1:{self.ports['admin']}"
[log]
access = "off"
[limits]
body = "16MiB"
[[listen]]
address = "127.0.0.1:{self.ports['https']}"
tls = true
[[certificate]]
chain = "ca.pem"
key = "key.pem"
[[site]]
hosts = ["localhost"]
upstreams = ["http://127.0.0.1:{self.ports['shop']}"]
[[site.login]]
path = "/login"
account_field = "email"
""")
        log = open(self.work / "soak.log", "w")
        self.sidecar = subprocess.Popen([self.binary, "run", "--config", config], stderr=log)

    def memory_kib(self):
        status = pathlib.Path(f"/proc/{self.sidecar.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def saw(self, kind, status, sound=True):
        self.counts[status] += 1
        if status not in EXCUSED and not sound:
            self.wrong.append(f"{kind}: {status}")

    async def transfers(self, http2):
        limits = httpx.Limits(max_connections=4)
        options = dict(http1=not http2, http2=http2, verify=self.context(), limits=limits, timeout=60)
        async with httpx.AsyncClient(base_url=self.base, **options) as client:
            while True:
                await self.once("transfer", self.transfer(client))

    async def transfer(self, client):
        size, number = random.choice([0, 1, 1000, 16 << 10, 200_000]), random.randrange(50)
        if random.random() < 0.5:
            body = body_of(size, f"soak {number}")
            answer = await client.post("/echo", content=body)
        else:
            body = body_of(size)
            answer = await client.get(f"/{random.choice(['bytes', 'chunked', 'gzip'])}/{size}")
        self.saw("transfer", answer.status_code, answer.status_code == 200 and answer.content == body)

    async def payments(self):
        async with httpx.AsyncClient(base_url=self.base, http2=True, verify=self.context()) as client:
            while True:
                await self.once("payment", self.payment(client))

    async def payment(self, client):
        card = random.choice(self.cards)
        answer = await client.post("/echo", data={"number": card, "cvv": "123", "amount": "12.50"})
        sound = answer.status_code == 200 and card not in answer.text and "amount=12.50" in answer.text
        self.saw("payment", answer.status_code, sound)

    async def logins(self):
        async with httpx.AsyncClient(base_url=self.base, verify=self.context()) as client:
            while True:
                await self.once("login", self.login(client))
                await asyncio.sleep(0.1)

    async def login(self, client):
        form = {"email": f"user{random.randrange(50)}@shop.example", "password": "wrong"}
        answer = await client.post("/login", data=form)
        self.saw("login", answer.status_code, answer.status_code == 200)

    async def sockets(self):
        while True:
            await self.once("socket", self.socket())

    async def socket(self):
        url = f"wss://{HOST}:{self.ports['https']}/ws"
        async with websockets.connect(url, ssl=self.context(), max_size=None) as client:
            for _ in range(20):
                message = body_of(random.choice([10, 1000, 70_000]), "socket")
                await client.send(message)
                self.saw("socket", 101, await client.recv() == message)

    async def leavers(self):
        """Half a request, or an answer nobody waits for."""
        while True:
            await self.once("leaver", self.leave())
            await asyncio.sleep(0.05)

    async def leave(self):
        port = self.ports["https"]
        _, writer = await asyncio.open_connection(HOST, port, ssl=self.context(), server_hostname=HOST)
        head = f"POST /echo HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 100000\r\n\r\n"
        writer.write((head if random.random() < 0.5 else head[:40]).encode() + b"x" * 30)
        await writer.drain()
        writer.transport.abort()

    async def once(self, kind, work):
        try:
            await asyncio.wait_for(work, 90)
        except (httpx.HTTPError, websockets.WebSocketException, ConnectionError, asyncio.IncompleteReadError) as error:
            # The shop died in the middle of an answer.
            self.counts["broken"] += 1
            if time.monotonic() > self.killed + AFTERMATH:
                self.wrong.append(f"{kind}: {error!r}")
            await asyncio.sleep(0.05)
        except (asyncio.TimeoutError, ssl.SSLError) as error:
            self.wrong.append(f"{kind}: {error!r}")

    async def deaths(self):
        while True:
            await asyncio.sleep(KILL_EVERY)
            self.killed = time.monotonic()
            self.shop.kill()
            self.shop.wait()
            await asyncio.sleep(1)
            self.start_shop()

    async def watch(self, minutes):
        begun, memory = time.monotonic(), []
        for minute in range(1, minutes + 1):
            await asyncio.sleep(begun + 60 * minute - time.monotonic())
            memory.append(self.memory_kib())
            seen = " ".join(f"{what}={count}" for what, count in sorted(self.counts.items(), key=str))
            print(f"{minute:3} min  {memory[-1]:8} KiB  {seen}  wrong={len(self.wrong)}", flush=True)
        return memory

    async def run(self, minutes):
        work = [self.transfers(False) for _ in range(2)] + [self.transfers(True) for _ in range(2)]
        work += [self.payments(), self.logins(), self.sockets(), self.leavers(), self.deaths()]
        tasks = [asyncio.ensure_future(each) for each in work]
        watch = asyncio.ensure_future(self.watch(minutes))
        done, _ = await asyncio.wait([watch, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for each in done:
            each.result()
        return watch.result()


def main():
    minutes, binary, work = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    soak = Soak(binary, work)
    soak.start_shop()
    soak.start_sidecar()
    try:
        for _ in range(100):
            try:
                httpx.get(f"http://127.0.0.1:{soak.ports['admin']}/readyz").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        memory = asyncio.run(soak.run(minutes))
    finally:
        soak.shop.kill()
        soak.sidecar.send_signal(signal.SIGTERM)
        ended = soak.sidecar.wait(60)
    sixth = max(1, minutes // 6)
    warm, end = max(memory[:sixth]), statistics.median(memory[-sixth:])
    growth = 100 * (end - warm) / warm
    for each in soak.wrong[:20]:
        print(each)
    print(f"warm {warm} KiB, end {end:.0f} KiB: {growth:+.1f} %; {len(soak.wrong)} wrong; exit {ended}")
    sys.exit(1 if growth > 5 or soak.wrong or ended else 0)


main()
