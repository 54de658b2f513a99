/*
 * Every operation once: a listener and a client in one process, over TCP on loopback.
 *
 *   client                                             server
 *     | ---- Send: the client is ready ----------------> |
 *     | <--- Send: two regions ------------------------- |
 *     | ---- RDMA Write to the first of them ----------> |
 *     | ---- RDMA Read, <--- Read Response ------------- |
 *     | ---- fetch-and-add, compare-and-swap ----------> |  on a counter in the first region
 *     | ---- Immediate Data ---------------------------> |
 *     | ---- Send with Solicited Event and Invalidate -> |  revokes the second region
 *     | ---- close ------------------------------------> |
 *
 *     cc -std=c11 session.c -o session $(pkg-config --cflags --libs uwarp) -lpthread
 */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uwarp.h>

enum {
    WAIT_MS = 20000,
    /* Where the counter is, and where the octets begin that are written and read back. */
    COUNTER = 0,
    OCTETS = 64,
    LENGTH = 300001,
};

/* Ends the program if a call has failed. */
static int check(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, uwarp_last_error());
        exit(1);
    }
    return result;
}
#define TRY(call) check(call, #call)

static void fail(const char *text)
{
    fprintf(stderr, "%s\n", text);
    exit(1);
}

/* Waits for one request, which must have done what it was asked to do. */
static uwarp_completion succeeded(uwarp_socket socket, uint64_t id)
{
    uwarp_completion completion;
    if (TRY(uwarp_wait(socket, &completion, WAIT_MS)) == 0)
        fail("nothing has completed in time");
    if (completion.status != 0)
        fail(uwarp_strerror(completion.status));
    if (completion.id != id)
        fail("another request than expected");
    return completion;
}

/* The same, in a program that waits for other things too. */
static uwarp_completion succeeded_by_poll(uwarp_socket socket, uint64_t id)
{
    struct pollfd ready = {.fd = TRY(uwarp_completion_descriptor(socket)), .events = POLLIN};
    uwarp_completion completion;
    while (TRY(uwarp_poll(socket, &completion, 1)) == 0) {
        if (poll(&ready, 1, WAIT_MS) <= 0)
            fail("nothing has completed in time");
    }
    if (completion.status != 0 || completion.id != id)
        fail("another completion than expected");
    return completion;
}

/* Until the peer's last answer has left, a region may be in use. */
static void deregister(uwarp_region region)
{
    TRY(uwarp_deregister(region, WAIT_MS));
}

struct server {
    uwarp_listener listener;
    /* The domain of its sockets, which the listener's options name. */
    uwarp_domain domain;
};

/* The server offers memory, and then only watches. */
static void *serve(void *argument)
{
    const struct server *server = argument;
    uwarp_domain domain = server->domain;
    uwarp_region inbox, outbox, lasting, brief;
    uwarp_incoming incoming;
    uwarp_socket socket;
    uwarp_remote remote;
    void *address;

    TRY(uwarp_accept(server->listener, WAIT_MS, &incoming));
    char name[32];
    if (TRY(uwarp_incoming_private_data(incoming, name, sizeof name)) != 5 || memcmp(name, "hello", 5))
        fail("other private data than was sent");

    TRY(uwarp_allocate(domain, 64, 0, &inbox));
    uwarp_sge whole_inbox = {.region = inbox, .offset = 0, .length = 64};
    for (uint64_t id = 0; id < 3; id++)
        TRY(uwarp_incoming_post_receive(incoming, id, &whole_inbox, 1));
    TRY(uwarp_incoming_accept(incoming, NULL, 0, &socket));
    succeeded(socket, 0);

    TRY(uwarp_allocate(domain, OCTETS + LENGTH,
                       UWARP_REMOTE_READ | UWARP_REMOTE_WRITE | UWARP_REMOTE_ATOMIC, &lasting));
    static uint8_t secret[8];
    TRY(uwarp_register_for(domain, socket, secret, sizeof secret,
                           UWARP_REMOTE_WRITE | UWARP_REMOTE_INVALIDATE, &brief));
    uint8_t description[2 * UWARP_REMOTE_LEN];
    TRY(uwarp_region_remote(lasting, &remote));
    TRY(uwarp_remote_pack(&remote, description));
    TRY(uwarp_region_remote(brief, &remote));
    TRY(uwarp_remote_pack(&remote, description + UWARP_REMOTE_LEN));
    TRY(uwarp_register(domain, description, sizeof description, 0, &outbox));
    uwarp_sge whole_outbox = {.region = outbox, .offset = 0, .length = sizeof description};
    TRY(uwarp_post_send(socket, 10, &whole_outbox, 1, 0, 0));
    succeeded(socket, 10);

    uwarp_completion told = succeeded(socket, 1);
    if (!(told.flags & UWARP_HAS_IMMEDIATE) || memcmp(told.immediate, "8 octets", 8))
        fail("other Immediate Data than was sent");
    told = succeeded(socket, 2);
    if (!(told.flags & UWARP_HAS_SOLICITED) || !(told.flags & UWARP_HAS_INVALIDATED))
        fail("no event, or nothing was invalidated");
    if (uwarp_region_remote(brief, &remote) != -ENODATA)
        fail("an invalidated region is still open");
    printf("server: the peer has invalidated 0x%08x\n", told.invalidated);

    TRY(uwarp_region_address(lasting, &address));
    uint64_t counter;
    memcpy(&counter, (char *)address + COUNTER, sizeof counter);
    if (counter != 100)
        fail("another number than was put there");
    for (size_t at = 0; at < LENGTH; at++)
        if (((uint8_t *)address)[OCTETS + at] != at % 251)
            fail("other octets than were written");
    printf("server: the client's %d octets are there, and the counter is %d\n", LENGTH, (int)counter);

    TRY(uwarp_close(socket));
    deregister(inbox);
    deregister(outbox);
    deregister(lasting);
    deregister(brief);
    return NULL;
}

/* The client does it all. */
static void use_everything(uwarp_socket socket, uwarp_domain domain)
{
    uint8_t description[2 * UWARP_REMOTE_LEN];
    static uint8_t greeting[5] = {'h', 'e', 'l', 'l', 'o'};
    static uint8_t source_octets[LENGTH], sink_octets[LENGTH];
    uwarp_region inbox, hello, source, sink;
    uwarp_remote lasting, brief, word, octets;

    TRY(uwarp_register(domain, description, sizeof description, 0, &inbox));
    TRY(uwarp_register(domain, greeting, sizeof greeting, 0, &hello));
    uwarp_sge whole_inbox = {.region = inbox, .offset = 0, .length = sizeof description};
    uwarp_sge whole_hello = {.region = hello, .offset = 0, .length = 5};
    /* The receive comes first: the server answers to the Send. */
    TRY(uwarp_post_receive(socket, 1, &whole_inbox, 1));
    TRY(uwarp_post_send(socket, 2, &whole_hello, 1, 0, 0));
    succeeded(socket, 2);
    succeeded_by_poll(socket, 1);
    TRY(uwarp_remote_unpack(description, &lasting));
    TRY(uwarp_remote_unpack(description + UWARP_REMOTE_LEN, &brief));

    for (size_t at = 0; at < LENGTH; at++)
        source_octets[at] = at % 251;
    TRY(uwarp_register(domain, source_octets, LENGTH, 0, &source));
    TRY(uwarp_register(domain, sink_octets, LENGTH, 0, &sink));
    TRY(uwarp_remote_slice(&lasting, OCTETS, LENGTH, &octets));
    /* A list of two parts, gathered for one Write; and scattered to two by one Read. */
    uwarp_sge gather[2] = {{.region = source, .offset = 0, .length = 1000},
                           {.region = source, .offset = 1000, .length = LENGTH - 1000}};
    uwarp_sge scatter[2] = {{.region = sink, .offset = 0, .length = 77},
                            {.region = sink, .offset = 77, .length = LENGTH - 77}};
    TRY(uwarp_post_write(socket, 3, gather, 2, &octets));
    /* A Read sees what the Writes before it have written. */
    TRY(uwarp_post_read(socket, 4, scatter, 2, &octets));
    succeeded(socket, 3);
    succeeded(socket, 4);
    if (memcmp(source_octets, sink_octets, LENGTH))
        fail("other octets than were written");
    printf("client: what was written was read back\n");

    TRY(uwarp_remote_slice(&lasting, COUNTER, 8, &word));
    TRY(uwarp_post_fetch_add(socket, 5, &word, 7, 0));
    uwarp_completion before = succeeded(socket, 5);
    if (!(before.flags & UWARP_HAS_ORIGINAL) || before.original != 0)
        fail("another number than was there");
    TRY(uwarp_post_compare_swap(socket, 6, &word, 7, UINT64_MAX, 100, UINT64_MAX));
    if (succeeded(socket, 6).original != 7)
        fail("another number than was there");

    TRY(uwarp_post_immediate(socket, 7, (const uint8_t *)"8 octets", 0));
    succeeded(socket, 7);
    TRY(uwarp_post_send(socket, 8, &whole_hello, 1, UWARP_SOLICITED | UWARP_INVALIDATE, brief.stag));
    succeeded(socket, 8);

    TRY(uwarp_close(socket));
    deregister(inbox);
    deregister(hello);
    deregister(source);
    deregister(sink);
}

int main(void)
{
    struct server server;
    uwarp_domain domain;
    uwarp_options options;
    uwarp_socket socket;
    uwarp_info info;
    char address[64];
    pthread_t thread;

    TRY(uwarp_domain_create(&server.domain));
    TRY(uwarp_options_create(server.domain, &options));
    TRY(uwarp_listen("127.0.0.1:0", options, &server.listener));
    TRY(uwarp_options_destroy(options));
    TRY(uwarp_listener_address(server.listener, address, sizeof address));
    printf("uwarp %s listens on %s\n", uwarp_version(), address);
    if (pthread_create(&thread, NULL, serve, &server) != 0)
        fail("no thread");

    TRY(uwarp_domain_create(&domain));
    TRY(uwarp_options_create(domain, &options));
    TRY(uwarp_options_set(options, UWARP_OPTION_ORD, 4));
    TRY(uwarp_options_set_private_data(options, "hello", 5));
    TRY(uwarp_connect(address, options, &socket));
    TRY(uwarp_options_destroy(options));
    TRY(uwarp_socket_info(socket, &info));
    printf("agreed: MPA revision %u, CRC %s, ORD %u\n", info.revision, info.crc ? "on" : "off", info.ord);
    use_everything(socket, domain);

    pthread_join(thread, NULL);
    TRY(uwarp_listener_close(server.listener));
    TRY(uwarp_domain_destroy(server.domain));
    TRY(uwarp_domain_destroy(domain));
    printf("done\n");
    return 0;
}
