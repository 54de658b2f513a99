"""The flow of examples/session.c by way of ctypes, which knows the library's interface but not its header."""

import ctypes
import errno
import select
import sys
import threading
from ctypes import byref, c_int, c_int32, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p

uwarp = ctypes.CDLL(sys.argv[1])
uwarp.uwarp_last_error.restype = ctypes.c_char_p
uwarp.uwarp_strerror.restype = ctypes.c_char_p
uwarp.uwarp_version.restype = ctypes.c_char_p
uwarp.uwarp_socket_id.restype = c_uint64

REMOTE_READ, REMOTE_WRITE, REMOTE_ATOMIC, REMOTE_INVALIDATE = 1, 2, 4, 8
SOLICITED, INVALIDATE = 1, 2
HAS_SOLICITED, HAS_INVALIDATED, HAS_IMMEDIATE, HAS_ORIGINAL = 1, 2, 4, 8
SEND, WRITE, READ, RECEIVE, IMMEDIATE, ATOMIC = range(1, 7)
OPTION_ORD = 6
WAIT_MS = 20000
COUNTER, OCTETS, LENGTH = 0, 64, 300001


class Sge(ctypes.Structure):
    _fields_ = [("region", c_uint64), ("offset", c_uint64), ("length", c_uint32), ("reserved", c_uint32)]


class Remote(ctypes.Structure):
    _fields_ = [("to", c_uint64), ("stag", c_uint32), ("length", c_uint32)]


class Completion(ctypes.Structure):
    _fields_ = [
        ("id", c_uint64), ("socket_id", c_uint64), ("original", c_uint64), ("immediate", c_uint8 * 8),
        ("kind", c_uint32), ("status", c_int32), ("length", c_uint32), ("flags", c_uint32),
        ("invalidated", c_uint32), ("terminate", c_uint32),
    ]


class Info(ctypes.Structure):
    _fields_ = [(name, c_uint32) for name in (
        "revision", "crc", "markers_sent", "markers_received", "ird", "ord", "peer_to_peer", "private_data_length")]


class Stats(ctypes.Structure):
    _fields_ = [(name, c_uint64) for name in (
        "fpdus_sent", "fpdus_received", "payload_sent", "payload_copied", "payload_direct")]


def ok(result):
    if result < 0:
        raise OSError(-result, uwarp.uwarp_last_error().decode())
    return result


def made(call, *arguments):
    """What a call makes, whose last argument is the place for the handle."""
    handle = c_uint64()
    ok(call(*arguments, byref(handle)))
    return handle


def register(domain, octets, rights, socket=None):
    if socket is None:
        return made(uwarp.uwarp_register, domain, octets, c_size_t(len(octets)), c_uint32(rights))
    return made(uwarp.uwarp_register_for, domain, socket, octets, c_size_t(len(octets)), c_uint32(rights))


def listed(*parts):
    return (Sge * len(parts))(*(Sge(region.value, offset, length, 0) for region, offset, length in parts))


def succeeded(socket, number, kind):
    completion = Completion()
    if ok(uwarp.uwarp_wait(socket, byref(completion), WAIT_MS)) == 0:
        raise TimeoutError
    if completion.status != 0:
        raise OSError(-completion.status, uwarp.uwarp_strerror(completion.status).decode())
    assert (completion.id, completion.kind) == (number, kind), (completion.id, completion.kind)
    assert completion.socket_id == uwarp.uwarp_socket_id(socket) != 0
    return completion


def post(call, socket, number, parts, *rest):
    ok(call(socket, c_uint64(number), parts, c_size_t(len(parts)), *rest))


def described(region):
    remote, octets = Remote(), (c_uint8 * 16)()
    ok(uwarp.uwarp_region_remote(region, byref(remote)))
    ok(uwarp.uwarp_remote_pack(byref(remote), octets))
    wire = bytes(octets)
    assert wire == (remote.stag.to_bytes(4, "big") + remote.length.to_bytes(4, "big") + remote.to.to_bytes(8, "big"))
    return wire


def deregister(*regions):
    for region in regions:
        ok(uwarp.uwarp_deregister(region, WAIT_MS))


def serve(listener, domain):
    incoming = made(uwarp.uwarp_accept, listener, c_int(WAIT_MS))
    name = ctypes.create_string_buffer(32)
    assert ok(uwarp.uwarp_incoming_private_data(incoming, name, c_size_t(32))) == 5 and name.value == b"hello"
    inbox = made(uwarp.uwarp_allocate, domain, c_size_t(64), c_uint32(0))
    for number in range(3):
        post(uwarp.uwarp_incoming_post_receive, incoming, number, listed((inbox, 0, 64)))
    socket = made(uwarp.uwarp_incoming_accept, incoming, None, c_size_t(0))
    succeeded(socket, 0, RECEIVE)

    lasting_octets = (c_uint8 * (OCTETS + LENGTH))()
    lasting = register(domain, lasting_octets, REMOTE_READ | REMOTE_WRITE | REMOTE_ATOMIC)
    # Python frees what nobody names; the library only knows the address.
    brief_octets = (c_uint8 * 8)()
    brief = register(domain, brief_octets, REMOTE_WRITE | REMOTE_INVALIDATE, socket)
    outbox_octets = ctypes.create_string_buffer(described(lasting) + described(brief), 32)
    outbox = register(domain, outbox_octets, 0)
    post(uwarp.uwarp_post_send, socket, 10, listed((outbox, 0, 32)), c_uint32(0), c_uint32(0))
    succeeded(socket, 10, SEND)

    told = succeeded(socket, 1, RECEIVE)
    assert told.flags == HAS_IMMEDIATE and bytes(told.immediate) == b"8 octets"
    told = succeeded(socket, 2, RECEIVE)
    assert told.flags == HAS_SOLICITED | HAS_INVALIDATED and told.length == 5
    assert uwarp.uwarp_region_remote(brief, byref(Remote())) == -errno.ENODATA
    assert int.from_bytes(bytes(lasting_octets[COUNTER:COUNTER + 8]), sys.byteorder) == 100
    assert bytes(lasting_octets[OCTETS:]) == pattern()
    ok(uwarp.uwarp_close(socket))
    deregister(inbox, outbox, lasting, brief)


def pattern():
    return bytes(at % 251 for at in range(LENGTH))


def use_everything(socket, domain):
    description = (c_uint8 * 32)()
    greeting = ctypes.create_string_buffer(b"hello", 5)
    inbox, hello = register(domain, description, 0), register(domain, greeting, 0)
    post(uwarp.uwarp_post_receive, socket, 1, listed((inbox, 0, 32)))
    post(uwarp.uwarp_post_send, socket, 2, listed((hello, 0, 5)), c_uint32(0), c_uint32(0))
    succeeded(socket, 2, SEND)
    # The descriptor is one for the program's own loop. It may be readable once too often.
    completion = Completion()
    while ok(uwarp.uwarp_poll(socket, byref(completion), c_size_t(1))) == 0:
        assert select.select([ok(uwarp.uwarp_completion_descriptor(socket))], [], [], WAIT_MS / 1000)[0]
    assert (completion.id, completion.status, completion.length) == (1, 0, 32), completion.status
    lasting, brief, octets, word = Remote(), Remote(), Remote(), Remote()
    ok(uwarp.uwarp_remote_unpack(description, byref(lasting)))
    ok(uwarp.uwarp_remote_unpack(byref(description, 16), byref(brief)))

    source_octets = ctypes.create_string_buffer(pattern(), LENGTH)
    sink_octets = ctypes.create_string_buffer(LENGTH)
    source, sink = register(domain, source_octets, 0), register(domain, sink_octets, 0)
    ok(uwarp.uwarp_remote_slice(byref(lasting), c_uint32(OCTETS), c_uint32(LENGTH), byref(octets)))
    gather = listed((source, 0, 1000), (source, 1000, LENGTH - 1000))
    scatter = listed((sink, 0, 77), (sink, 77, LENGTH - 77))
    post(uwarp.uwarp_post_write, socket, 3, gather, byref(octets))
    post(uwarp.uwarp_post_read, socket, 4, scatter, byref(octets))
    assert succeeded(socket, 3, WRITE).length == LENGTH
    succeeded(socket, 4, READ)
    assert sink_octets.raw == source_octets.raw

    ok(uwarp.uwarp_remote_slice(byref(lasting), c_uint32(COUNTER), c_uint32(8), byref(word)))
    ok(uwarp.uwarp_post_fetch_add(socket, c_uint64(5), byref(word), c_uint64(7), c_uint64(0)))
    before = succeeded(socket, 5, ATOMIC)
    assert (before.flags, before.original) == (HAS_ORIGINAL, 0)
    every = c_uint64(2**64 - 1)
    ok(uwarp.uwarp_post_compare_swap(socket, c_uint64(6), byref(word), c_uint64(7), every, c_uint64(100), every))
    assert succeeded(socket, 6, ATOMIC).original == 7
    ok(uwarp.uwarp_post_immediate(socket, c_uint64(7), b"8 octets", c_uint32(0)))
    succeeded(socket, 7, IMMEDIATE)
    post(uwarp.uwarp_post_send, socket, 8, listed((hello, 0, 5)), c_uint32(SOLICITED | INVALIDATE),
         c_uint32(brief.stag))
    succeeded(socket, 8, SEND)

    stats = Stats()
    ok(uwarp.uwarp_socket_stats(socket, byref(stats)))
    assert stats.payload_sent >= LENGTH and stats.payload_copied + stats.payload_direct >= LENGTH
    ok(uwarp.uwarp_close(socket))
    assert uwarp.uwarp_close(socket) == -errno.EBADF
    deregister(inbox, hello, source, sink)


def main():
    server_domain = made(uwarp.uwarp_domain_create)
    options = made(uwarp.uwarp_options_create, server_domain)
    listener = made(uwarp.uwarp_listen, b"127.0.0.1:0", options)
    ok(uwarp.uwarp_options_destroy(options))
    address = ctypes.create_string_buffer(64)
    assert ok(uwarp.uwarp_listener_address(listener, address, c_size_t(64))) == len(address.value)
    failures = []

    def run():
        try:
            serve(listener, server_domain)
        except BaseException as failure:  # The main thread tells it.
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    domain = made(uwarp.uwarp_domain_create)
    options = made(uwarp.uwarp_options_create, domain)
    ok(uwarp.uwarp_options_set(options, c_uint32(OPTION_ORD), ctypes.c_int64(4)))
    ok(uwarp.uwarp_options_set_private_data(options, b"hello", c_size_t(5)))
    socket = made(uwarp.uwarp_connect, address, options)
    info = Info()
    ok(uwarp.uwarp_socket_info(socket, byref(info)))
    assert (info.revision, info.crc, info.ord, info.private_data_length) == (2, 1, 4, 0)
    use_everything(socket, domain)
    thread.join()
    if failures:
        raise failures[0]
    for call, handle in (
            (uwarp.uwarp_listener_close, listener), (uwarp.uwarp_options_destroy, options),
            (uwarp.uwarp_domain_destroy, domain), (uwarp.uwarp_domain_destroy, server_domain)):
        ok(call(handle))
        assert call(handle) == -errno.EBADF
    print("done")


main()
