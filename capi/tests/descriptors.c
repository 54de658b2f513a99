/*
 * What the example does not show: TCP sockets of the program's own, and a queue that sockets share. Ends with 0 if all is
 * as the manual says.
 */

#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uwarp.h>

static void expect(long seen, long expected, const char *what, int line)
{
    if (seen != expected) {
        fprintf(stderr, "line %d: %s is %ld, not %ld (%s)\n", line, what, seen, expected, uwarp_last_error());
        exit(1);
    }
}
#define IS(call, expected) expect((long)(call), expected, #call, __LINE__)
#define OK(call) IS(call, 0)

enum { WAIT_MS = 20000 };

static uwarp_domain domain;
static uwarp_options options;
static uwarp_queue queue;

static struct sockaddr_in listen_on_loopback(int *listening)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    *listening = socket(AF_INET, SOCK_STREAM, 0);
    OK(bind(*listening, (struct sockaddr *)&address, length));
    OK(listen(*listening, 4));
    OK(getsockname(*listening, (struct sockaddr *)&address, &length));
    return address;
}

static ino_t inode(int descriptor)
{
    struct stat status;
    return fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

static void *respond(void *descriptor)
{
    uwarp_incoming incoming;
    static uwarp_socket socket;
    OK(uwarp_respond(*(int *)descriptor, options, &incoming));
    OK(uwarp_incoming_accept(incoming, "welcome", 7, &socket));
    return &socket;
}

/* A TCP connection of the program's becomes a socket at both ends. The TCP client need not be the initiator. */
static void own_connection(uwarp_socket *initiator, uwarp_socket *responder)
{
    int listening, pair[2];
    pthread_t thread;
    void *made;
    char data[16];
    struct sockaddr_in address = listen_on_loopback(&listening);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect(pair[0], (struct sockaddr *)&address, sizeof address));
    pair[1] = accept(listening, NULL, NULL);
    ino_t inodes[2] = {inode(pair[0]), inode(pair[1])};
    OK(pthread_create(&thread, NULL, respond, &pair[0]));
    OK(uwarp_initiate(pair[1], options, initiator));
    OK(pthread_join(thread, &made));
    *responder = *(uwarp_socket *)made;
    /* The descriptors are the library's now, which has others for them. */
    IS(inode(pair[0]) == inodes[0] || inode(pair[1]) == inodes[1], 0);
    IS(uwarp_private_data(*initiator, data, 3), 7);
    IS(uwarp_private_data(*initiator, data, sizeof data), 7);
    IS(memcmp(data, "welcome", 7), 0);
    OK(close(listening));
}

static void *accept_one(void *listener)
{
    uwarp_incoming incoming;
    static uwarp_socket socket;
    char here[64], there[64];
    OK(uwarp_accept(*(uwarp_listener *)listener, WAIT_MS, &incoming));
    IS(uwarp_incoming_address(incoming, there, sizeof there) > 0, 1);
    OK(uwarp_incoming_accept(incoming, NULL, 0, &socket));
    IS(uwarp_local_address(socket, here, sizeof here) > 0, 1);
    IS(strncmp(here, "127.0.0.1:", 10), 0);
    IS(uwarp_peer_address(socket, here, sizeof here), (int)strlen(there));
    IS(strcmp(here, there), 0);
    return &socket;
}

static void own_listener(uwarp_socket *initiator, uwarp_socket *responder)
{
    int listening;
    pthread_t thread;
    void *made;
    uwarp_listener listener;
    char name[64];
    struct sockaddr_in address = listen_on_loopback(&listening);
    ino_t before = inode(listening);
    OK(uwarp_listen_descriptor(listening, options, &listener));
    IS(inode(listening) == before, 0);
    snprintf(name, sizeof name, "127.0.0.1:%d", ntohs(address.sin_port));
    OK(pthread_create(&thread, NULL, accept_one, &listener));
    OK(uwarp_connect(name, options, initiator));
    OK(pthread_join(thread, &made));
    *responder = *(uwarp_socket *)made;
    OK(uwarp_listener_close(listener));
}

/* All four sockets complete into one queue, which says whose completion each is. */
static void one_queue(uwarp_socket sockets[4])
{
    uwarp_region region;
    uwarp_completion completions[8];
    unsigned sent = 0, received = 0;
    void *octets;
    OK(uwarp_allocate(domain, 64, 0, &region));
    OK(uwarp_region_address(region, &octets));
    memset(octets, 'x', 8);
    for (int at = 0; at < 4; at++) {
        uwarp_sge sink = {.region = region, .offset = 8 + 8 * (uint64_t)at, .length = 8};
        OK(uwarp_post_receive(sockets[at], 100 + (uint64_t)at, &sink, 1));
    }
    for (int at = 0; at < 4; at++) {
        uwarp_sge source = {.region = region, .offset = 0, .length = 8};
        OK(uwarp_post_send(sockets[at], (uint64_t)at, &source, 1, 0, 0));
    }
    /* The queue has place for eight, and keeps a place for each that has not been taken. */
    IS(uwarp_post_receive(sockets[0], 9, NULL, 0), -EAGAIN);
    while (sent != 15 || received != 15) {
        struct pollfd ready = {.fd = uwarp_queue_descriptor(queue), .events = POLLIN};
        int count = uwarp_queue_poll(queue, completions, 3);
        if (count == 0) {
            IS(poll(&ready, 1, WAIT_MS), 1);
            continue;
        }
        for (int at = 0; at < count; at++) {
            uwarp_completion *seen = &completions[at];
            uint64_t number = seen->id % 100;
            OK(seen->status);
            IS(seen->length, 8);
            IS(seen->socket_id == uwarp_socket_id(sockets[number]), 1);
            if (seen->kind == UWARP_SEND)
                sent |= 1u << number;
            else
                received |= 1u << number;
        }
    }
    for (size_t at = 0; at < 40; at++)
        IS(((char *)octets)[at], 'x');
    OK(uwarp_queue_wait(queue, completions, 0));
    OK(uwarp_post_receive(sockets[0], 9, NULL, 0));
    OK(uwarp_shutdown(sockets[1]));
    IS(uwarp_queue_wait(queue, completions, WAIT_MS), 1);
    IS(completions[0].id, 9);
    IS(completions[0].status, -ECANCELED);
    OK(uwarp_deregister(region, WAIT_MS));
}

int main(void)
{
    uwarp_socket sockets[4];
    char text[64];
    OK(uwarp_domain_create(&domain));
    OK(uwarp_options_create(domain, &options));
    OK(uwarp_queue_create(8, &queue));
    OK(uwarp_options_set_queue(options, queue));
    OK(uwarp_options_set(options, UWARP_OPTION_CRC, 0));
    own_connection(&sockets[0], &sockets[1]);
    own_listener(&sockets[2], &sockets[3]);
    one_queue(sockets);
    for (int at = 0; at < 2; at++)
        OK(uwarp_close(sockets[at]));
    OK(uwarp_shutdown(sockets[2]));
    IS(uwarp_wait(sockets[3], &(uwarp_completion){0}, WAIT_MS), -ENOTCONN);
    IS(uwarp_end(sockets[3], text, sizeof text), UWARP_END_GRACEFUL);
    IS(strcmp(text, "closed in order by both ends"), 0);
    IS(uwarp_peer_closed(sockets[3]), 1);
    for (int at = 2; at < 4; at++)
        OK(uwarp_close(sockets[at]));
    OK(uwarp_queue_destroy(queue));
    OK(uwarp_options_destroy(options));
    OK(uwarp_domain_destroy(domain));
    return 0;
}
