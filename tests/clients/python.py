"""httpx, aiohttp, websockets and curl against a running instance.

Usage: python.py PORT CA. Prints one JSON object per client and case.
"""
import asyncio
import json
import ssl
import sys
import tempfile

import aiohttp
import httpx
import websockets

from shop import body_of

HOST = "localhost"
SIZES = {"0 B": 0, "1 B": 1, "16 KiB": 16 << 10, "1 MiB": 1 << 20}
AT_ONCE = 100


def same(got, wanted):
    assert got == wanted, f"{len(got)} bytes are not the {len(wanted)} that were meant"


class Httpx:
    def __init__(self, base, context, http2):
        limits = httpx.Limits(max_connections=20)
        self.name = "httpx " + ("h2" if http2 else "h1")
        self.version = "HTTP/2" if http2 else "HTTP/1.1"
        self.client = httpx.AsyncClient(
            http1=not http2, http2=http2, verify=context, base_url=base, timeout=60, limits=limits
        )

    async def ask(self, method, path, body=None, fields=()):
        answer = await self.client.request(method, path, content=body, headers=dict(fields))
        assert answer.http_version == self.version, answer.http_version
        return answer.status_code, answer.headers, answer.content

    async def close(self):
        await self.client.aclose()


class Aiohttp:
    name = "aiohttp h1"

    def __init__(self, base, context):
        self.base = base
        self.client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=20))

    async def ask(self, method, path, body=None, fields=()):
        async with self.client.request(method, self.base + path, data=body, headers=dict(fields)) as answer:
            return answer.status, answer.headers, await answer.read()

    async def close(self):
        await self.client.close()


class Curl:
    def __init__(self, base, ca, http2):
        self.name, self.base, self.ca = "curl " + ("h2" if http2 else "h1"), base, ca
        self.version = ["--http2", "2"] if http2 else ["--http1.1", "1.1"]
        self.gate = asyncio.Semaphore(20)

    async def ask(self, method, path, body=None, fields=()):
        flag, version = self.version
        command = ["curl", "-sS", "--compressed", "--cacert", self.ca, flag, "-X", method, "-m", "60"]
        command += ["-w", "%{stderr}%{http_version} %{http_code}", self.base + path]
        command += ["-I"] if method == "HEAD" else []
        for name, value in fields:
            command += ["-H", f"{name}: {value}"]
        with tempfile.NamedTemporaryFile() as file:
            if body is not None:
                if hasattr(body, "__aiter__"):
                    body = b"".join([piece async for piece in body])
                    command += ["-H", "transfer-encoding: chunked"] if version == "1.1" else []
                file.write(body)
                file.flush()
                command += ["--data-binary", f"@{file.name}", "-H", "content-type: application/octet-stream"]
            async with self.gate:
                pipe = asyncio.subprocess.PIPE
                process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
                data, said = await process.communicate()
        spoken, _, status = said.decode().partition(" ")
        assert process.returncode == 0 and spoken == version, said
        return int(status), {}, b"" if method == "HEAD" else data

    async def close(self):
        pass


async def pieces(body):
    for at in range(0, len(body), 9_999):
        yield body[at : at + 9_999]


async def fetch(client, path, wanted, status=200, method="GET", body=None, fields=()):
    told, _, got = await client.ask(method, path, body, fields)
    assert told == status, f"status {told}"
    same(got, wanted)


def cases(client):
    for name, size in SIZES.items():
        yield f"GET {name}", fetch(client, f"/bytes/{size}", body_of(size))
    for name, size in SIZES.items():
        body = body_of(size, "echo")
        yield f"POST {name}", fetch(client, "/echo", body, method="POST", body=body)
    size = 1 << 20
    yield "chunked answer", fetch(client, f"/chunked/{size}", body_of(size))
    body = body_of(size, "pieces")
    yield "chunked upload", fetch(client, "/echo", body, method="POST", body=pieces(body))
    yield "gzip", fetch(client, f"/gzip/{size}", body_of(size))
    part, fields = body_of(size)[1000:3000], [("range", "bytes=1000-2999")]
    yield "range", fetch(client, f"/range/{size}", part, status=206, fields=fields)
    yield "HEAD", fetch(client, f"/bytes/{size}", b"", method="HEAD")
    yield "204", fetch(client, "/none", b"", status=204)
    yield "behind trailers", fetch(client, "/trailers/20000", body_of(20_000))
    yield f"{AT_ONCE} at once", mixed(client)


async def mixed(client):
    async def one(number):
        body = body_of(1000 + 137 * number, f"mixed {number}")
        if number % 2:
            await fetch(client, f"/echo?{number}", body, method="POST", body=body)
        else:
            size = 2000 + 211 * number
            await fetch(client, f"/bytes/{size}?{number}", body_of(size))

    await asyncio.gather(*(one(number) for number in range(AT_ONCE)))


async def websocket(port, context):
    async def one(number):
        async with websockets.connect(f"wss://{HOST}:{port}/ws", ssl=context, max_size=None) as socket:
            for size in [0, 1, 125, 126, 65_535, 65_536, 200_000]:
                message = body_of(size, f"ws {number}")
                await socket.send(message)
                same(await socket.recv(), message)
            await socket.send("text")
            assert await socket.recv() == "text"
            await (await socket.ping())

    await asyncio.gather(*(one(number) for number in range(AT_ONCE // 5)))


def told(client, case, error=None):
    print(json.dumps({"client": client, "case": case, "error": error}), flush=True)


async def attempt(client, case, work):
    try:
        await asyncio.wait_for(work, 120)
        told(client, case)
    except Exception as error:
        told(client, case, f"{type(error).__name__}: {error}")


async def main():
    port, ca = sys.argv[1:]
    base = f"https://{HOST}:{port}"
    # One for each: httpx sets what is offered by ALPN on the one it is given.
    context = lambda: ssl.create_default_context(cafile=ca)
    clients = [Httpx(base, context(), False), Httpx(base, context(), True), Aiohttp(base, context())]
    clients += [Curl(base, ca, False), Curl(base, ca, True)]
    for client in clients:
        for name, work in cases(client):
            await attempt(client.name, name, work)
        await client.close()
    await attempt("websockets h1", f"{AT_ONCE // 5} at once", websocket(port, context()))


asyncio.run(main())
