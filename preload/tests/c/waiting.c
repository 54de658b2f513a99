/* poll, select and epoll on a TCP socket in DDPMODE: one case for each argument. Run under the library. */
#define _GNU_SOURCE
#include "common.h"

#include <sys/epoll.h>
#include <sys/select.h>

CASE(epoll_level) {
    int a, b, set = OK(epoll_create1(0));
    pair(&a, &b);
    static char octets[1 << 16];
    struct epoll_event event = {EPOLLIN, {.u64 = 0x123456789abcdef0}}, told;
    OK(epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
    IS(epoll_wait(set, &told, 1, 0), 0);
    write_all(a, "abcd", 4);
    IS(epoll_wait(set, &told, 1, 5000), 1);
    IS(told.data.u64, event.data.u64);
    IS(told.events, EPOLLIN);
    IS(read(b, octets, 2), 2);
    IS(epoll_wait(set, &told, 1, 5000), 1);
    IS(read(b, octets, 9), 2);
    IS(epoll_wait(set, &told, 1, 0), 0);
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
    OK(epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
    IS(epoll_wait(set, &told, 1, 5000), 1);
    IS(told.events, EPOLLOUT);
    OK(fcntl(b, F_SETFL, O_NONBLOCK));
    while (write(b, octets, sizeof octets) > 0) {
    }
    IS(epoll_wait(set, &told, 1, 0), 0);
    while (recv(a, octets, sizeof octets, MSG_DONTWAIT) > 0 || !ready(b, POLLOUT)) {
    }
    IS(epoll_wait(set, &told, 1, 5000), 1);
    IS(told.events, EPOLLOUT);
    OK(shutdown(a, SHUT_WR));
    wait_for(b, POLLRDHUP);
    IS(epoll_wait(set, &told, 1, 5000), 1);
    IS(told.events & (EPOLLIN | EPOLLRDHUP), EPOLLIN | EPOLLRDHUP);
    OK(epoll_ctl(set, EPOLL_CTL_DEL, b, NULL));
    IS(epoll_wait(set, &told, 1, 0), 0);
    OK(epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
    close(b);
    IS(epoll_wait(set, &told, 1, 0), 0);
}

CASE(epoll_edge) {
    int a, b, set = OK(epoll_create1(0));
    pair(&a, &b);
    static char octets[1 << 16];
    OK(fcntl(b, F_SETFL, O_NONBLOCK));
    struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.fd = b}}, told;
    OK(epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
    IS(epoll_wait(set, &told, 1, 5000), 1);
    CHECK(told.events & EPOLLOUT);
    for (int round = 0; round < 200; round++) {
        write_all(a, "abcd", 4);
        do {
            IS(epoll_wait(set, &told, 1, 5000), 1);
        } while (!(told.events & EPOLLIN));
        /* An arrival is an edge, whether or not the one before was taken: that of the next round must come. */
        size_t wanted = round % 3 == 0 ? 2 : sizeof octets;
        CHECK(read(b, octets, wanted) > 0);
        if (round % 2 == 0) {
            while (read(b, octets, wanted) > 0) {
            }
        }
    }
    while (read(b, octets, sizeof octets) > 0) {
    }
    for (int round = 0; round < 20; round++) {
        size_t sent = 0, got = 0;
        ssize_t done;
        while ((done = write(b, octets, sizeof octets)) > 0) {
            sent += done;
        }
        CHECK(done < 0 && errno == EAGAIN);
        while (epoll_wait(set, &told, 1, 0) == 1 && !(told.events & EPOLLOUT)) {
        }
        while (got < sent) {
            got += OK(read(a, octets, sizeof octets));
        }
        /* Room again: this edge must come, or the program would wait for ever. */
        do {
            IS(epoll_wait(set, &told, 1, 5000), 1);
        } while (!(told.events & EPOLLOUT));
    }
    event.events = EPOLLIN | EPOLLONESHOT;
    OK(epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
    write_all(a, "1", 1);
    IS(epoll_wait(set, &told, 1, 5000), 1);
    write_all(a, "2", 1);
    IS(epoll_wait(set, &told, 1, 50), 0);
    OK(epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
    IS(epoll_wait(set, &told, 1, 5000), 1);
}

/* What is registered before it is known what the connection is. */
CASE(epoll_undecided) {
    int listener = listen_at(NULL), set = OK(epoll_create1(0));
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int kind = 0; kind < 4; kind++) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        if (kind % 2 == 0) {
            set_ddpmode(client, DDPMODE_STREAM);
        }
        OK(connect_to(client, listener));
        int server = OK(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
        int copy = OK(fcntl(server, F_DUPFD, 20));
        struct epoll_event event = {EPOLLIN | EPOLLRDHUP | (kind / 2 ? EPOLLET : 0), {.u64 = 99}}, told;
        OK(epoll_ctl(set, EPOLL_CTL_ADD, server, &event));
        struct later later = {client, "octets", 6};
        pthread_t thread = start(write_later, &later);
        char in[16];
        ssize_t got;
        do {
            IS(epoll_wait(set, &told, 1, 5000), 1);
            IS(told.data.u64, 99);
        } while ((got = read(kind == 0 ? copy : server, in, sizeof in)) < 0);
        IS(got, 6);
        pthread_join(thread, NULL);
        IS(ddpmode(server), kind % 2 == 0 ? DDPMODE_STREAM : DDPMODE_OFF);
        IS(ddpmode(copy), ddpmode(server));
        CHECK(fcntl(server, F_GETFD) & FD_CLOEXEC);
        CHECK(!(fcntl(copy, F_GETFD) & FD_CLOEXEC));
        CHECK(fcntl(copy, F_GETFL) & O_NONBLOCK);
        IS(epoll_wait(set, &told, 1, 0), 0);
        write_all(client, "more", 4);
        IS(epoll_wait(set, &told, 1, 5000), 1);
        IS(read(server, in, sizeof in), 4);
        close(server);
        close(copy);
        close(client);
    }
}

/* Registered before it is connected, and before anybody knows that it will be in DDPMODE. */
CASE(epoll_before_connect) {
    int listener = listen_at(NULL), set = OK(epoll_create1(0));
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int how = 0; how < 6; how++) {
        int client = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        int events = EPOLLIN | EPOLLOUT | (how % 3 == 1 ? EPOLLET : how % 3 == 2 ? EPOLLONESHOT : 0);
        struct epoll_event event = {how < 3 ? events : EPOLLIN, {.u64 = 0x123456789abcdef0}}, told;
        OK(epoll_ctl(set, EPOLL_CTL_ADD, client, &event));
        set_ddpmode(client, DDPMODE_STREAM);
        if (how >= 3) {
            event.events = events;
            OK(epoll_ctl(set, EPOLL_CTL_MOD, client, &event));
        }
        FAILS(connect_to(client, listener), EINPROGRESS);
        int server = OK(accept(listener, NULL, NULL));
        struct later later = {server, "hello", 5};
        pthread_t thread = start(write_later, &later);
        char in[8];
        for (ssize_t got = -1; got < 0;) {
            IS(epoll_wait(set, &told, 1, 10000), 1);
            CHECK(told.data.u64 == 0x123456789abcdef0);
            got = read(client, in, 8);
            CHECK(got == 5 || (got < 0 && errno == EAGAIN));
            event.events = EPOLLIN | (events & (EPOLLET | EPOLLONESHOT));
            OK(epoll_ctl(set, EPOLL_CTL_MOD, client, &event));
        }
        pthread_join(thread, NULL);
        IS(ddpmode(client), DDPMODE_STREAM);
        close(client);
        close(server);
    }
}

CASE(selects) {
    int a, b;
    pair(&a, &b);
    char in[8];
    fd_set reads, writes;
    for (int round = 0; round < 3; round++) {
        FD_ZERO(&reads);
        FD_ZERO(&writes);
        FD_SET(b, &reads);
        FD_SET(b, &writes);
        struct timeval time = {5, 0};
        IS(select(b + 1, &reads, &writes, NULL, &time), 1);
        CHECK(!FD_ISSET(b, &reads) && FD_ISSET(b, &writes));
        FD_ZERO(&writes);
        FD_SET(b, &reads);
        struct timespec none = {0, 0};
        IS(pselect(b + 1, &reads, NULL, NULL, &none, NULL), 0);
        FD_SET(b, &reads);
        time = (struct timeval){0, 20000};
        IS(select(b + 1, &reads, NULL, NULL, &time), 0);
        write_all(a, "abc", 3);
        FD_SET(b, &reads);
        time = (struct timeval){5, 0};
        IS(select(b + 1, &reads, NULL, NULL, &time), 1);
        CHECK(time.tv_sec < 5);
        IS(read(b, in, 8), 3);
        struct pollfd list[] = {{a, POLLIN, 0}, {-1, POLLIN, 0}, {b, POLLIN | POLLOUT, 0}};
        IS(ppoll(list, 3, NULL, NULL), 1);
        IS(list[2].revents, POLLOUT);
        IS(list[0].revents, 0);
        IS(poll(list, 1, 20), 0);
    }
}

/* Programs with blocking sockets read when select says so: a Request is not something to read. */
CASE(select_undecided) {
    int listener = listen_at(NULL);
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int round = 0; round < 2; round++) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        set_ddpmode(client, DDPMODE_STREAM);
        OK(connect_to(client, listener));
        int server = OK(accept(listener, NULL, NULL));
        fd_set reads;
        FD_ZERO(&reads);
        FD_SET(server, &reads);
        struct timeval time = {0, 100000};
        if (round == 0) {
            IS(select(server + 1, &reads, NULL, NULL, &time), 0);
        } else {
            struct pollfd ask = {server, POLLIN, 0};
            IS(poll(&ask, 1, 100), 0);
        }
        IS(ddpmode(server), DDPMODE_STREAM);
        exchange(client, server);
    }
}

/* A descriptor that poll is given twice, and that becomes a stream meanwhile. */
CASE(polled_twice) {
    int listener = listen_at(NULL), client = OK(socket(AF_INET, SOCK_STREAM, 0));
    set_ddpmode(listener, DDPMODE_STREAM);
    set_ddpmode(client, DDPMODE_STREAM);
    OK(connect_to(client, listener));
    int server = OK(accept(listener, NULL, NULL));
    while (ddpmode(server) != DDPMODE_STREAM) {
        struct pollfd ask[] = {{server, POLLIN, 0}, {server, POLLIN, 0}};
        IS(poll(ask, 2, 10), 0);
    }
    struct later later = {client, "x", 1};
    pthread_t thread = start(write_later, &later);
    struct pollfd ask[] = {{server, POLLIN, 0}, {server, POLLIN, 0}};
    IS(poll(ask, 2, 10000), 2);
    pthread_join(thread, NULL);
    char in[1];
    IS(read(server, in, 1), 1);
    exchange(client, server);
}

int main(int count, char **arguments) {
    begin();
    return run_case(count, arguments);
}
