/*
 * Wrong use of the C interface: each call here is an error, has its number and does nothing else. Ends with 0 if so.
 */

#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
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

struct end {
    uwarp_domain domain;
    uwarp_socket socket;
    uwarp_region region;
    uint8_t octets[256];
};

static void open_end(struct end *end)
{
    OK(uwarp_domain_create(&end->domain));
    OK(uwarp_register(end->domain, end->octets, sizeof end->octets,
                      UWARP_REMOTE_READ | UWARP_REMOTE_WRITE | UWARP_REMOTE_ATOMIC, &end->region));
}

static void close_end(struct end *end)
{
    uwarp_close(end->socket);
    OK(uwarp_deregister(end->region, WAIT_MS));
    OK(uwarp_domain_destroy(end->domain));
}

struct accepting {
    uwarp_listener listener;
    struct end *end;
};

static void *accept_one(void *argument)
{
    struct accepting *accepting = argument;
    uwarp_incoming incoming;
    OK(uwarp_accept(accepting->listener, WAIT_MS, &incoming));
    OK(uwarp_incoming_accept(incoming, NULL, 0, &accepting->end->socket));
    return NULL;
}

static void connect_pair(struct end *client, struct end *server)
{
    uwarp_options options;
    struct accepting accepting = {.end = server};
    pthread_t thread;
    char address[64];
    open_end(client);
    open_end(server);
    OK(uwarp_options_create(server->domain, &options));
    OK(uwarp_listen("127.0.0.1:0", options, &accepting.listener));
    OK(uwarp_options_destroy(options));
    int address_length = uwarp_listener_address(accepting.listener, address, sizeof address);
    IS(strlen(address), address_length);
    OK(pthread_create(&thread, NULL, accept_one, &accepting));
    OK(uwarp_options_create(client->domain, &options));
    OK(uwarp_connect(address, options, &client->socket));
    OK(uwarp_options_destroy(options));
    OK(pthread_join(thread, NULL));
    OK(uwarp_listener_close(accepting.listener));
}

/* Handles that are none, of every kind and for every function that takes one first. */
static void no_handles(uint64_t other_kind)
{
    uint64_t out, wrong[] = {0, 1, UINT64_MAX, other_kind};
    char text[8];
    uint8_t octets[16];
    void *address;
    size_t length;
    int descriptor;
    uwarp_remote remote = {0, 0, 16};
    uwarp_completion completion;
    uwarp_info info;
    uwarp_stats stats;
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) {
        uint64_t handle = wrong[at];
        IS(uwarp_domain_destroy(handle), -EBADF);
        IS(uwarp_register(handle, octets, 16, 0, &out), -EBADF);
        IS(uwarp_register_for(handle, handle, octets, 16, 0, &out), -EBADF);
        IS(uwarp_allocate(handle, 16, 0, &out), -EBADF);
        IS(uwarp_allocate_for(handle, handle, 16, 0, &out), -EBADF);
        IS(uwarp_region_address(handle, &address), -EBADF);
        IS(uwarp_region_length(handle, &length), -EBADF);
        IS(uwarp_region_remote(handle, &remote), -EBADF);
        IS(uwarp_region_read(handle, 0, octets, 16), -EBADF);
        IS(uwarp_region_write(handle, 0, octets, 16), -EBADF);
        IS(uwarp_revoke(handle), -EBADF);
        IS(uwarp_renew(handle), -EBADF);
        IS(uwarp_deregister(handle, 0), -EBADF);
        IS(uwarp_options_create(handle, &out), -EBADF);
        IS(uwarp_options_destroy(handle), -EBADF);
        IS(uwarp_options_set(handle, UWARP_OPTION_CRC, 1), -EBADF);
        IS(uwarp_options_set_private_data(handle, octets, 16), -EBADF);
        IS(uwarp_options_set_queue(handle, handle), -EBADF);
        IS(uwarp_queue_destroy(handle), -EBADF);
        IS(uwarp_queue_poll(handle, &completion, 1), -EBADF);
        IS(uwarp_queue_wait(handle, &completion, 0), -EBADF);
        IS(uwarp_queue_descriptor(handle), -EBADF);
        IS(uwarp_listen("127.0.0.1:0", handle, &out), -EBADF);
        IS(uwarp_listen_descriptor(0, handle, &out), -EBADF);
        IS(uwarp_listener_address(handle, text, sizeof text), -EBADF);
        IS(uwarp_listener_close(handle), -EBADF);
        IS(uwarp_accept(handle, 0, &out), -EBADF);
        IS(uwarp_incoming_private_data(handle, octets, 16), -EBADF);
        IS(uwarp_incoming_address(handle, text, sizeof text), -EBADF);
        IS(uwarp_incoming_post_receive(handle, 1, NULL, 0), -EBADF);
        IS(uwarp_incoming_accept(handle, NULL, 0, &out), -EBADF);
        IS(uwarp_incoming_reject(handle, NULL, 0, -1, &descriptor), -EBADF);
        IS(uwarp_incoming_close(handle), -EBADF);
        IS(uwarp_connect("127.0.0.1:1", handle, &out), -EBADF);
        IS(uwarp_initiate(0, handle, &out), -EBADF);
        IS(uwarp_respond(0, handle, &out), -EBADF);
        IS(uwarp_post_send(handle, 1, NULL, 0, 0, 0), -EBADF);
        IS(uwarp_post_receive(handle, 1, NULL, 0), -EBADF);
        IS(uwarp_post_write(handle, 1, NULL, 0, &remote), -EBADF);
        IS(uwarp_post_read(handle, 1, NULL, 0, &remote), -EBADF);
        IS(uwarp_post_immediate(handle, 1, octets, 0), -EBADF);
        IS(uwarp_post_fetch_add(handle, 1, &remote, 1, 0), -EBADF);
        IS(uwarp_post_compare_swap(handle, 1, &remote, 1, 1, 1, 1), -EBADF);
        IS(uwarp_poll(handle, &completion, 1), -EBADF);
        IS(uwarp_wait(handle, &completion, 0), -EBADF);
        IS(uwarp_completion_descriptor(handle), -EBADF);
        IS(uwarp_socket_id(handle), 0);
        IS(uwarp_socket_info(handle, &info), -EBADF);
        IS(uwarp_private_data(handle, octets, 16), -EBADF);
        IS(uwarp_local_address(handle, text, sizeof text), -EBADF);
        IS(uwarp_peer_address(handle, text, sizeof text), -EBADF);
        IS(uwarp_socket_stats(handle, &stats), -EBADF);
        IS(uwarp_peer_closed(handle), -EBADF);
        IS(uwarp_end(handle, text, sizeof text), -EBADF);
        IS(uwarp_shutdown(handle), -EBADF);
        IS(uwarp_abort(handle), -EBADF);
        IS(uwarp_close(handle), -EBADF);
    }
    if (strstr(uwarp_last_error(), "handle") == NULL && strstr(uwarp_last_error(), "given up") == NULL)
        expect(0, 1, uwarp_last_error(), __LINE__);
}

static void null_pointers(struct end *end)
{
    uwarp_options options;
    uwarp_queue queue;
    uwarp_remote remote = {0, 1, 16};
    uint8_t octets[16];
    IS(uwarp_domain_create(NULL), -EFAULT);
    IS(uwarp_register(end->domain, NULL, 16, 0, &end->region), -EFAULT);
    IS(uwarp_register(end->domain, octets, 16, 0, NULL), -EFAULT);
    IS(uwarp_register_for(end->domain, end->socket, octets, 16, 0, NULL), -EFAULT);
    IS(uwarp_allocate(end->domain, 16, 0, NULL), -EFAULT);
    IS(uwarp_allocate_for(end->domain, end->socket, 16, 0, NULL), -EFAULT);
    IS(uwarp_region_address(end->region, NULL), -EFAULT);
    IS(uwarp_region_length(end->region, NULL), -EFAULT);
    IS(uwarp_region_remote(end->region, NULL), -EFAULT);
    IS(uwarp_region_read(end->region, 0, NULL, 1), -EFAULT);
    IS(uwarp_region_write(end->region, 0, NULL, 1), -EFAULT);
    OK(uwarp_region_read(end->region, 0, NULL, 0));
    IS(uwarp_remote_pack(NULL, octets), -EFAULT);
    IS(uwarp_remote_pack(&remote, NULL), -EFAULT);
    IS(uwarp_remote_unpack(NULL, &remote), -EFAULT);
    IS(uwarp_remote_unpack(octets, NULL), -EFAULT);
    IS(uwarp_remote_slice(NULL, 0, 0, &remote), -EFAULT);
    IS(uwarp_remote_slice(&remote, 0, 0, NULL), -EFAULT);
    IS(uwarp_options_create(end->domain, NULL), -EFAULT);
    OK(uwarp_options_create(end->domain, &options));
    IS(uwarp_options_set_private_data(options, NULL, 1), -EFAULT);
    IS(uwarp_listen(NULL, options, &queue), -EFAULT);
    IS(uwarp_listen("127.0.0.1:0", options, NULL), -EFAULT);
    IS(uwarp_listen_descriptor(0, options, NULL), -EFAULT);
    IS(uwarp_connect(NULL, options, &queue), -EFAULT);
    IS(uwarp_connect("127.0.0.1:1", options, NULL), -EFAULT);
    IS(uwarp_initiate(0, options, NULL), -EFAULT);
    IS(uwarp_respond(0, options, NULL), -EFAULT);
    OK(uwarp_options_destroy(options));
    IS(uwarp_queue_create(1, NULL), -EFAULT);
    OK(uwarp_queue_create(1, &queue));
    IS(uwarp_queue_poll(queue, NULL, 1), -EFAULT);
    OK(uwarp_queue_poll(queue, NULL, 0));
    IS(uwarp_queue_wait(queue, NULL, 0), -EFAULT);
    OK(uwarp_queue_destroy(queue));
    IS(uwarp_post_send(end->socket, 1, NULL, 1, 0, 0), -EFAULT);
    IS(uwarp_post_receive(end->socket, 1, NULL, 1), -EFAULT);
    IS(uwarp_post_write(end->socket, 1, NULL, 1, &remote), -EFAULT);
    IS(uwarp_post_write(end->socket, 1, NULL, 0, NULL), -EFAULT);
    IS(uwarp_post_read(end->socket, 1, NULL, 0, NULL), -EFAULT);
    IS(uwarp_post_immediate(end->socket, 1, NULL, 0), -EFAULT);
    IS(uwarp_post_fetch_add(end->socket, 1, NULL, 1, 0), -EFAULT);
    IS(uwarp_post_compare_swap(end->socket, 1, NULL, 1, 1, 1, 1), -EFAULT);
    IS(uwarp_poll(end->socket, NULL, 1), -EFAULT);
    IS(uwarp_wait(end->socket, NULL, 0), -EFAULT);
    IS(uwarp_socket_info(end->socket, NULL), -EFAULT);
    IS(uwarp_socket_stats(end->socket, NULL), -EFAULT);
    IS(uwarp_private_data(end->socket, NULL, 1), -EFAULT);
    IS(uwarp_local_address(end->socket, NULL, 1), -EFAULT);
    IS(uwarp_end(end->socket, NULL, 1), -EFAULT);
    IS(uwarp_end(end->socket, NULL, 0), UWARP_END_NONE);
    IS(uwarp_last_rejection(NULL, 1, NULL), -EFAULT);
    IS(uwarp_last_rejection(NULL, 0, NULL), -ENODATA);
}

static void wrong_numbers(struct end *end, struct end *other)
{
    uwarp_options options;
    uwarp_queue queue;
    uwarp_region region;
    uwarp_listener listener;
    uwarp_socket socket;
    uint8_t octets[600] = {0};
    uwarp_remote remote = {0, 1, 100}, slice;
    uwarp_sge list[7];
    for (size_t at = 0; at < 7; at++)
        list[at] = (uwarp_sge){.region = end->region, .offset = 0, .length = 1};

    IS(uwarp_register(end->domain, octets, 16, 16, &region), -EINVAL);
    IS(uwarp_register(end->domain, octets, SIZE_MAX, 0, &region), -EINVAL);
    IS(uwarp_allocate(end->domain, SIZE_MAX, 0, &region), -EINVAL);
    IS(uwarp_allocate(end->domain, SIZE_MAX / 4, 0, &region), -ENOMEM);
    IS(uwarp_register_for(other->domain, end->socket, octets, 16, 0, &region), -EXDEV);
    IS(uwarp_region_read(end->region, 256, octets, 1), -ERANGE);
    IS(uwarp_region_write(end->region, UINT64_MAX, octets, 1), -ERANGE);
    IS(uwarp_region_read(end->region, 0, octets, SIZE_MAX), -EINVAL);
    IS(uwarp_remote_slice(&remote, 50, 51, &slice), -ERANGE);
    OK(uwarp_remote_slice(&remote, 50, 50, &slice));

    OK(uwarp_options_create(end->domain, &options));
    IS(uwarp_options_set(options, 0, 1), -EINVAL);
    IS(uwarp_options_set(options, 99, 1), -EINVAL);
    IS(uwarp_options_set(options, UWARP_OPTION_CRC, 2), -EINVAL);
    IS(uwarp_options_set(options, UWARP_OPTION_REVISION, 3), -EINVAL);
    IS(uwarp_options_set(options, UWARP_OPTION_IRD, 16383), -EINVAL);
    IS(uwarp_options_set(options, UWARP_OPTION_ORD, -1), -EINVAL);
    IS(uwarp_options_set(options, UWARP_OPTION_SEND_QUEUE, 0), -EINVAL);
    IS(uwarp_options_set(options, UWARP_OPTION_CLOSE_TIMEOUT, 0), -EINVAL);
    IS(uwarp_options_set_private_data(options, octets, 513), -EMSGSIZE);
    OK(uwarp_options_set_private_data(options, octets, 512));
    IS(uwarp_listen("nonsense", options, &listener), -EINVAL);
    IS(uwarp_listen("\xff", options, &listener), -EINVAL);
    IS(uwarp_listen_descriptor(-1, options, &listener), -EBADF);
    IS(uwarp_listen_descriptor(1000000, options, &listener), -EBADF);
    IS(uwarp_initiate(-1, options, &socket), -EBADF);
    IS(uwarp_connect("127.0.0.1:1", options, &socket), -ECONNREFUSED);
    OK(uwarp_options_destroy(options));
    IS(uwarp_queue_create(0, &queue), -EINVAL);
    IS(uwarp_queue_create(UINT32_MAX, &queue), -EINVAL);

    IS(uwarp_post_send(end->socket, 1, list, 7, 0, 0), -E2BIG);
    IS(uwarp_post_send(end->socket, 1, list, SIZE_MAX, 0, 0), -E2BIG);
    IS(uwarp_post_send(end->socket, 1, list, 1, 4, 0), -EINVAL);
    IS(uwarp_post_immediate(end->socket, 1, octets, UWARP_INVALIDATE), -EINVAL);
    list[0].reserved = 1;
    IS(uwarp_post_send(end->socket, 1, list, 1, 0, 0), -EINVAL);
    list[0] = (uwarp_sge){.region = end->region, .offset = 256, .length = 1};
    IS(uwarp_post_send(end->socket, 1, list, 1, 0, 0), -ERANGE);
    list[0].offset = UINT64_MAX;
    IS(uwarp_post_send(end->socket, 1, list, 1, 0, 0), -ERANGE);
    list[0] = (uwarp_sge){.region = other->region, .offset = 0, .length = 1};
    IS(uwarp_post_send(end->socket, 1, list, 1, 0, 0), -EXDEV);
    list[0] = (uwarp_sge){.region = end->region, .offset = 0, .length = 101};
    IS(uwarp_post_write(end->socket, 1, list, 1, &remote), -ERANGE);
    remote.to = UINT64_MAX - 5;
    IS(uwarp_post_write(end->socket, 1, list + 1, 6, &remote), -EOVERFLOW);
    remote.length = 7;
    IS(uwarp_post_fetch_add(end->socket, 1, &remote, 1, 0), -ERANGE);
    /* A misaligned list is refused before it is read. */
    IS(uwarp_post_send(end->socket, 1, (const uwarp_sge *)(const void *)((const char *)list + 1), 1, 0, 0), -EINVAL);
}

/* A descriptor that does not become a socket is the program's as before. */
static void descriptors(struct end *end)
{
    uwarp_options options;
    uwarp_socket socket_handle;
    uwarp_incoming incoming;
    int pair[2];
    OK(uwarp_options_create(end->domain, &options));
    OK(uwarp_options_set(options, UWARP_OPTION_STARTUP_TIMEOUT, 50));
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    OK(bind(listening, (struct sockaddr *)&address, length));
    OK(listen(listening, 1));
    OK(getsockname(listening, (struct sockaddr *)&address, &length));
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect(pair[0], (struct sockaddr *)&address, length));
    pair[1] = accept(listening, NULL, NULL);
    /* Nobody speaks at the other end. */
    IS(uwarp_respond(pair[1], options, &incoming), -ETIMEDOUT);
    IS(fcntl(pair[1], F_GETFL) & O_NONBLOCK, 0);
    OK(close(pair[1]));
    /* And nobody is there: that is told at once, however slow the machine. */
    OK(uwarp_options_set(options, UWARP_OPTION_STARTUP_TIMEOUT, 60000));
    IS(uwarp_initiate(pair[0], options, &socket_handle), -ECONNRESET);
    OK(close(pair[0]));
    OK(close(listening));
    OK(uwarp_options_destroy(options));
}

static void giving_up_twice(struct end *end)
{
    uwarp_options options;
    uwarp_queue queue;
    uwarp_region region, again;
    uwarp_domain domain;
    OK(uwarp_domain_create(&domain));
    OK(uwarp_domain_destroy(domain));
    IS(uwarp_domain_destroy(domain), -EBADF);
    OK(uwarp_options_create(end->domain, &options));
    OK(uwarp_options_destroy(options));
    IS(uwarp_options_destroy(options), -EBADF);
    OK(uwarp_queue_create(4, &queue));
    OK(uwarp_queue_destroy(queue));
    IS(uwarp_queue_destroy(queue), -EBADF);
    OK(uwarp_allocate(end->domain, 8, UWARP_REMOTE_READ, &region));
    OK(uwarp_deregister(region, 0));
    IS(uwarp_deregister(region, 0), -EBADF);
    /* Its place has another tenant now; the old handle is not taken for it. */
    OK(uwarp_allocate(end->domain, 8, UWARP_REMOTE_READ, &again));
    IS(region == again, 0);
    IS(uwarp_revoke(region), -EBADF);
    OK(uwarp_deregister(again, 0));
}

/* Memory in use cannot be taken back, and nothing is lost by trying. */
static void in_use(struct end *end)
{
    static uint8_t octets[8];
    uwarp_region region;
    uwarp_remote remote;
    uwarp_completion completion;
    OK(uwarp_register(end->domain, octets, sizeof octets, UWARP_REMOTE_READ, &region));
    uwarp_sge list = {.region = region, .offset = 0, .length = 8};
    OK(uwarp_post_receive(end->socket, 77, &list, 1));
    IS(uwarp_deregister(region, 0), -EBUSY);
    IS(uwarp_deregister(region, 5), -EBUSY);
    IS(uwarp_region_remote(region, &remote), -ENODATA);
    OK(uwarp_renew(region));
    OK(uwarp_region_remote(region, &remote));
    OK(uwarp_abort(end->socket));
    IS(uwarp_wait(end->socket, &completion, WAIT_MS), 1);
    IS(completion.id, 77);
    IS(completion.status, -ECANCELED);
    OK(uwarp_deregister(region, WAIT_MS));
    IS(uwarp_wait(end->socket, &completion, WAIT_MS), -ECONNABORTED);
    IS(uwarp_end(end->socket, NULL, 0), UWARP_END_ABORTED);
    IS(uwarp_post_receive(end->socket, 78, NULL, 0), -EPIPE);
    IS(uwarp_close(end->socket), -ECONNABORTED);
    IS(uwarp_close(end->socket), -EBADF);
}

/* Ends a child by running another program, so that valgrind does not look for what its parent's threads held. */
static void succeed(void)
{
    execlp("true", "true", (char *)NULL);
    _exit(2);
}

/* A forked child is told that its parent's handles are not its own, and may use the library itself. */
static void forked(struct end *end)
{
    pid_t child = fork();
    if (child == 0) {
        uwarp_domain domain;
        uwarp_region region;
        uwarp_completion completion;
        IS(uwarp_poll(end->socket, &completion, 1), -EPERM);
        IS(uwarp_post_send(end->socket, 1, NULL, 0, 0, 0), -EPERM);
        IS(uwarp_close(end->socket), -EPERM);
        IS(uwarp_deregister(end->region, 0), -EPERM);
        OK(uwarp_domain_create(&domain));
        OK(uwarp_allocate(domain, 64, UWARP_REMOTE_READ, &region));
        OK(uwarp_deregister(region, 0));
        OK(uwarp_domain_destroy(domain));
        succeed();
    }
    int status;
    IS(waitpid(child, &status, 0), child);
    IS(status, 0);
}

enum { THREADS = 8, ROUNDS = 300 };

static struct end shared;
static uwarp_region contested[ROUNDS];
static int winners[ROUNDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Everybody makes, uses and gives up; and all try to give the same things up, which one alone can do. */
static void *crowd(void *argument)
{
    uint64_t me = (uint64_t)(uintptr_t)argument;
    for (int round = 0; round < ROUNDS; round++) {
        uwarp_region region;
        uwarp_remote remote;
        uint64_t word = me << 32 | (uint64_t)round, seen;
        OK(uwarp_allocate(shared.domain, 64, UWARP_REMOTE_WRITE, &region));
        OK(uwarp_region_write(region, 8, &word, sizeof word));
        OK(uwarp_region_remote(region, &remote));
        OK(uwarp_region_read(region, 8, &seen, sizeof seen));
        IS(seen == word, 1);
        uwarp_sge list = {.region = region, .offset = 8, .length = 8};
        int posted = uwarp_post_receive(shared.socket, word, &list, 1);
        if (posted != 0)
            IS(posted, -EAGAIN);
        OK(uwarp_revoke(region));
        int gone = uwarp_deregister(region, 0);
        if (posted == 0)
            IS(gone, -EBUSY);
        else
            OK(gone);

        int outcome = uwarp_deregister(contested[round], WAIT_MS);
        if (outcome != 0)
            IS(outcome, -EBADF);
        pthread_mutex_lock(&lock);
        winners[round] += outcome == 0;
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void *wait_for_the_end(void *argument)
{
    uwarp_completion completion;
    int outcome;
    (void)argument;
    while ((outcome = uwarp_wait(shared.socket, &completion, WAIT_MS)) == 1)
        IS(completion.status, -ECANCELED);
    /* Another thread has given the handle up by then, or just before. */
    if (outcome != -ECONNABORTED)
        IS(outcome, -EBADF);
    return NULL;
}

static void *accept_for_ever(void *argument)
{
    uwarp_incoming incoming;
    IS(uwarp_accept(*(uwarp_listener *)argument, -1, &incoming), -EBADF);
    return NULL;
}

static void many_threads(void)
{
    struct end other;
    pthread_t threads[THREADS], waiter, acceptor;
    uwarp_options options;
    uwarp_listener listener;
    connect_pair(&shared, &other);
    for (int round = 0; round < ROUNDS; round++)
        OK(uwarp_allocate(shared.domain, 8, 0, &contested[round]));
    for (uintptr_t at = 0; at < THREADS; at++)
        OK(pthread_create(&threads[at], NULL, crowd, (void *)at));
    for (int at = 0; at < THREADS; at++)
        OK(pthread_join(threads[at], NULL));
    for (int round = 0; round < ROUNDS; round++)
        IS(winners[round], 1);

    /* Who waits is told when another thread ends what is waited for. */
    OK(uwarp_options_create(shared.domain, &options));
    OK(uwarp_listen("127.0.0.1:0", options, &listener));
    OK(pthread_create(&acceptor, NULL, accept_for_ever, &listener));
    OK(pthread_create(&waiter, NULL, wait_for_the_end, NULL));
    OK(uwarp_listener_close(listener));
    OK(pthread_join(acceptor, NULL));
    OK(uwarp_options_destroy(options));
    OK(uwarp_abort(shared.socket));
    IS(uwarp_close(shared.socket), -ECONNABORTED);
    OK(pthread_join(waiter, NULL));
    close_end(&shared);
    close_end(&other);
}

static void rejected(struct end *end)
{
    uwarp_options options;
    uwarp_listener listener;
    char address[64], reason[8];
    int ord;
    OK(uwarp_options_create(end->domain, &options));
    OK(uwarp_listen("127.0.0.1:0", options, &listener));
    uwarp_listener_address(listener, address, sizeof address);
    pid_t child = fork();
    if (child == 0) {
        uwarp_domain domain;
        uwarp_options own;
        uwarp_socket socket;
        OK(uwarp_domain_create(&domain));
        OK(uwarp_options_create(domain, &own));
        IS(uwarp_connect(address, own, &socket), -ECONNREFUSED);
        IS(uwarp_last_rejection(reason, sizeof reason, &ord), 2);
        IS(memcmp(reason, "no", 2), 0);
        succeed();
    }
    uwarp_incoming incoming;
    int descriptor, status;
    static char long_data[509];
    OK(uwarp_accept(listener, WAIT_MS, &incoming));
    /* What is at fault with the arguments does not cost the connection. */
    IS(uwarp_incoming_reject(incoming, long_data, sizeof long_data, -1, &descriptor), -EMSGSIZE);
    IS(uwarp_incoming_reject(incoming, "no", 2, 70000, &descriptor), -EINVAL);
    IS(uwarp_incoming_accept(incoming, long_data, sizeof long_data, &end->region), -EMSGSIZE);
    IS(uwarp_incoming_accept(incoming, NULL, 1, &end->region), -EFAULT);
    OK(uwarp_incoming_reject(incoming, "no", 2, -1, &descriptor));
    IS(uwarp_incoming_close(incoming), -EBADF);
    OK(close(descriptor));
    IS(waitpid(child, &status, 0), child);
    IS(status, 0);
    IS(uwarp_accept(listener, 0, &incoming), -EAGAIN);
    OK(uwarp_listener_close(listener));
    OK(uwarp_options_destroy(options));
}

int main(void)
{
    struct end client, server;
    connect_pair(&client, &server);
    no_handles(client.domain ^ (uint64_t)15 << 60);
    null_pointers(&client);
    wrong_numbers(&client, &server);
    descriptors(&client);
    giving_up_twice(&client);
    forked(&client);
    rejected(&client);
    in_use(&client);
    close_end(&client);
    close_end(&server);
    many_threads();
    return 0;
}
