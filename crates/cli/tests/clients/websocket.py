"""A WebSocket server that sends back what it gets, and a client that checks it.

    websocket.py serve      prints its port
    websocket.py ask AT     prints "good"
"""

import asyncio
import sys

import websockets

BYTES = 3 << 20


async def serve():
    async def echo(socket):
        async for message in socket:
            if message == "close":
                await socket.close(4001, "as you wish")
                return
            await socket.send(message)

    async with websockets.serve(
        echo, "127.0.0.1", 0, subprotocols=["notes"], max_size=None
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


async def fragments():
    for number in range(100):
        yield f"part {number}, "


async def ask(at):
    url = f"ws://{at}/chat?room=1"
    async with websockets.connect(url, subprotocols=["notes"], max_size=None) as socket:
        assert socket.subprotocol == "notes", socket.subprotocol
        # Compression is agreed on by the two ends; the gateway must not stand between.
        assert [extension.name for extension in socket.extensions] == ["permessage-deflate"]
        for message in ["", "text \u00e4\u20ac", b"", b"\x00\xff" * 1000, bytes(range(256)) * (BYTES >> 8)]:
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send(fragments())
        assert await socket.recv() == "".join([part async for part in fragments()])
        # A ping between messages is answered by the other end.
        await asyncio.wait_for(await socket.ping(), 20)
        for number in range(1000):
            await socket.send(str(number))
        for number in range(1000):
            assert await socket.recv() == str(number)
        await socket.send("close")
        try:
            await socket.recv()
        except websockets.ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "as you wish")
        else:
            raise AssertionError("it is not closed")
    print("good")


async def main(words):
    if words == ["serve"]:
        await serve()
    else:
        await asyncio.wait_for(ask(words[1]), 60)


asyncio.run(main(sys.argv[1:]))
