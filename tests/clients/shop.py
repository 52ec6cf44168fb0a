"""A shop for real clients to talk to: HTTP/1.1 by hand, so that every byte of an answer is known.

Usage: shop.py PORT. What /bytes/N and its like hold follows from N (see body_of); /echo gives back what it got.
"""
import asyncio
import base64
import gzip
import hashlib
import sys


def body_of(length, seed="shop"):
    """Bytes that nobody mixes up: a chain of digests."""
    block, pieces, have = hashlib.sha256(seed.encode()).digest(), [], 0
    while have < length:
        pieces.append(block)
        have += len(block)
        block = hashlib.sha256(block).digest()
    return b"".join(pieces)[:length]


async def read_head(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    start, *lines = head[:-4].decode("latin-1").split("\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    method, target, _ = start.split(" ")
    return method, target, fields


async def read_body(reader, fields):
    if "chunked" not in fields.get("transfer-encoding", ""):
        return await reader.readexactly(int(fields.get("content-length", "0")))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        assert await reader.readexactly(2) == b"\r\n"
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return body


def head(status, fields):
    lines = [f"HTTP/1.1 {status} Status", "content-type: application/octet-stream", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(body, status=200, *fields):
    digest = hashlib.sha256(body).hexdigest()
    return head(status, [f"content-length: {len(body)}", f"x-digest: {digest}", *fields])


async def chunked(writer, body, trailer=b""):
    fields = ["transfer-encoding: chunked"] + (["trailer: x-sum"] if trailer else [])
    writer.write(head(200, fields))
    for at in range(0, len(body), 10_000):
        piece = body[at : at + 10_000]
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await writer.drain()
    writer.write(b"0\r\n" + trailer + b"\r\n")


async def websocket(reader, writer, fields):
    key = fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    writer.write(
        "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        f"sec-websocket-accept: {accept}\r\n\r\n".encode()
    )
    while True:
        first, second = await reader.readexactly(2)
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8))
        mask = await reader.readexactly(4)
        data = await reader.readexactly(length)
        mask = (mask * (length // 4 + 1))[:length]
        plain = (int.from_bytes(data) ^ int.from_bytes(mask)).to_bytes(length)
        if length < 126:
            size = bytes([length])
        else:
            size = b"\x7e" + length.to_bytes(2) if length < 65_536 else b"\x7f" + length.to_bytes(8)
        writer.write(bytes([first & 0x8F | (1 if first & 0xF == 9 else 0)]) + size + plain)
        await writer.drain()
        if first & 0xF == 8:
            return


async def answer(reader, writer):
    method, target, fields = await read_head(reader)
    path, _, _ = target.partition("?")
    _, kind, *rest = path.split("/")
    if kind == "ws":
        await websocket(reader, writer, fields)
        return False
    body = await read_body(reader, fields)
    count = int(rest[0]) if rest and rest[0].isdigit() else 0
    data = body_of(count)
    if kind == "echo":
        writer.write(whole(body) + body)
    elif kind == "chunked":
        await chunked(writer, data)
    elif kind == "trailers":
        await chunked(writer, data, b"x-sum: 7\r\n")
    elif kind == "gzip" and "gzip" in fields.get("accept-encoding", ""):
        packed = gzip.compress(data)
        writer.write(head(200, [f"content-length: {len(packed)}", "content-encoding: gzip"]) + packed)
    elif kind == "range" and fields.get("range", "").startswith("bytes="):
        first, last = (int(end) for end in fields["range"][6:].split("-"))
        part = data[first : last + 1]
        writer.write(whole(part, 206, f"content-range: bytes {first}-{last}/{count}") + part)
    elif kind == "none":
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    else:
        writer.write(whole(data) + (b"" if method == "HEAD" else data))
    await writer.drain()
    return True


async def serve(reader, writer):
    try:
        while await answer(reader, writer):
            pass
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), limit=1 << 20)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
