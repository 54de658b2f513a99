"""socketserver with ForkingMixIn, which serves each connection in a child; with a greeting before anything has come."""
import hashlib
import os
import socket
import socketserver
import sys
import threading

role, port = sys.argv[1], int(sys.argv[2])


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        if port % 2:
            self.wfile.write(b"hello\n")
        while line := self.rfile.readline():
            octets = self.rfile.read(int(line))
            self.wfile.write(hashlib.sha256(octets).hexdigest().encode() + b"\n" + octets)


class Server(socketserver.ForkingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    request_queue_size = 100


def one(wrong):
    try:
        s = socket.create_connection(("127.0.0.1", port))
        f = s.makefile("rwb")
        if port % 2:
            assert f.readline() == b"hello\n"
        for size in (1, 5000, 200000):
            octets = os.urandom(size)
            f.write(b"%d\n" % size + octets)
            f.flush()
            assert f.readline().strip().decode() == hashlib.sha256(octets).hexdigest()
            assert f.read(size) == octets
        s.shutdown(socket.SHUT_WR)
        assert f.read() == b""
    except Exception as error:
        wrong.append(error)


if role == "server":
    Server(("127.0.0.1", port), Handler).serve_forever()
else:
    wrong = []
    threads = [threading.Thread(target=one, args=(wrong,)) for _ in range(int(sys.argv[4]))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    sys.exit(repr(wrong[0]) if wrong else 0)
