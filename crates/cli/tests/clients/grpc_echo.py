"""A gRPC server without generated code, and a client that checks it.

    grpc_echo.py serve      prints its port
    grpc_echo.py ask AT     prints "good"
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

SERVICE = "test.Echo"
SECONDS_MAX = 60
LONG = bytes(range(256)) * (2 << 12)


def unary(request, context):
    context.set_trailing_metadata([("x-length", str(len(request)))])
    return request


def refused(request, context):
    context.set_trailing_metadata([("x-why-bin", b"\x00\xff")])
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: ä")


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def cut_off(request, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "no more")


def total(requests, context):
    return str(sum(len(request) for request in requests)).encode()


def converse(requests, context):
    for request in requests:
        yield request.upper()


def serve():
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Refused": grpc.unary_unary_rpc_method_handler(refused),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "CutOff": grpc.unary_stream_rpc_method_handler(cut_off),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Converse": grpc.stream_stream_rpc_method_handler(converse),
    }
    server = grpc.server(ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def ask(at):
    # No proxy of the machine's stands between.
    with grpc.insecure_channel(at, options=[("grpc.enable_http_proxy", 0)]) as channel:

        def method(kind, name):
            return getattr(channel, kind)(f"/{SERVICE}/{name}")

        for message in [b"", b"hello", LONG]:
            answer, call = method("unary_unary", "Unary").with_call(message, timeout=SECONDS_MAX)
            assert answer == message
            assert dict(call.trailing_metadata())["x-length"] == str(len(message))
        check_status(
            lambda: method("unary_unary", "Refused")(b"", timeout=SECONDS_MAX),
            grpc.StatusCode.FAILED_PRECONDITION, "not now: ä", {"x-why-bin": b"\x00\xff"},
        )
        answers = method("unary_stream", "Count")(b"1000", timeout=SECONDS_MAX)
        assert list(answers) == [str(number).encode() for number in range(1000)]
        answers = method("unary_stream", "CutOff")(b"", timeout=SECONDS_MAX)
        assert next(answers) == b"one"
        check_status(lambda: next(answers), grpc.StatusCode.DATA_LOSS, "no more", {})
        parts = (LONG for _ in range(8))
        answer = method("stream_unary", "Total")(parts, timeout=SECONDS_MAX)
        assert answer == str(8 * len(LONG)).encode()
        check_conversation(method("stream_stream", "Converse"))
        check_status(
            lambda: method("unary_unary", "Nothing")(b"", timeout=SECONDS_MAX),
            grpc.StatusCode.UNIMPLEMENTED, "Method not found!", {},
        )
    print("good")


def check_status(asked, code, details, trailers):
    try:
        asked()
    except grpc.RpcError as error:
        assert (error.code(), error.details()) == (code, details), error
        told = dict(error.trailing_metadata())
        assert all(told.get(name) == value for name, value in trailers.items()), told
    else:
        raise AssertionError(f"it does not end with {code}")


def check_conversation(method):
    """Nothing is said before the answer to what was said last has come."""
    answered = threading.Semaphore(1)

    def say():
        for number in range(50):
            answered.acquire()
            yield f"word {number}".encode()

    for number, answer in enumerate(method(say(), timeout=SECONDS_MAX)):
        assert answer == f"WORD {number}".encode()
        answered.release()
    assert number == 49


if sys.argv[1:] == ["serve"]:
    serve()
else:
    ask(sys.argv[2])
