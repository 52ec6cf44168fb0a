"""grpcio against a running instance: TLS in front, HTTP/2 in clear text behind.

Usage: grpc_client.py PORT CA. Prints one JSON object per case.
"""
import json
import queue
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

from shop import body_of

NAME = "grpc.localhost"
AT_ONCE = 100


def wanted(got, meant):
    assert got == meant, f"{got!r:.80} is not {meant!r:.80}"


def refused(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it went through")


class Calls:
    def __init__(self, channel):
        self.channel = channel

    def __getattr__(self, name):
        kinds = {"many": "unary_stream", "broken": "unary_stream", "collect": "stream_unary", "chat": "stream_stream"}
        return getattr(self.channel, kinds.get(name, "unary_unary"))(f"/shop.Calls/{name}")


def unary(calls):
    for size in [0, 1, 16 << 10, 1 << 20]:
        wanted(calls.unary(body_of(size), timeout=20), body_of(size))


def metadata(calls):
    answer, call = calls.unary.with_call(b"x", metadata=[("x-asked", "for this")], timeout=20)
    first, last = dict(call.initial_metadata()), dict(call.trailing_metadata())
    wanted((answer, first.get("x-first"), last.get("x-last")), (b"x", "1", "for this"))
    wanted((last.get("x-raw-bin"), call.code()), (b"\0\xff", grpc.StatusCode.OK))


def deadline(calls):
    assert 15 <= int(calls.deadline(b"", timeout=20)) <= 20
    error = refused(lambda: calls.late(b"", timeout=0.5))
    wanted(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


def statuses(calls):
    for status in list(grpc.StatusCode)[1:]:
        error = refused(lambda: calls.fail(b"%d" % status.value[0], timeout=20))
        wanted((error.code(), error.details()), (status, "no: ärger 100%"))
        wanted(dict(error.trailing_metadata()).get("x-last"), "of a failure")
    error = refused(lambda: calls.unheard_of(b"", timeout=20))
    wanted(error.code(), grpc.StatusCode.UNIMPLEMENTED)


def server_stream(calls):
    for count in [0, 1, 300]:
        meant = [body_of(number * 97, f"many {number}") for number in range(count)]
        wanted(list(calls.many(b"%d" % count, timeout=20)), meant)


def broken_stream(calls):
    call = calls.broken(b"", timeout=20)
    wanted(next(call), b"one")
    wanted(refused(lambda: next(call)).code(), grpc.StatusCode.DATA_LOSS)


def client_stream(calls):
    parts = [body_of(number * 89, f"part {number}") for number in range(200)]
    wanted(calls.collect(iter(parts), timeout=20), b"".join(parts))


def chat(calls):
    """Each message is sent once the one before it has come back."""
    to_send = queue.Queue()
    call = calls.chat(iter(to_send.get, None), timeout=20)
    for number in range(50):
        message = body_of(1 + number * 61, f"chat {number}")
        to_send.put(message)
        wanted(next(call), message)
    to_send.put(None)
    wanted(list(call), [])
    wanted(call.code(), grpc.StatusCode.OK)


def cancelled(calls):
    to_send = queue.Queue()
    call = calls.chat(iter(to_send.get, None), timeout=20)
    to_send.put(b"one")
    wanted(next(call), b"one")
    call.cancel()
    wanted(refused(lambda: next(call)).code(), grpc.StatusCode.CANCELLED)
    to_send.put(None)


def mixed(calls):
    def one(number):
        message = body_of(1000 + 137 * number, f"mixed {number}")
        wanted(calls.unary(message, timeout=60), message)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(AT_ONCE)))


CASES = {
    "unary": unary,
    "metadata and trailers": metadata,
    "deadline": deadline,
    "error statuses": statuses,
    "server stream": server_stream,
    "server stream, broken off": broken_stream,
    "client stream": client_stream,
    "both stream": chat,
    "cancelled": cancelled,
    f"{AT_ONCE} at once": mixed,
}


def main():
    port, ca = sys.argv[1:]
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = [("grpc.ssl_target_name_override", NAME), ("grpc.max_receive_message_length", 8 << 20)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        calls = Calls(channel)
        for name, case in CASES.items():
            error = None
            try:
                case(calls)
            except Exception as caught:
                error = f"{type(caught).__name__}: {caught}"
            print(json.dumps({"client": "grpcio h2", "case": name, "error": error}), flush=True)


main()
