/* What programs expect of a TCP socket, of one in DDPMODE: one case for each argument. Run under the library. */
#define _GNU_SOURCE
#include "common.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <netinet/tcp.h>

CASE(option) {
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
CASE(connected) {
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
CASE(both_kinds) {
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

CASE(reads) {
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

CASE(writes) {
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

CASE(half_close) {
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

CASE(broken_pipe) {
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

CASE(reset) {
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

CASE(nonblocking) {
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

/* What begins as a Request's key does, and goes on late or never. */
CASE(part_of_a_key) {
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

/* A write that waits before the server accepts: SO_SNDTIMEO ends it, and the set-up's time. Run with
 * UWARP_STARTUP_TIMEOUT_MS=2000. */
CASE(writes_before_accept) {
    int listener = listen_at(NULL), client = OK(socket(AF_INET, SOCK_STREAM, 0));
    set_ddpmode(listener, DDPMODE_STREAM);
    set_ddpmode(client, DDPMODE_STREAM);
    struct timeval time = {0, 20000};
    OK(setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time));
    OK(connect_to(client, listener));
    FAILS(write(client, "to", 2), EAGAIN);
    time.tv_usec = 0;
    OK(setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time));
    FAILS(write(client, "to", 2), ETIMEDOUT);
    char in[1];
    IS(read(client, in, 1), 0);
    FAILS(send(client, "to", 2, MSG_NOSIGNAL), EPIPE);
}

/* A blocking connect that ends before TCP is connected: it goes on. */
CASE(connect_timeout) {
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

CASE(dups) {
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

CASE(ranges) {
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

CASE(sends_files) {
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

CASE(connects) {
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
CASE(connects_before_accept) {
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
CASE(interrupted) {
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

CASE(cancelled) {
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
CASE(both_write) {
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
CASE(last_octets) {
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
    begin();
    return run_case(count, arguments);
}
