"""asyncio with TLS: a server that sends back what it gets, and clients at the same time."""
import asyncio
import hashlib
import os
import ssl
import sys

role, port, work = sys.argv[1], int(sys.argv[2]), sys.argv[3]


async def serve(reader, writer):
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(8), "big")
            octets = await reader.readexactly(size)
            writer.write(octets)
            await writer.drain()
    except asyncio.IncompleteReadError:
        pass
    writer.close()


async def server():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(work + "/cert.pem", work + "/key.pem")
    listener = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    async with listener:
        await listener.serve_forever()


async def one():
    context = ssl.create_default_context(cafile=work + "/cert.pem")
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    for size in (1, 1000, 300000):
        octets = os.urandom(size)
        writer.write(size.to_bytes(8, "big") + octets)
        await writer.drain()
        got = await reader.readexactly(size)
        assert hashlib.sha256(got).digest() == hashlib.sha256(octets).digest()
    writer.close()
    await writer.wait_closed()


async def client():
    await asyncio.gather(*(one() for _ in range(int(sys.argv[4]))))


asyncio.run(server() if role == "server" else client())
