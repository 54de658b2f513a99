/* What programs expect of a TCP socket, of one in DDPMODE: one case for each argument. Run under the library. */
#define _GNU_SOURCE
#include "common.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <netinet/tcp.h>

static void option(void) {
    int plain = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
    IS(ddpmode(plain), DDPMODE_OFF);
    int mode = DDPMODE_STREAM;
    FAILS(setsockopt(udp, SOL_DDP, DDPMODE, &mode, sizeof mode), EOPNOTSUPP);
    FAILS(setsockopt(plain, SOL_DDP, DDPMODE, &mode, 2), EINVAL);
    FAILS(setsockopt(plain, SOL_DDP, 77, &mode, sizeof mode), ENOPROTOOPT);
    FAILS(setsockopt(9999, SOL_DDP, DDPMODE, &mode, sizeof mode), EBADF);
    mode = 77;
    FAILS(setsockopt(plain, SOL_DDP, DDPMODE, &mode, sizeof mode), EINVAL);
    set_ddpmode(plain, DDPMODE_STREAM);
    IS(ddpmode(plain), DDPMODE_STREAM);
    set_ddpmode(plain, DDPMODE_OFF);
    IS(ddpmode(plain), DDPMODE_OFF);

    int client, server;
    pair(&client, &server);
    IS(ddpmode(client), DDPMODE_STREAM);
    IS(ddpmode(server), DDPMODE_STREAM);
    IS(int_option(client, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
    IS(int_option(client, SOL_SOCKET, SO_DOMAIN), AF_INET);
    IS(int_option(client, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
    IS(int_option(client, SOL_SOCKET, SO_ACCEPTCONN), 0);
    IS(int_option(client, SOL_SOCKET, SO_ERROR), 0);
    int on = 1;
    OK(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    IS(int_option(client, IPPROTO_TCP, TCP_NODELAY), 1);
    FAILS(setsockopt(client, SOL_DDP, DDPMODE, (int[]){DDPMODE_OFF}, sizeof on), EBUSY);
    struct sockaddr_in mine, theirs;
    socklen_t len = sizeof mine;
    OK(getsockname(client, (struct sockaddr *)&mine, &len));
    IS(len, sizeof mine);
    OK(getpeername(server, (struct sockaddr *)&theirs, &len));
    IS(mine.sin_port, theirs.sin_port);
    IS(mine.sin_addr.s_addr, theirs.sin_addr.s_addr);
    struct sockaddr_in again;
    OK(getpeername(client, (struct sockaddr *)&again, &len));
    FAILS(connect(client, (struct sockaddr *)&again, len), EISCONN);
}

/* A connection that is set to DDPMODE when it is there. */
static void connected(void) {
    int listener = listen_at(NULL);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect_to(client, listener));
    int server = OK(accept(listener, NULL, NULL));
    set_ddpmode(server, DDPMODE_STREAM);
    set_ddpmode(client, DDPMODE_STREAM);
    exchange(client, server);
    IS(ddpmode(client), DDPMODE_STREAM);
    /* Whoever connected may be the responder. */
    client = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect_to(client, listener));
    server = OK(accept(listener, NULL, NULL));
    set_ddpmode(server, DDPMODE_STREAM | DDPMODE_INITIATOR);
    set_ddpmode(client, DDPMODE_STREAM | DDPMODE_RESPONDER);
    exchange(client, server);
}

/* One listener for both kinds of clients. */
static void both_kinds(void) {
    int listener = listen_at(NULL);
    set_ddpmode(listener, DDPMODE_STREAM);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect_to(client, listener));
    int server = OK(accept(listener, NULL, NULL));
    exchange(client, server);
    IS(ddpmode(server), DDPMODE_OFF);
    /* A plain client may begin like one that is none. */
    client = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect_to(client, listener));
    server = OK(accept(listener, NULL, NULL));
    write_all(client, "MPA ID", 6);
    OK(shutdown(client, SHUT_WR));
    char octets[16];
    IS(read(server, octets, sizeof octets), 6);
    IS(memcmp(octets, "MPA ID", 6), 0);
    IS(read(server, octets, sizeof octets), 0);
}

static void reads(void) {
    int a, b;
    pair(&a, &b);
    char in[64] = {0};
    write_all(a, "0123456789", 10);
    wait_for(b, POLLIN);
    int count = 0;
    OK(ioctl(b, FIONREAD, &count));
    IS(count, 10);
    IS(recv(b, in, 4, MSG_PEEK), 4);
    IS(recv(b, in, 4, 0), 4);
    IS(memcmp(in, "0123", 4), 0);
    struct iovec parts[] = {{in, 2}, {NULL, 0}, {in + 2, 30}};
    IS(readv(b, parts, 3), 6);
    IS(memcmp(in, "456789", 6), 0);
    FAILS(recv(b, in, 4, MSG_DONTWAIT), EAGAIN);
    FAILS(recv(b, in, 4, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
    IS(read(b, in, 0), 0);

    struct iovec out[] = {{"ab", 2}, {"cdef", 4}};
    IS(writev(a, out, 2), 6);
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    IS(recvfrom(b, in, 3, MSG_WAITALL, (struct sockaddr *)&from, &len), 3);
    IS(len, 0);
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3, .msg_name = &from, .msg_namelen = sizeof from};
    IS(recvmsg(b, &message, 0), 3);
    IS(message.msg_namelen, 0);
    IS(memcmp(in, "def", 3), 0);
    message = (struct msghdr){.msg_iov = out, .msg_iovlen = 2};
    IS(sendmsg(a, &message, 0), 6);
    IS(send(a, "gh", 2, MSG_MORE), 2);
    IS(sendto(a, "ij", 2, 0, NULL, 0), 2);
    IS(recv(b, in, 10, MSG_WAITALL), 10);
    IS(memcmp(in, "abcdefghij", 10), 0);
    struct mmsghdr several[2] = {{.msg_hdr = message}, {.msg_hdr = message}};
    IS(sendmmsg(a, several, 2, 0), 2);
    IS(several[1].msg_len, 6);
    IS(recv(b, in, 12, MSG_WAITALL), 12);
    FAILS(send(a, "x", 1, MSG_OOB), EOPNOTSUPP);
    FAILS(recv(b, in, 1, MSG_OOB), EINVAL);

    /* A read waits for as much as SO_RCVTIMEO says. */
    struct timeval time = {0, 50000};
    OK(setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    FAILS(read(b, in, 4), EAGAIN);
    struct timeval told;
    len = sizeof told;
    OK(getsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &told, &len));
    IS(told.tv_usec / 10000, 5);
    write_all(a, "xyz", 3);
    time.tv_sec = 5;
    OK(setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    IS(read(b, in, sizeof in), 3);
}

static void writes(void) {
    int a, b;
    pair(&a, &b);
    char *octets = calloc(1, 1 << 20), in[4096];
    struct timeval time = {0, 50000};
    OK(setsockopt(a, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time));
    /* More than both ends keep: it says how far it came. */
    ssize_t sent = OK(write(a, octets, 1 << 20));
    CHECK(sent < 1 << 20);
    FAILS(write(a, octets, 1 << 20), EAGAIN);
    CHECK(!ready(a, POLLOUT));
    for (ssize_t got = 0; got < sent; got += OK(read(b, in, sizeof in))) {
    }
    FAILS(recv(b, in, 1, MSG_DONTWAIT), EAGAIN);
    wait_for(a, POLLOUT);
    /* Without a limit all of it is taken. */
    time.tv_usec = 0;
    OK(setsockopt(a, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time));
    struct drain drain = {b, 1 << 20, 0};
    pthread_t thread = start(drain_octets, &drain);
    IS(write(a, octets, 1 << 20), 1 << 20);
    pthread_join(thread, NULL);
    free(octets);
}

static void half_close(void) {
    int a, b;
    pair(&a, &b);
    char in[8];
    write_all(a, "last", 4);
    OK(shutdown(a, SHUT_WR));
    IS(recv(b, in, 4, MSG_WAITALL), 4);
    IS(read(b, in, 4), 0);
    IS(read(b, in, 4), 0);
    CHECK(ready(b, POLLIN) & POLLIN);
    CHECK(ready(b, POLLRDHUP) & POLLRDHUP);
    write_all(b, "back", 4);
    IS(recv(a, in, 4, MSG_WAITALL), 4);
    expect_sigpipe(0);
    FAILS(write(a, "x", 1), EPIPE);
    expect_sigpipe(1);
    close(b);
    IS(read(a, in, 4), 0);
    OK(shutdown(b = a, SHUT_RD));
}

static void broken_pipe(void) {
    int a, b;
    pair(&a, &b);
    close(b);
    wait_for(a, POLLIN);
    char in[8];
    IS(read(a, in, 4), 0);
    /* The first writes may still go out. */
    while (send(a, "x", 1, MSG_NOSIGNAL) == 1) {
        usleep(1000);
    }
    CHECK(errno == EPIPE || errno == ECONNRESET);
    expect_sigpipe(0);
    FAILS(send(a, "x", 1, MSG_NOSIGNAL), EPIPE);
    expect_sigpipe(0);
    FAILS(send(a, "x", 1, 0), EPIPE);
    expect_sigpipe(1);
}

static void reset(void) {
    int a, b;
    pair(&a, &b);
    struct linger linger = {1, 0};
    OK(setsockopt(b, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    close(b);
    wait_for(a, POLLIN);
    CHECK(ready(a, POLLIN) & POLLHUP);
    char in[8];
    FAILS(read(a, in, 4), ECONNRESET);
    IS(read(a, in, 4), 0);
    FAILS(send(a, "x", 1, MSG_NOSIGNAL), EPIPE);

    pair(&a, &b);
    OK(setsockopt(b, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    close(b);
    wait_for(a, POLLHUP);
    IS(int_option(a, SOL_SOCKET, SO_ERROR), ECONNRESET);
    IS(int_option(a, SOL_SOCKET, SO_ERROR), 0);
    IS(read(a, in, 4), 0);
}

static void nonblocking(void) {
    int a, b, on = 1;
    pair(&a, &b);
    static char octets[1 << 16];
    OK(fcntl(a, F_SETFL, OK(fcntl(a, F_GETFL)) | O_NONBLOCK));
    OK(ioctl(b, FIONBIO, &on));
    CHECK(OK(fcntl(b, F_GETFL)) & O_NONBLOCK);
    FAILS(read(b, octets, 1), EAGAIN);
    IS(ready(b, POLLIN | POLLOUT), POLLOUT);
    size_t sent = 0, got = 0;
    ssize_t done;
    while ((done = write(a, octets, sizeof octets)) > 0) {
        sent += done;
    }
    CHECK(done < 0 && errno == EAGAIN);
    CHECK(!ready(a, POLLOUT));
    while (got < sent) {
        wait_for(b, POLLIN);
        while ((done = read(b, octets, 1000)) > 0) {
            got += done;
        }
        CHECK(done < 0 && errno == EAGAIN);
    }
    IS(got, sent);
    CHECK(!ready(b, POLLIN));
    wait_for(a, POLLOUT);
    CHECK(write(a, octets, sizeof octets) > 0);
    on = 0;
    OK(ioctl(b, FIONBIO, &on));
    CHECK(!(OK(fcntl(b, F_GETFL)) & O_NONBLOCK));
    CHECK(read(b, octets, 1) == 1);
}

static void epoll_level(void) {
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

static void epoll_edge(void) {
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
static void epoll_undecided(void) {
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
static void epoll_before_connect(void) {
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

static void selects(void) {
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
static void select_undecided(void) {
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

/* What begins as a Request's key does, and goes on late or never. */
static void part_of_a_key(void) {
    int listener = listen_at(NULL), set = OK(epoll_create1(0));
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int how = 0; how < 6; how++) {
        int client = OK(socket(AF_INET, SOCK_STREAM, 0));
        OK(connect_to(client, listener));
        int server = OK(accept4(listener, NULL, NULL, how == 2 ? SOCK_NONBLOCK : 0));
        write_all(client, "MPA ID", 6);
        char in[16];
        struct timeval time = {0, 0};
        fd_set reads;
        FD_ZERO(&reads);
        FD_SET(server, &reads);
        if (how == 0) {
            /* It does not keep anybody from going on, and in the end it is plain. */
            IS(ready(server, POLLIN), 0);
            wait_for(server, POLLIN);
        } else if (how == 1) {
            IS(select(server + 1, &reads, NULL, NULL, &time), 0);
            FD_SET(server, &reads);
            IS(select(server + 1, &reads, NULL, NULL, NULL), 1);
            CHECK(FD_ISSET(server, &reads));
        } else if (how == 2) {
            struct epoll_event event = {EPOLLIN, {.u64 = 3}}, told;
            OK(epoll_ctl(set, EPOLL_CTL_ADD, server, &event));
            int wakes = 1;
            IS(epoll_wait(set, &told, 1, 10000), 1);
            while (recv(server, in, 16, MSG_PEEK) < 0) {
                CHECK(errno == EAGAIN);
                wakes++;
                IS(epoll_wait(set, &told, 1, 10000), 1);
            }
            CHECK(wakes < 10);
        } else if (how == 3) {
            IS(recv(server, in, 16, MSG_PEEK), 6);
        } else if (how == 4) {
            IS(ready(server, POLLIN), 0);
            OK(shutdown(client, SHUT_WR));
            wait_for(server, POLLIN);
        } else {
            IS(ready(server, POLLIN), 0);
            write_all(client, " Req Frame", 10);
            settle(server);
            close(server);
            close(client);
            continue;
        }
        IS(read(server, in, 16), 6);
        IS(memcmp(in, "MPA ID", 6), 0);
        IS(ddpmode(server), DDPMODE_OFF);
        IS(int_option(server, SOL_SOCKET, SO_RCVLOWAT), 1);
        write_all(server, "x", 1);
        IS(read(client, in, 1), 1);
        close(server);
        close(client);
    }
}

/* A descriptor that poll is given twice, and that becomes a stream meanwhile. */
static void polled_twice(void) {
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

/* A blocking connect that ends before TCP is connected: it goes on. */
static void connect_timeout(void) {
    int listener = listen_at(NULL), first = OK(socket(AF_INET, SOCK_STREAM, 0));
    set_ddpmode(listener, DDPMODE_STREAM);
    /* Room for one that is not accepted. */
    OK(listen(listener, 0));
    OK(connect_to(first, listener));
    int client = OK(socket(AF_INET, SOCK_STREAM, 0));
    set_ddpmode(client, DDPMODE_STREAM);
    struct timeval time = {0, 50000};
    OK(setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time));
    FAILS(connect_to(client, listener), EINPROGRESS);
    close(OK(accept(listener, NULL, NULL)));
    close(first);
    wait_for(listener, POLLIN);
    int server = OK(accept(listener, NULL, NULL));
    settle(server);
    wait_for(client, POLLOUT);
    IS(int_option(client, SOL_SOCKET, SO_ERROR), 0);
    IS(ddpmode(client), DDPMODE_STREAM);
    exchange(client, server);
}

static void dups(void) {
    int a, b;
    pair(&a, &b);
    char in[8];
    int copies[] = {OK(dup(b)), OK(dup2(b, 50)), OK(dup3(b, 51, O_CLOEXEC)), OK(fcntl(b, F_DUPFD, 60)),
                    OK(fcntl(b, F_DUPFD_CLOEXEC, 61))};
    IS(copies[1], 50);
    IS(dup2(b, b), b);
    FAILS(dup2(9999, 50), EBADF);
    for (int i = 0; i < 5; i++) {
        write_all(a, "ab", 2);
        IS(recv(copies[i], in, 2, MSG_WAITALL), 2);
        write_all(copies[i], "cd", 2);
        IS(recv(a, in, 2, MSG_WAITALL), 2);
        IS(ddpmode(copies[i]), DDPMODE_STREAM);
    }
    CHECK(fcntl(51, F_GETFD) & FD_CLOEXEC);
    close(b);
    FAILS(read(b, in, 1), EBADF);
    for (int i = 0; i < 4; i++) {
        close(copies[i]);
    }
    CHECK(!ready(a, POLLIN));
    exchange(a, copies[4]);
    /* The last number becomes something else. */
    int null = OK(open("/dev/null", O_RDWR));
    OK(dup2(null, copies[4]));
    IS(read(copies[4], in, 4), 0);
    IS(read(a, in, 4), 0);
    IS(ddpmode_result(copies[4]), DDPMODE_OFF);
}

static void ranges(void) {
    int base = descriptors(), a[20], b[20];
    for (int i = 0; i < 20; i++) {
        pair(&a[i], &b[i]);
    }
    /* One TCP socket beside each; the worker and the sink are a few more. */
    CHECK(descriptors() <= base + 80 + 12);
    int settled = descriptors();
    OK(close_range(a[3], a[3], 0));
    char in[8];
    IS(read(b[3], in, 4), 0);
    exchange(a[4], b[4]);
    /* Hidden numbers are nobody's. */
    int highest = 0;
    for (int fd = 3; fd < 20000; fd++) {
        highest = fcntl(fd, F_GETFD) < 0 ? highest : fd;
    }
    FAILS(close(highest), EBADF);
    OK(close_range(9000, ~0U, 0));
    exchange(a[5], b[5]);
    for (int i = 0; i < 20; i++) {
        close(a[i]);
        close(b[i]);
    }
    for (int round = 0; round < 500 && descriptors() > settled - 80; round++) {
        usleep(10000);
    }
    CHECK(descriptors() <= settled - 78);
}

static void sends_files(void) {
    int a, b;
    pair(&a, &b);
    char name[] = "/tmp/uwarp-sendfile-XXXXXX", octets[300000], in[300000];
    for (size_t i = 0; i < sizeof octets; i++) {
        octets[i] = i * 7 + i / 251;
    }
    int file = OK(mkstemp(name));
    unlink(name);
    write_all(file, octets, sizeof octets);
    struct drain drain = {b, sizeof octets, in};
    pthread_t thread = start(drain_octets, &drain);
    off_t offset = 0;
    IS(sendfile(a, file, &offset, 100000), 100000);
    IS(offset, 100000);
    IS(lseek(file, 100000, SEEK_SET), 100000);
    IS(sendfile(a, file, NULL, 1 << 20), 200000);
    IS(lseek(file, 0, SEEK_CUR), 300000);
    IS(sendfile(a, file, NULL, 10), 0);
    pthread_join(thread, NULL);
    IS(memcmp(in, octets, sizeof octets), 0);
    int ends[2];
    OK(pipe(ends));
    FAILS(splice(b, NULL, ends[1], NULL, 10, 0), EINVAL);
    FAILS(splice(ends[0], NULL, a, NULL, 10, 0), EINVAL);
}

static void connects(void) {
    int listener = listen_at(NULL), set = OK(epoll_create1(0));
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int round = 0; round < 2; round++) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        set_ddpmode(client, DDPMODE_STREAM);
        FAILS(connect_to(client, listener), EINPROGRESS);
        FAILS(connect_to(client, listener), EALREADY);
        struct epoll_event event = {EPOLLOUT, {.fd = client}}, told;
        OK(epoll_ctl(set, EPOLL_CTL_ADD, client, &event));
        IS(epoll_wait(set, &told, 1, 0), 0);
        char in[8];
        FAILS(read(client, in, 1), EAGAIN);
        FAILS(write(client, "x", 1), EAGAIN);
        int server = OK(accept(listener, NULL, NULL));
        settle(server);
        IS(epoll_wait(set, &told, 1, 5000), 1);
        IS(told.events, EPOLLOUT);
        IS(int_option(client, SOL_SOCKET, SO_ERROR), 0);
        if (round == 0) {
            OK(connect_to(client, listener));
        }
        OK(fcntl(client, F_SETFL, 0));
        exchange(client, server);
        close(client);
        close(server);
    }
    int port = port_of(listener);
    close(listener);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    set_ddpmode(client, DDPMODE_STREAM);
    FAILS(connect_port(client, port), ECONNREFUSED);
    client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    set_ddpmode(client, DDPMODE_STREAM);
    FAILS(connect_port(client, port), EINPROGRESS);
    wait_for(client, POLLOUT);
    IS(int_option(client, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
}

/* A program that does not wait sees that it is connected before its peer accepts, as some peers want it. */
static void connects_before_accept(void) {
    int listener = listen_at(NULL), set = OK(epoll_create1(0));
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int how = 0; how < 4; how++) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        set_ddpmode(client, DDPMODE_STREAM);
        FAILS(connect_to(client, listener), EINPROGRESS);
        struct epoll_event event = {EPOLLIN | EPOLLOUT | (how == 2 ? EPOLLET : 0), {.fd = client}}, told;
        OK(epoll_ctl(set, EPOLL_CTL_ADD, client, &event));
        IS(epoll_wait(set, &told, 1, 10000), 1);
        IS(told.events, EPOLLOUT);
        if (how == 0) {
            IS(int_option(client, SOL_SOCKET, SO_ERROR), 0);
        } else if (how == 1) {
            OK(connect_to(client, listener));
            FAILS(connect_to(client, listener), EISCONN);
        } else if (how == 2) {
            FAILS(send(client, "to", 2, 0), EAGAIN);
        } else {
            /* A write that waits does so until the peer reads. */
            OK(fcntl(client, F_SETFL, 0));
        }
        struct later later = {how == 3 ? client : -1, "to", 2};
        pthread_t thread = start(write_now, &later);
        if (how < 3) {
            IS(epoll_wait(set, &told, 1, 0), 0);
            CHECK(!ready(client, POLLOUT));
        }
        int server = OK(accept(listener, NULL, NULL));
        settle(server);
        if (how < 3) {
            IS(epoll_wait(set, &told, 1, 10000), 1);
            IS(told.events, EPOLLOUT);
            OK(fcntl(client, F_SETFL, 0));
            exchange(client, server);
        } else {
            char in[8];
            IS(recv(server, in, 2, MSG_WAITALL), 2);
        }
        pthread_join(thread, NULL);
        close(client);
        close(server);
    }
}

/* Signals: with SA_RESTART a read goes on, without it ends. */
static void interrupted(void) {
    int a, b;
    pair(&a, &b);
    for (int restart = 0; restart < 2; restart++) {
        struct sigaction action = {.sa_handler = nothing, .sa_flags = restart ? SA_RESTART : 0};
        OK(sigaction(SIGUSR1, &action, NULL));
        struct later later = {restart ? a : -1, "abcd", 4};
        struct alarm alarm = {pthread_self(), &later};
        pthread_t thread = start(signal_later, &alarm);
        char in[8];
        if (restart) {
            IS(read(b, in, 8), 4);
        } else {
            FAILS(read(b, in, 8), EINTR);
        }
        pthread_join(thread, NULL);
    }
}

static void *read_for_ever(void *argument) {
    char in[8];
    read(*(int *)argument, in, sizeof in);
    return NULL;
}

static void cancelled(void) {
    int a, b;
    pair(&a, &b);
    pthread_t thread = start(read_for_ever, &b);
    usleep(100000);
    IS(pthread_cancel(thread), 0);
    void *result;
    IS(pthread_join(thread, &result), 0);
    CHECK(result == PTHREAD_CANCELED);
    exchange(a, b);
}

/* Both ends write first, more than fits; neither waits for ever. */
static void both_write(void) {
    int a, b;
    pair(&a, &b);
    enum { LEN = 3 << 20 };
    char *octets = calloc(1, LEN);
    struct later one = {a, octets, LEN}, other = {b, octets, LEN};
    struct drain first = {a, LEN, 0}, second = {b, LEN, 0};
    pthread_t threads[] = {start(write_now, &one), start(write_now, &other), start(drain_octets, &first),
                           start(drain_octets, &second)};
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    free(octets);
}

static void *serve_and_close(void *argument) {
    static char octets[1 << 20];
    for (;;) {
        int server = OK(accept(*(int *)argument, NULL, NULL));
        char in[8];
        IS(read(server, in, sizeof in), 2);
        write_all(server, octets, sizeof octets);
        OK(shutdown(server, SHUT_WR));
        close(server);
    }
}

/* A server that writes and closes: whatever its client does meanwhile, the last octets arrive. */
static void last_octets(void) {
    /* Its threads wait for more when it returns. */
    static int listener;
    listener = listen_at(NULL);
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int i = 0; i < 3; i++) {
        start(serve_and_close, &listener);
    }
    static char in[200000];
    for (size_t round = 0; round < 150; round++) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        set_ddpmode(client, DDPMODE_STREAM);
        OK(connect_to(client, listener));
        write_all(client, "go", 2);
        size_t got = 0;
        for (ssize_t done; (done = OK(read(client, in, round * 7919 % 190000 + 3000))) > 0; got += done) {
            if (round % 3 == 0) {
                usleep(50);
            }
        }
        IS(got, 1 << 20);
        close(client);
    }
}

int main(int count, char **arguments) {
    static const struct entry {
        const char *name;
        void (*run)(void);
    } cases[] = {
        {"option", option},
        {"connected", connected},
        {"both_kinds", both_kinds},
        {"reads", reads},
        {"writes", writes},
        {"half_close", half_close},
        {"broken_pipe", broken_pipe},
        {"reset", reset},
        {"nonblocking", nonblocking},
        {"epoll_level", epoll_level},
        {"epoll_edge", epoll_edge},
        {"epoll_undecided", epoll_undecided},
        {"epoll_before_connect", epoll_before_connect},
        {"selects", selects},
        {"select_undecided", select_undecided},
        {"part_of_a_key", part_of_a_key},
        {"polled_twice", polled_twice},
        {"connect_timeout", connect_timeout},
        {"dups", dups},
        {"ranges", ranges},
        {"sends_files", sends_files},
        {"connects", connects},
        {"connects_before_accept", connects_before_accept},
        {"interrupted", interrupted},
        {"cancelled", cancelled},
        {"both_write", both_write},
        {"last_octets", last_octets},
    };
    begin();
    for (size_t i = 0; count > 1 && i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(arguments[1], cases[i].name) == 0) {
            cases[i].run();
            puts("done");
            return 0;
        }
    }
    return 2;
}
