"""A shop that speaks gRPC over clear text HTTP/2. Usage: grpc_shop.py PORT.

Messages are bytes as they are: what is tested is the way, not the encoding. See grpc_client.py for the calls.
"""
import sys
from concurrent import futures

import grpc

from shop import body_of


def unary(request, context):
    told = dict(context.invocation_metadata())
    context.send_initial_metadata([("x-first", "1")])
    context.set_trailing_metadata([("x-last", told.get("x-asked", "")), ("x-raw-bin", b"\0\xff")])
    return request


def deadline(request, context):
    return b"%d" % round(context.time_remaining() or -1)


def late(request, context):
    # Ends when the caller gives up.
    ended = futures.Future()
    context.add_callback(lambda: ended.set_result(None))
    ended.result(60)
    return b"too late"


def fail(request, context):
    context.set_trailing_metadata([("x-last", "of a failure")])
    context.abort(grpc.StatusCode(grpc_status(int(request))), "no: ärger 100%")


def grpc_status(number):
    return next(code.value for code in grpc.StatusCode if code.value[0] == number)


def many(request, context):
    for number in range(int(request)):
        yield body_of(number * 97, f"many {number}")


def collect(requests, context):
    return b"".join(requests)


def chat(requests, context):
    for request in requests:
        yield request


def broken(request, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "after one")


def main():
    server = grpc.server(futures.ThreadPoolExecutor(64))
    handlers = {each.__name__: grpc.unary_unary_rpc_method_handler(each) for each in (unary, deadline, late, fail)}
    handlers |= {each.__name__: grpc.unary_stream_rpc_method_handler(each) for each in (many, broken)}
    handlers["collect"] = grpc.stream_unary_rpc_method_handler(collect)
    handlers["chat"] = grpc.stream_stream_rpc_method_handler(chat)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Calls", handlers)])
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()


main()
