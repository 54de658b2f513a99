/*
 * uwarp: remote direct memory access (RDMA) over an ordinary TCP socket, in user space. See uwarp(3) and uwarp(7).
 *
 * Functions that return an int return 0, or a number that is not negative, on success, and the negative of an errno
 * number on failure; uwarp_last_error() then has a text. errno itself is not touched.
 *
 * Handles are numbers. They may be used by several threads at once. One that was given up, or never was one, is -EBADF;
 * one of the process that this one was forked from is -EPERM.
 *
 * Made by cbindgen from the sources; do not edit.
 */

#ifndef UWARP_H
#define UWARP_H

#include <stddef.h>
#include <stdint.h>

#define UWARP_VERSION_MAJOR 0
#define UWARP_VERSION_MINOR 1
#define UWARP_VERSION_PATCH 0

/**
 * Right of peers: the memory may be read by RDMA Reads.
 */
#define UWARP_REMOTE_READ 1

/**
 * Right of peers: the memory may be written by RDMA Writes.
 */
#define UWARP_REMOTE_WRITE 2

/**
 * Right of peers: the memory may be changed by atomic operations.
 */
#define UWARP_REMOTE_ATOMIC 4

/**
 * Right of peers: the STag may be invalidated, if only one socket can use it.
 */
#define UWARP_REMOTE_INVALIDATE 8

/**
 * Elements of a gather or scatter list at the most.
 */
#define UWARP_MAX_SGE 6

/**
 * Octets in which a region is described to the peer.
 */
#define UWARP_REMOTE_LEN 16

/**
 * Octets of Immediate Data.
 */
#define UWARP_IMMEDIATE_LEN 8

/**
 * Send: ask the peer to raise an event (Send with Solicited Event).
 */
#define UWARP_SOLICITED 1

/**
 * Send: invalidate an STag of the peer's (Send with Invalidate).
 */
#define UWARP_INVALIDATE 2

/**
 * Kind of a completion: a Send.
 */
#define UWARP_SEND 1

/**
 * Kind of a completion: an RDMA Write.
 */
#define UWARP_WRITE 2

/**
 * Kind of a completion: an RDMA Read.
 */
#define UWARP_READ 3

/**
 * Kind of a completion: a receive.
 */
#define UWARP_RECEIVE 4

/**
 * Kind of a completion: Immediate Data.
 */
#define UWARP_IMMEDIATE 5

/**
 * Kind of a completion: an atomic operation.
 */
#define UWARP_ATOMIC 6

/**
 * Completion of a receive: the peer asked for an event.
 */
#define UWARP_HAS_SOLICITED 1

/**
 * Completion of a receive: the field `invalidated` is an STag that was invalidated by the message.
 */
#define UWARP_HAS_INVALIDATED 2

/**
 * Completion of a receive: the field `immediate` has come, and nothing else.
 */
#define UWARP_HAS_IMMEDIATE 4

/**
 * Completion of an atomic operation: the field `original` is the word as it was before.
 */
#define UWARP_HAS_ORIGINAL 8

/**
 * Option, 0 or 1: a CRC32c on every FPDU; off only if both ends decline it. Default 1.
 */
#define UWARP_OPTION_CRC 1

/**
 * Option, 0 or 1: ask the peer to send markers. Default 0.
 */
#define UWARP_OPTION_MARKERS 2

/**
 * Option, 1 or 2: revision of the startup frames. Default 2. With 1 the peer-to-peer set-up is off.
 */
#define UWARP_OPTION_REVISION 3

/**
 * Option, 0 or 1: as initiator, ask for the peer-to-peer set-up. Default 1.
 */
#define UWARP_OPTION_PEER_TO_PEER 4

/**
 * Option, 0 to 16382: Reads and atomic operations of the peer's that are answered at a time. Default 32.
 */
#define UWARP_OPTION_IRD 5

/**
 * Option, 0 to 16382: Reads and atomic operations of ours that may be outstanding. Default 32.
 */
#define UWARP_OPTION_ORD 6

/**
 * Option, 1 to 65536: Sends, Writes, Reads and atomic operations that may be posted. Default 128.
 */
#define UWARP_OPTION_SEND_QUEUE 7

/**
 * Option, 1 to 65536: receives that may be posted. Default 128.
 */
#define UWARP_OPTION_RECEIVE_QUEUE 8

/**
 * Option, milliseconds, at least 1: how long the peer may take for its startup frame. Default 5000.
 */
#define UWARP_OPTION_STARTUP_TIMEOUT 9

/**
 * Option, milliseconds, at least 1: how long closing may take. Default 5000.
 */
#define UWARP_OPTION_CLOSE_TIMEOUT 10

/**
 * Option, 0 or 1: find a peer that is silently dead, within half a minute. Default 1.
 */
#define UWARP_OPTION_KEEPALIVE 11

/**
 * Option, 0 or 1: stay open for sending when the peer has closed. Default 0.
 */
#define UWARP_OPTION_HALF_CLOSE 12

/**
 * How a connection is, or ended: it lives.
 */
#define UWARP_END_NONE 0

/**
 * How a connection ended: both ends closed in order.
 */
#define UWARP_END_GRACEFUL 1

/**
 * How a connection ended: this end aborted it.
 */
#define UWARP_END_ABORTED 2

/**
 * How a connection ended: the peer broke a rule.
 */
#define UWARP_END_FAULT 3

/**
 * How a connection ended: the peer sent a Terminate.
 */
#define UWARP_END_TERMINATED 4

/**
 * How a connection ended: TCP failed, or the peer went away.
 */
#define UWARP_END_LOST 5

/**
 * How a connection ended: the set-up or the closing took too long.
 */
#define UWARP_END_TIMEOUT 6

/**
 * A protection domain. 0 is never one.
 */
typedef uint64_t uwarp_domain;

/**
 * Registered memory. 0 is never one.
 */
typedef uint64_t uwarp_region;

/**
 * A TCP connection in DDPMODE. 0 is never one.
 */
typedef uint64_t uwarp_socket;

/**
 * A region of the peer's, or a part of one.
 */
typedef struct uwarp_remote {
    /**
     * Tagged offset of the first octet.
     */
    uint64_t to;
    /**
     * The peer's STag.
     */
    uint32_t stag;
    /**
     * Octets.
     */
    uint32_t length;
} uwarp_remote;

/**
 * What a program chooses for its sockets. 0 is never one.
 */
typedef uint64_t uwarp_options;

/**
 * A completion queue that several sockets share. 0 is never one.
 */
typedef uint64_t uwarp_queue;

/**
 * The end of one posted request.
 */
typedef struct uwarp_completion {
    /**
     * The number that the request was posted with.
     */
    uint64_t id;
    /**
     * The socket's name, as uwarp_socket_id() tells it.
     */
    uint64_t socket_id;
    /**
     * With UWARP_HAS_ORIGINAL: the word before an atomic operation.
     */
    uint64_t original;
    /**
     * With UWARP_HAS_IMMEDIATE: the data.
     */
    uint8_t immediate[UWARP_IMMEDIATE_LEN];
    /**
     * What it was: UWARP_SEND and so on.
     */
    uint32_t kind;
    /**
     * 0 for success, -ECANCELED if the connection ended before it was done, -EREMOTEIO if the peer refused it.
     */
    int32_t status;
    /**
     * Octets sent, read or received; 0 unless it succeeded.
     */
    uint32_t length;
    /**
     * Which of the other fields have a meaning: UWARP_HAS_IMMEDIATE and so on.
     */
    uint32_t flags;
    /**
     * With UWARP_HAS_INVALIDATED: the STag.
     */
    uint32_t invalidated;
    /**
     * With -EREMOTEIO: the peer's reason: layer, type and code, in octets 2, 1 and 0.
     */
    uint32_t terminate;
} uwarp_completion;

/**
 * A listener. 0 is never one.
 */
typedef uint64_t uwarp_listener;

/**
 * A connection that waits to be accepted or rejected. 0 is never one.
 */
typedef uint64_t uwarp_incoming;

/**
 * A part of a region, for a gather or scatter list.
 */
typedef struct uwarp_sge {
    /**
     * The region.
     */
    uwarp_region region;
    /**
     * Octets from the beginning of the region.
     */
    uint64_t offset;
    /**
     * Octets.
     */
    uint32_t length;
    /**
     * Not used; 0.
     */
    uint32_t reserved;
} uwarp_sge;

/**
 * What both ends have agreed.
 */
typedef struct uwarp_info {
    /**
     * Revision of the startup frames.
     */
    uint32_t revision;
    /**
     * Whether FPDUs have a CRC.
     */
    uint32_t crc;
    /**
     * Whether this end sends markers.
     */
    uint32_t markers_sent;
    /**
     * Whether the peer does.
     */
    uint32_t markers_received;
    /**
     * Reads and atomic operations of the peer's that are answered at a time.
     */
    uint32_t ird;
    /**
     * Reads and atomic operations of ours that may be outstanding.
     */
    uint32_t ord;
    /**
     * Whether the set-up was peer-to-peer.
     */
    uint32_t peer_to_peer;
    /**
     * Octets of the peer's private data, which uwarp_private_data() gives.
     */
    uint32_t private_data_length;
} uwarp_info;

/**
 * What a connection has done.
 */
typedef struct uwarp_stats {
    /**
     * FPDUs framed.
     */
    uint64_t fpdus_sent;
    /**
     * FPDUs received whole and valid.
     */
    uint64_t fpdus_received;
    /**
     * Octets of payload framed.
     */
    uint64_t payload_sent;
    /**
     * Octets of payload placed by copying.
     */
    uint64_t payload_copied;
    /**
     * Octets of payload that the kernel put into their place.
     */
    uint64_t payload_direct;
} uwarp_stats;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * A short text for a number that a function has returned, negative or not. It is never freed.
 */
const char *uwarp_strerror(int error);

/**
 * What went wrong in the last call of this thread's that failed, with the cause and, where there is one, the
 * remedy; an empty text if none has. It stays until the thread's next failure, or its end.
 */
const char *uwarp_last_error(void);

/**
 * The version of the library, as "0.1.0".
 */
const char *uwarp_version(void);

/**
 * What the peer said that was the last to reject a connection of this thread's: up to `size` octets of private
 * data go to `data`, and the ORD that it needs, or -1, to `required_ord` unless that is null. Returns how many
 * octets there are; -ENODATA if none has rejected one.
 */
int uwarp_last_rejection(void *data,
                         size_t size,
                         int *required_ord);

/**
 * Makes a protection domain: a region registered in it can be reached only over sockets of the same domain.
 */
int uwarp_domain_create(uwarp_domain *domain);

/**
 * Gives the handle up. Regions and sockets of the domain go on as they are.
 */
int uwarp_domain_destroy(uwarp_domain domain);

/**
 * Registers `length` octets of the program's memory at `address`, so that they can be the source or the sink of
 * operations. `rights` say what peers may do with them: UWARP_REMOTE_READ and so on, or 0 for local use only. The
 * memory has to stay where it is until uwarp_deregister() has returned 0.
 */
int uwarp_register(uwarp_domain domain,
                   void *address,
                   size_t length,
                   uint32_t rights,
                   uwarp_region *region);

/**
 * As uwarp_register(), but only the peer of `socket` can reach the memory. Only then may the peer invalidate the
 * STag, if `rights` have UWARP_REMOTE_INVALIDATE.
 */
int uwarp_register_for(uwarp_domain domain,
                       uwarp_socket socket,
                       void *address,
                       size_t length,
                       uint32_t rights,
                       uwarp_region *region);

/**
 * Registers `length` octets of memory that the library provides: zero, and on pages of its own. They are freed by
 * uwarp_deregister().
 */
int uwarp_allocate(uwarp_domain domain,
                   size_t length,
                   uint32_t rights,
                   uwarp_region *region);

/**
 * As uwarp_allocate(), but only the peer of `socket` can reach the memory, as with uwarp_register_for().
 */
int uwarp_allocate_for(uwarp_domain domain,
                       uwarp_socket socket,
                       size_t length,
                       uint32_t rights,
                       uwarp_region *region);

/**
 * Where the region's memory begins. Peers may read and write it at any time, as their rights say; what a message
 * announces is there when the message's completion has been taken.
 */
int uwarp_region_address(uwarp_region region,
                         void **address);

/**
 * How many octets the region has.
 */
int uwarp_region_length(uwarp_region region, size_t *length);

/**
 * What a peer needs to know to reach the region: at most its first 2^32 - 1 octets. -ENODATA when its STag has been
 * revoked or invalidated.
 */
int uwarp_region_remote(uwarp_region region,
                        struct uwarp_remote *remote);

/**
 * Copies `length` octets of the region, from `offset` on, to `out`. Unlike an access through the address, it is
 * well defined while a peer writes: it gives some old and some new octets.
 */
int uwarp_region_read(uwarp_region region,
                      uint64_t offset,
                      void *out,
                      size_t length);

/**
 * Copies `length` octets from `from` into the region, at `offset` and on.
 */
int uwarp_region_write(uwarp_region region, uint64_t offset, const void *from, size_t length);

/**
 * Revokes the region's STag: when this has returned, nothing that a peer sends changes the memory any more. Local
 * operations go on. Answers to Reads that were framed before may still leave.
 */
int uwarp_revoke(uwarp_region region);

/**
 * Revokes the region's STag and gives it a new one with the same rights: for a region that a peer has invalidated,
 * or as a precaution. uwarp_region_remote() tells the new one.
 */
int uwarp_renew(uwarp_region region);

/**
 * Revokes the region's STag, and gives the handle up when nothing refers to the memory any more: no posted request,
 * no answer under way, no other thread in a call with this handle. It waits for that at most `timeout_ms`
 * milliseconds, for ever if negative. When it has returned 0, memory of the program's is the program's alone, and
 * memory of the library's is freed. -EBUSY leaves the handle as it is, for another attempt.
 */
int uwarp_deregister(uwarp_region region,
                     int timeout_ms);

/**
 * Writes a description in its fixed form of UWARP_REMOTE_LEN octets, all numbers big-endian: the STag in 4, the length
 * in 4, the tagged offset in 8.
 */
int uwarp_remote_pack(const struct uwarp_remote *remote,
                      uint8_t *out);

/**
 * Reads a description from its fixed form. Nothing in it is trusted: the peer that it names checks every access.
 */
int uwarp_remote_unpack(const uint8_t *octets,
                        struct uwarp_remote *remote);

/**
 * Describes `length` octets of `remote`, from `offset` on; -ERANGE when they leave it.
 */
int uwarp_remote_slice(const struct uwarp_remote *remote,
                       uint32_t offset,
                       uint32_t length,
                       struct uwarp_remote *out);

/**
 * Makes options for sockets of a domain, all at their defaults.
 */
int uwarp_options_create(uwarp_domain domain, uwarp_options *options);

/**
 * Gives the handle up. Sockets and listeners made with the options keep them.
 */
int uwarp_options_destroy(uwarp_options options);

/**
 * Sets one option, UWARP_OPTION_CRC and so on, for what is made with the options from now on. Revision 2 cannot be
 * chosen again after revision 1.
 */
int uwarp_options_set(uwarp_options options,
                      uint32_t option,
                      int64_t value);

/**
 * Sets the private data that a connecting socket sends: at most 508 octets, 512 in revision 1.
 */
int uwarp_options_set_private_data(uwarp_options options, const void *data, size_t length);

/**
 * Has sockets complete into a queue that they share, instead of one of their own each.
 */
int uwarp_options_set_queue(uwarp_options options, uwarp_queue queue);

/**
 * Makes a completion queue for sockets to share. Over all of them so many requests may be posted whose completions
 * have not been taken: 1 to 2^20.
 */
int uwarp_queue_create(uint32_t capacity,
                       uwarp_queue *queue);

/**
 * Gives the handle up. Sockets that use the queue keep it.
 */
int uwarp_queue_destroy(uwarp_queue queue);

/**
 * Takes up to `count` completions that are there, and returns how many. Never blocks.
 */
int uwarp_queue_poll(uwarp_queue queue, struct uwarp_completion *completions, size_t count);

/**
 * Waits for one completion, at most `timeout_ms` milliseconds, for ever if negative. Returns 1 if there is one; 0 if
 * not, when the time is up or when a socket of the queue has come to its end.
 */
int uwarp_queue_wait(uwarp_queue queue,
                     struct uwarp_completion *completion,
                     int timeout_ms);

/**
 * A descriptor that is readable while completions wait, for poll(2), select(2) and epoll(7). It is the library's: do
 * not read from it and do not close it. It may be readable when there is none: poll until there is nothing more, and only
 * then wait for it. It is there as long as the handle.
 */
int uwarp_queue_descriptor(uwarp_queue queue);

/**
 * Listens on `address`, as "127.0.0.1:7471" or "[::1]:0"; accepted sockets have `options`. With port 0 the system
 * chooses one, which uwarp_listener_address() tells.
 */
int uwarp_listen(const char *address,
                 uwarp_options options,
                 uwarp_listener *listener);

/**
 * Listens on a TCP socket of the program's that listens already. On success the descriptor is the library's; on
 * failure it is the program's as before.
 */
int uwarp_listen_descriptor(int descriptor,
                            uwarp_options options,
                            uwarp_listener *listener);

/**
 * Writes the address that the listener listens on, as a text that ends with a zero and is cut off after `size`
 * octets, and returns its length without the zero.
 */
int uwarp_listener_address(uwarp_listener listener,
                           char *address,
                           size_t size);

/**
 * Closes the listener. Connections that wait to be taken are closed, and a thread that waits in uwarp_accept()
 * returns with -EBADF.
 */
int uwarp_listener_close(uwarp_listener listener);

/**
 * Waits for a connection whose MPA Request has come, at most `timeout_ms` milliseconds, for ever if negative;
 * -EAGAIN when nobody came.
 */
int uwarp_accept(uwarp_listener listener,
                 int timeout_ms,
                 uwarp_incoming *incoming);

/**
 * Copies up to `size` octets of the peer's private data, and returns how many there are.
 */
int uwarp_incoming_private_data(uwarp_incoming incoming, void *data, size_t size);

/**
 * Writes the peer's TCP address, as uwarp_listener_address() does.
 */
int uwarp_incoming_address(uwarp_incoming incoming, char *address, size_t size);

/**
 * Posts a receive before the peer is told that it may send. Its completion comes at the socket that
 * uwarp_incoming_accept() gives.
 */
int uwarp_incoming_post_receive(uwarp_incoming incoming,
                                uint64_t id,
                                const struct uwarp_sge *list,
                                size_t count);

/**
 * Accepts the connection, with private data of at most 508 octets (512 for a peer of revision 1), and gives the
 * handle `incoming` up, unless the arguments are at fault or another thread uses it (-EBUSY). What is posted is sent
 * when the peer has sent its first octets.
 */
int uwarp_incoming_accept(uwarp_incoming incoming,
                          const void *data,
                          size_t length,
                          uwarp_socket *socket);

/**
 * Rejects the connection, with private data as for uwarp_incoming_accept(), and gives the handle up, with the same
 * exceptions. `required_ord` tells the peer which ORD is needed, unless it is negative. The TCP connection stays
 * open: its descriptor goes to `descriptor`, or is closed if that is null.
 */
int uwarp_incoming_reject(uwarp_incoming incoming,
                          const void *data,
                          size_t length,
                          int required_ord,
                          int *descriptor);

/**
 * Closes the connection without an answer.
 */
int uwarp_incoming_close(uwarp_incoming incoming);

/**
 * Connects to `address`, as "192.0.2.1:7471" or with a name, and sets the connection to DDPMODE. -ECONNREFUSED also
 * when the peer rejects it, and then uwarp_last_rejection() tells more.
 */
int uwarp_connect(const char *address,
                  uwarp_options options,
                  uwarp_socket *socket);

/**
 * Sets DDPMODE on a TCP connection of the program's, as initiator; one end has to be initiator, the other responder,
 * whoever has connected. On success the descriptor is the library's. On failure it is the program's as before; if the
 * peer has rejected (-ECONNREFUSED) it is an ordinary TCP connection again, otherwise it is of no use.
 */
int uwarp_initiate(int descriptor,
                   uwarp_options options,
                   uwarp_socket *socket);

/**
 * Sets DDPMODE on a TCP connection of the program's, as responder: waits for the peer's Request, which is then to be
 * accepted or rejected. The descriptor goes the way that uwarp_initiate() says.
 */
int uwarp_respond(int descriptor,
                  uwarp_options options,
                  uwarp_incoming *incoming);

/**
 * Posts a Send of the octets of a gather list, for which the peer must have posted a receive. `flags` are
 * UWARP_SOLICITED and UWARP_INVALIDATE, or 0; `invalidate` is the peer's STag that is to be invalidated with the latter.
 * `id` comes back in the completion.
 */
int uwarp_post_send(uwarp_socket socket,
                    uint64_t id,
                    const struct uwarp_sge *list,
                    size_t count,
                    uint32_t flags,
                    uint32_t invalidate);

/**
 * Posts buffers for one incoming Send. Receives are used in the order of posting.
 */
int uwarp_post_receive(uwarp_socket socket,
                       uint64_t id,
                       const struct uwarp_sge *list,
                       size_t count);

/**
 * Posts an RDMA Write of the octets of a gather list to the beginning of `remote`. The peer is not told; a Send that
 * is posted afterwards tells it.
 */
int uwarp_post_write(uwarp_socket socket,
                     uint64_t id,
                     const struct uwarp_sge *list,
                     size_t count,
                     const struct uwarp_remote *remote);

/**
 * Posts an RDMA Read from the beginning of `remote` into the buffers of a scatter list.
 */
int uwarp_post_read(uwarp_socket socket,
                    uint64_t id,
                    const struct uwarp_sge *list,
                    size_t count,
                    const struct uwarp_remote *remote);

/**
 * Posts UWARP_IMMEDIATE_LEN octets that arrive in the completion of a receive of the peer's, whose buffers are not
 * touched. `flags` is UWARP_SOLICITED or 0.
 */
int uwarp_post_immediate(uwarp_socket socket,
                         uint64_t id,
                         const uint8_t *data,
                         uint32_t flags);

/**
 * Posts a fetch-and-add on the 64-bit word at the beginning of `remote`, in the peer's byte order. `mask` has a 1 at the
 * most significant bit of each field of the word, whose carry is dropped; 0 makes the word one field. The completion
 * has the word as it was before.
 */
int uwarp_post_fetch_add(uwarp_socket socket,
                         uint64_t id,
                         const struct uwarp_remote *remote,
                         uint64_t add,
                         uint64_t mask);

/**
 * Posts a compare-and-swap on the 64-bit word at the beginning of `remote`, in the peer's byte order: if the bits of
 * `compare_mask` are as in `compare`, those of `swap_mask` become as in `swap`. The completion has the word as it was
 * before.
 */
int uwarp_post_compare_swap(uwarp_socket socket,
                            uint64_t id,
                            const struct uwarp_remote *remote,
                            uint64_t compare,
                            uint64_t compare_mask,
                            uint64_t swap,
                            uint64_t swap_mask);

/**
 * Takes up to `count` completions that are there, and returns how many. Never blocks. If the socket shares a queue,
 * they may be another socket's.
 */
int uwarp_poll(uwarp_socket socket,
               struct uwarp_completion *completions,
               size_t count);

/**
 * Waits for one completion, at most `timeout_ms` milliseconds, for ever if negative. Returns 1 if there is one, 0 if
 * the time is up. When the connection has ended and every completion has been taken, returns how it ended: -ENOTCONN if
 * in order, else -ECONNRESET, -EREMOTEIO, -EPROTO, -ECONNABORTED or -ETIMEDOUT.
 */
int uwarp_wait(uwarp_socket socket,
               struct uwarp_completion *completion,
               int timeout_ms);

/**
 * A descriptor that is readable while completions wait, as uwarp_queue_descriptor() tells.
 */
int uwarp_completion_descriptor(uwarp_socket socket);

/**
 * The socket's name in completions, never used twice in a process; 0 if the handle is none.
 */
uint64_t uwarp_socket_id(uwarp_socket socket);

/**
 * What both ends have agreed.
 */
int uwarp_socket_info(uwarp_socket socket, struct uwarp_info *info);

/**
 * Copies up to `size` octets of the peer's private data, and returns how many there are.
 */
int uwarp_private_data(uwarp_socket socket, void *data, size_t size);

/**
 * Writes our TCP address, as uwarp_listener_address() does.
 */
int uwarp_local_address(uwarp_socket socket, char *address, size_t size);

/**
 * Writes the peer's TCP address, as uwarp_listener_address() does.
 */
int uwarp_peer_address(uwarp_socket socket, char *address, size_t size);

/**
 * What the connection has done so far.
 */
int uwarp_socket_stats(uwarp_socket socket, struct uwarp_stats *stats);

/**
 * Whether the peer has sent its last octet: 1 or 0.
 */
int uwarp_peer_closed(uwarp_socket socket);

/**
 * How the connection ended: UWARP_END_NONE while it lives, UWARP_END_GRACEFUL and so on afterwards. A text about it
 * goes to `text`, as uwarp_listener_address() writes its own; `text` may be null if `size` is 0.
 */
int uwarp_end(uwarp_socket socket,
              char *text,
              size_t size);

/**
 * Begins to close in order and does not wait: posted work is finished, nothing more can be posted. The handle stays,
 * for the completions.
 */
int uwarp_shutdown(uwarp_socket socket);

/**
 * Ends the connection at once with a TCP reset; what is posted completes with -ECANCELED. The handle stays, for the
 * completions.
 */
int uwarp_abort(uwarp_socket socket);

/**
 * Closes in order, waits for the end of the connection, no longer than the close timeout, and gives the handle up in any
 * case. Returns 0, or how the connection ended if not in order, as uwarp_wait(). Completions that were not taken are
 * gone with the socket, unless it shares a queue.
 */
int uwarp_close(uwarp_socket socket);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* UWARP_H */
