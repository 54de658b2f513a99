/* What the test programs share. */
#ifndef COMMON_H
#define COMMON_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uwarp-ddpmode.h"

#define CHECK(what)                                                                            \
    do {                                                                                       \
        if (!(what)) {                                                                         \
            fprintf(stderr, "%s:%d: %s (errno %d: %s)\n", __FILE__, __LINE__, #what, errno, strerror(errno)); \
            _exit(1);                                                                          \
        }                                                                                      \
    } while (0)

#define IS(what, value)                                                                        \
    do {                                                                                       \
        errno = 0;                                                                             \
        long long is_ = (long long)(what), wanted_ = (long long)(value);                       \
        if (is_ != wanted_) {                                                                  \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld (errno %d: %s)\n", __FILE__, __LINE__, #what, is_, wanted_, \
                    errno, strerror(errno));                                                   \
            _exit(1);                                                                          \
        }                                                                                      \
    } while (0)

#define FAILS(what, number)                                                                    \
    do {                                                                                       \
        IS(what, -1);                                                                          \
        FAILED_WITH(#what, number);                                                            \
    } while (0)

static inline void failed_with(const char *file, int line, const char *what, int seen, int number) {
    if (seen != number) {
        fprintf(stderr, "%s:%d: %s failed with %d, not %d\n", file, line, what, seen, number);
        _exit(1);
    }
}

#define FAILED_WITH(what, number) failed_with(__FILE__, __LINE__, what, errno, number)

static inline long long succeeded(const char *file, int line, const char *what, long long result) {
    if (result < 0) {
        fprintf(stderr, "%s:%d: %s failed with %d: %s\n", file, line, what, errno, strerror(errno));
        _exit(1);
    }
    return result;
}

#define OK(what) succeeded(__FILE__, __LINE__, #what, what)

static volatile sig_atomic_t sigpipes;

static inline void count_sigpipe(int number) {
    (void)number;
    sigpipes++;
}

static inline void nothing(int number) { (void)number; }

static inline void begin(void) {
    struct sigaction action = {.sa_handler = count_sigpipe};
    OK(sigaction(SIGPIPE, &action, NULL));
    alarm(50);
}

/* The cases of a program, of which its argument names one. */
struct entry {
    const char *name;
    void (*run)(void);
    struct entry *next;
};

static struct entry *cases;

/* A function that is a case. */
#define CASE(case_)                                                                            \
    static void case_(void);                                                                   \
    __attribute__((constructor)) static void add_##case_(void) {                               \
        static struct entry entry = {#case_, case_, NULL};                                     \
        entry.next = cases;                                                                    \
        cases = &entry;                                                                        \
    }                                                                                          \
    static void case_(void)

static inline int run_case(int count, char **arguments) {
    for (struct entry *entry = cases; count > 1 && entry; entry = entry->next) {
        if (strcmp(arguments[1], entry->name) == 0) {
            entry->run();
            puts("done");
            return 0;
        }
    }
    return 2;
}

static inline void expect_sigpipe(int count) {
    IS(sigpipes, count);
    sigpipes = 0;
}

static inline void set_ddpmode(int fd, int mode) { OK(setsockopt(fd, SOL_DDP, DDPMODE, &mode, sizeof mode)); }

static inline int int_option(int fd, int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    OK(getsockopt(fd, level, name, &value, &len));
    return value;
}

static inline int ddpmode(int fd) { return int_option(fd, SOL_DDP, DDPMODE); }
#define ddpmode_result ddpmode

static inline int listen_at(int *port) {
    int listener = OK(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = port ? htons(*port) : 0;
    OK(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, (int[]){1}, sizeof(int)));
    OK(bind(listener, (struct sockaddr *)&address, sizeof address));
    OK(listen(listener, 128));
    return listener;
}

static inline int port_of(int fd) {
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    OK(getsockname(fd, (struct sockaddr *)&address, &len));
    return ntohs(address.sin_port);
}

static inline int connect_port(int fd, int port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return connect(fd, (struct sockaddr *)&address, sizeof address);
}

static inline int connect_to(int fd, int listener) { return connect_port(fd, port_of(listener)); }

/* Events of one descriptor now. */
static inline int ready(int fd, int events) {
    struct pollfd ask = {fd, events, 0};
    OK(poll(&ask, 1, 0));
    return ask.revents;
}

static inline void wait_for(int fd, int events) {
    struct pollfd ask = {fd, events, 0};
    IS(poll(&ask, 1, 10000), 1);
}

static inline void write_all(int fd, const void *octets, size_t len) {
    const char *at = octets;
    while (len > 0) {
        ssize_t done = OK(write(fd, at, len));
        at += done;
        len -= done;
    }
}

static inline void exchange(int a, int b) {
    char in[8];
    write_all(a, "to", 2);
    IS(recv(b, in, 2, MSG_WAITALL), 2);
    IS(memcmp(in, "to", 2), 0);
    write_all(b, "fro", 3);
    IS(recv(a, in, 3, MSG_WAITALL), 3);
    IS(memcmp(in, "fro", 3), 0);
}

static inline pthread_t start(void *(*run)(void *), void *argument) {
    pthread_t thread;
    IS(pthread_create(&thread, NULL, run, argument), 0);
    return thread;
}

/* Reads so much, to where it says if it says so. */
struct drain {
    int fd;
    size_t len;
    char *to;
};

static inline void *drain_octets(void *argument) {
    struct drain *drain = argument;
    static __thread char scratch[1 << 15];
    for (size_t got = 0; got < drain->len;) {
        ssize_t done = OK(drain->to ? read(drain->fd, drain->to + got, drain->len - got)
                                    : read(drain->fd, scratch, sizeof scratch));
        CHECK(done > 0);
        got += done;
    }
    return NULL;
}

struct later {
    int fd;
    const char *octets;
    size_t len;
};

static inline void *write_now(void *argument) {
    struct later *later = argument;
    if (later->fd >= 0) {
        write_all(later->fd, later->octets, later->len);
    }
    return NULL;
}

static inline void *write_later(void *argument) {
    usleep(100000);
    return write_now(argument);
}

struct alarm {
    pthread_t who;
    struct later *then;
};

static inline void *signal_later(void *argument) {
    struct alarm *alarm = argument;
    usleep(100000);
    pthread_kill(alarm->who, SIGUSR1);
    return write_later(alarm->then);
}

/* Looks at an accepted connection until the Request has come, which no program sees. */
static inline void settle(int server) {
    while (ddpmode(server) != DDPMODE_STREAM) {
        CHECK(!ready(server, POLLIN));
        usleep(1000);
    }
}

/* A connection in DDPMODE, both ends here. */
static inline void pair(int *client, int *server) {
    int listener = listen_at(NULL);
    set_ddpmode(listener, DDPMODE_STREAM);
    *client = OK(socket(AF_INET, SOCK_STREAM, 0));
    set_ddpmode(*client, DDPMODE_STREAM);
    OK(connect_to(*client, listener));
    *server = OK(accept(listener, NULL, NULL));
    close(listener);
    settle(*server);
    wait_for(*client, POLLOUT);
    wait_for(*server, POLLOUT);
}

/* Descriptors of this process. */
static inline int descriptors(void) {
    int count = 0;
    DIR *list = opendir("/proc/self/fd");
    CHECK(list);
    while (readdir(list)) {
        count++;
    }
    closedir(list);
    return count - 3;
}

#endif
