/* The fine print of a TCP socket, of one in DDPMODE: one case for each argument. Run under the library; and without it, with
 * PLAIN set, which shows that TCP does the same. */
#define _GNU_SOURCE
#include "common.h"

#include <limits.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <netinet/tcp.h>

static int plain;

/* A connection, both ends here; in DDPMODE unless the case runs on plain TCP. */
static void both_ends(int *client, int *server) {
    if (!plain) {
        pair(client, server);
        return;
    }
    int listener = listen_at(NULL);
    *client = OK(socket(AF_INET, SOCK_STREAM, 0));
    OK(connect_to(*client, listener));
    *server = OK(accept(listener, NULL, NULL));
    close(listener);
}

CASE(flags) {
    int a, b;
    both_ends(&a, &b);
    char in[64] = "................";
    write_all(a, "0123456789", 10);
    wait_for(b, POLLIN);
    /* MSG_TRUNC throws octets away. */
    IS(recv(b, in, 4, MSG_TRUNC), 4);
    IS(in[0], '.');
    IS(recv(b, NULL, 2, MSG_TRUNC), 2);
    IS(recv(b, in, 60, MSG_PEEK | MSG_TRUNC), 4);
    IS(recv(b, in, 60, MSG_DONTWAIT), 4);
    IS(memcmp(in, "6789", 4), 0);
    FAILS(recv(b, in, 4, MSG_TRUNC | MSG_DONTWAIT), EAGAIN);

    /* Nothing to read into: read does not look, recv does. */
    IS(read(b, in, 0), 0);
    struct iovec none = {in, 0};
    IS(readv(b, &none, 1), 0);
    FAILS(recv(b, in, 0, MSG_DONTWAIT), EAGAIN);
    write_all(a, "ab", 2);
    wait_for(b, POLLIN);
    IS(recv(b, in, 0, MSG_DONTWAIT), 0);
    IS(recv(b, in, 2, 0), 2);
    IS(write(a, in, 0), 0);
    IS(send(a, in, 0, 0), 0);

    /* Names: there are none to tell, and none to say. */
    struct sockaddr_in other = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    IS(sendto(a, "cd", 2, MSG_NOSIGNAL, (struct sockaddr *)&other, sizeof other), 2);
    IS(sendto(a, "ef", 2, MSG_DONTROUTE | MSG_CONFIRM | MSG_EOR, NULL, 0), 2);
    char control[64];
    struct iovec part = {in, 4};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_namelen = 7, .msg_control = control,
                             .msg_controllen = sizeof control, .msg_flags = -1};
    IS(recvmsg(b, &message, MSG_WAITALL), 4);
    IS(memcmp(in, "cdef", 4), 0);
    IS(message.msg_flags & ~MSG_EOR, 0);
    IS(message.msg_controllen, 0);
    IS(message.msg_namelen, 7);
    message.msg_name = &other;
    message.msg_namelen = sizeof other;
    IS(sendmsg(a, &message, 0), 4);
    message.msg_control = control;
    message.msg_controllen = 0;
    IS(recvmsg(b, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC), 4);
    IS(message.msg_namelen, 0);
    IS(message.msg_flags, MSG_CMSG_CLOEXEC);
    FAILS(recv(b, in, 4, MSG_ERRQUEUE), EAGAIN);
    static struct iovec many[1025];
    message.msg_iov = many;
    message.msg_iovlen = 1025;
    FAILS(recvmsg(b, &message, MSG_DONTWAIT), EMSGSIZE);
    FAILS(sendmsg(b, &message, MSG_DONTWAIT), EMSGSIZE);
    /* The compiler shall not know. */
    volatile int too_many = 1025, fewer_than_none = -1;
    FAILS(readv(b, many, too_many), EINVAL);
    FAILS(writev(b, many, too_many), EINVAL);
    FAILS(readv(b, many, fewer_than_none), EINVAL);
    FAILS(writev(b, many, fewer_than_none), EINVAL);
    IS(readv(b, NULL, 0), 0);
    IS(writev(b, NULL, 0), 0);
    FAILS(recv(b, in, 4, MSG_DONTWAIT), EAGAIN);
}

/* Looks at octets, and waits for all of them. */
CASE(peeks_all) {
    int a, b;
    both_ends(&a, &b);
    char in[16];
    write_all(a, "abc", 3);
    struct later later = {a, "defg", 4};
    pthread_t thread = start(write_later, &later);
    IS(recv(b, in, 7, MSG_PEEK | MSG_WAITALL), 7);
    IS(memcmp(in, "abcdefg", 7), 0);
    pthread_join(thread, NULL);
    IS(recv(b, in, 16, MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT), 7);
    struct timeval time = {0, 50000};
    OK(setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    IS(recv(b, in, 8, MSG_PEEK | MSG_WAITALL), 7);
    OK(shutdown(a, SHUT_WR));
    IS(recv(b, in, 8, MSG_PEEK | MSG_WAITALL), 7);
    IS(recv(b, in, 8, MSG_WAITALL), 7);
    IS(recv(b, in, 8, MSG_PEEK | MSG_WAITALL), 0);
}

CASE(shutdowns) {
    int a, b;
    char in[16];
    both_ends(&a, &b);
    FAILS(shutdown(b, 77), EINVAL);
    write_all(a, "abc", 3);
    wait_for(b, POLLIN);
    OK(shutdown(b, SHUT_RD));
    IS(read(b, in, 16), 3);
    IS(read(b, in, 16), 0);
    IS(recv(b, in, 16, MSG_DONTWAIT), 0);
    CHECK(ready(b, POLLIN | POLLRDHUP) == (POLLIN | POLLRDHUP));
    /* The other direction lives. */
    write_all(b, "def", 3);
    IS(recv(a, in, 3, MSG_WAITALL), 3);
    OK(shutdown(b, SHUT_WR));
    expect_sigpipe(0);
    FAILS(write(b, "x", 1), EPIPE);
    expect_sigpipe(1);
    FAILS(send(b, "x", 1, MSG_NOSIGNAL), EPIPE);
    FAILS(send(b, "x", 0, MSG_NOSIGNAL), EPIPE);
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    FAILS(sendmsg(b, &message, MSG_NOSIGNAL), EPIPE);
    expect_sigpipe(0);
    FAILS(sendmsg(b, &message, 0), EPIPE);
    expect_sigpipe(1);
    FAILS(writev(b, &part, 1), EPIPE);
    expect_sigpipe(1);
    IS(read(a, in, 1), 0);
    OK(shutdown(b, SHUT_RD));
}

static void *reads_to_the_end(void *argument) {
    char in[16];
    ssize_t got = read(*(int *)argument, in, sizeof in);
    return (void *)(intptr_t)(got < 0 ? -errno : got);
}

static void *polls_for_the_end(void *argument) {
    struct pollfd ask = {*(int *)argument, POLLIN, 0};
    OK(poll(&ask, 1, 10000));
    return (void *)(intptr_t)(ask.revents & POLLIN ? 0 : -1);
}

static void *writes_much(void *argument) {
    static char octets[1 << 24];
    ssize_t done = send(*(int *)argument, octets, sizeof octets, MSG_NOSIGNAL);
    return (void *)(intptr_t)(done == sizeof octets ? -1 : 0);
}

/* shutdown wakes those who wait. */
CASE(shutdown_wakes) {
    void *(*waiters[])(void *) = {reads_to_the_end, polls_for_the_end, writes_much, reads_to_the_end};
    for (int i = 0; i < 4; i++) {
        int a, b;
        both_ends(&a, &b);
        pthread_t thread = start(waiters[i], &b);
        usleep(100000);
        OK(shutdown(b, i == 2 ? SHUT_WR : i == 3 ? SHUT_RD : SHUT_RDWR));
        void *result;
        IS(pthread_join(thread, &result), 0);
        IS((intptr_t)result, 0);
        close(a);
        close(b);
    }
}

static void *resets_later(void *argument) {
    int fd = *(int *)argument;
    struct linger linger = {1, 0};
    usleep(100000);
    OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    close(fd);
    return NULL;
}

/* A write that waits for room when the connection ends says what has been written; the next call says why. */
CASE(half_written) {
    int a, b;
    static char octets[1 << 26];
    both_ends(&a, &b);
    pthread_t thread = start(resets_later, &b);
    ssize_t done = OK(write(a, octets, sizeof octets));
    CHECK(done > 0 && done < (ssize_t)sizeof octets);
    IS(pthread_join(thread, NULL), 0);
    FAILS(write(a, octets, 1), ECONNRESET);
    expect_sigpipe(0);
    FAILS(write(a, octets, 1), EPIPE);
    expect_sigpipe(1);
}

/* A number that is closed, and becomes another connection's, while somebody reads from it: he does not follow. */
CASE(number_used_again) {
    for (int how = 0; how < 2; how++) {
        int a, b, c, d;
        both_ends(&a, &b);
        int number = b;
        both_ends(&c, &d);
        pthread_t thread = start(reads_to_the_end, &number);
        usleep(100000);
        if (how == 0) {
            close(b);
            OK(dup2(d, b));
        } else {
            OK(dup2(d, b));
        }
        usleep(100000);
        write_all(c, "for d", 5);
        usleep(100000);
        char in[16];
        IS(recv(b, in, 16, MSG_DONTWAIT), 5);
        /* On TCP the reader still has the old connection; it ends with that. */
        close(a);
        void *result;
        IS(pthread_join(thread, &result), 0);
        CHECK((intptr_t)result == (plain ? 0 : -EBADF));
        exchange(c, b);
        close(b);
        close(c);
        close(d);
    }
}

/* The same with a writer, which waits for room. */
CASE(writer_does_not_follow) {
    int a, b, c, d;
    both_ends(&a, &b);
    int number = b;
    both_ends(&c, &d);
    pthread_t thread = start(writes_much, &number);
    usleep(200000);
    OK(dup2(d, b));
    usleep(100000);
    close(a);
    void *result;
    IS(pthread_join(thread, &result), 0);
    IS((intptr_t)result, 0);
    char in[16];
    FAILS(recv(c, in, 16, MSG_DONTWAIT), EAGAIN);
    exchange(c, b);
}

CASE(epoll_sets) {
    int a, b, inner = OK(epoll_create1(0)), outer = OK(epoll_create1(0)), other = OK(epoll_create1(0));
    char in[16];
    both_ends(&a, &b);
    int copy = OK(dup(b));
    struct epoll_event told[4], first = {EPOLLIN, {.u64 = 1}}, second = {EPOLLIN, {.u64 = 2}},
                                third = {EPOLLIN, {.u64 = 3}}, fourth = {EPOLLIN | EPOLLEXCLUSIVE, {.u64 = 4}};
    OK(epoll_ctl(inner, EPOLL_CTL_ADD, b, &first));
    FAILS(epoll_ctl(inner, EPOLL_CTL_ADD, b, &first), EEXIST);
    OK(epoll_ctl(inner, EPOLL_CTL_ADD, copy, &second));
    OK(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &third));
    OK(epoll_ctl(other, EPOLL_CTL_ADD, b, &fourth));
    FAILS(epoll_ctl(other, EPOLL_CTL_MOD, b, &fourth), EINVAL);
    IS(epoll_wait(outer, told, 4, 0), 0);
    write_all(a, "x", 1);
    IS(epoll_wait(outer, told, 4, 5000), 1);
    IS(told[0].data.u64, 3);
    IS(epoll_wait(inner, told, 4, 5000), 2);
    IS(told[0].data.u64 + told[1].data.u64, 3);
    IS(epoll_wait(other, told, 4, 5000), 1);
    IS(told[0].data.u64, 4);
    IS(read(copy, in, 16), 1);
    IS(epoll_wait(outer, told, 4, 0), 0);
    OK(epoll_ctl(inner, EPOLL_CTL_DEL, b, NULL));
    FAILS(epoll_ctl(inner, EPOLL_CTL_DEL, b, NULL), ENOENT);
    FAILS(epoll_ctl(inner, EPOLL_CTL_MOD, b, &first), ENOENT);
    write_all(a, "x", 1);
    IS(epoll_wait(inner, told, 4, 5000), 1);
    IS(told[0].data.u64, 2);
    second.events = EPOLLOUT | EPOLLET;
    OK(epoll_ctl(inner, EPOLL_CTL_MOD, copy, &second));
    IS(epoll_wait(inner, told, 4, 5000), 1);
    CHECK(told[0].events & EPOLLOUT);
    IS(epoll_wait(inner, told, 4, 0), 0);
    /* A number that is closed while another one for the same connection lives. */
    second.events = EPOLLIN;
    OK(epoll_ctl(inner, EPOLL_CTL_MOD, copy, &second));
    close(b);
    IS(epoll_wait(inner, told, 4, 5000), 1);
    IS(told[0].data.u64, 2);
    IS(read(copy, in, 16), 1);
    IS(epoll_wait(inner, told, 4, 0), 0);
    exchange(a, copy);
}

static void *interrupts(void *argument) {
    usleep(50000);
    pthread_kill(*(pthread_t *)argument, SIGUSR1);
    return NULL;
}

CASE(polls) {
    int a, b, ends[2];
    char in[16];
    both_ends(&a, &b);
    OK(pipe(ends));
    struct pollfd list[] = {{b, POLLIN, 5},        {-b, POLLIN, 5}, {ends[0], POLLIN, 5}, {9999, POLLIN, 5},
                            {ends[1], POLLOUT, 5}, {b, 0, 5}};
    IS(poll(list, 6, 0), 2);
    IS(list[0].revents, 0);
    IS(list[1].revents, 0);
    IS(list[2].revents, 0);
    IS(list[3].revents, POLLNVAL);
    IS(list[4].revents, POLLOUT);
    IS(list[5].revents, 0);
    write_all(ends[1], "x", 1);
    write_all(a, "y", 1);
    wait_for(b, POLLIN);
    IS(poll(list, 6, 0), 4);
    IS(list[0].revents, POLLIN);
    IS(list[2].revents, POLLIN);
    IS(list[5].revents, 0);
    IS(read(b, in, 16), 1);
    IS(ready(b, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLPRI), POLLOUT | POLLWRNORM);

    /* Numbers that no fd_set of the usual size has. */
    struct timespec none = {0, 0}, bad = {0, 1999999999};
    int high = OK(fcntl(b, F_DUPFD, 1500));
    unsigned long words[64] = {0};
    words[high / 64] |= 1UL << (high % 64);
    struct timeval wait = {5, 0};
    write_all(a, "y", 1);
    IS(select(high + 1, (fd_set *)words, NULL, NULL, &wait), 1);
    CHECK(words[high / 64] >> (high % 64) & 1);
    IS(read(high, in, 16), 1);
    wait = (struct timeval){0, 0};
    IS(select(high + 1, (fd_set *)words, NULL, NULL, &wait), 0);
    IS(words[high / 64], 0);
    fd_set reads;
    FD_ZERO(&reads);
    FD_SET(b, &reads);
    FD_SET(ends[0], &reads);
    IS(pselect(1000, &reads, NULL, NULL, &none, NULL), 1);
    CHECK(!FD_ISSET(b, &reads) && FD_ISSET(ends[0], &reads));

    /* What cannot be is refused. */
    FD_SET(b, &reads);
    FAILS(pselect(b + 1, &reads, NULL, NULL, &bad, NULL), EINVAL);
    FAILS(ppoll(list, 1, &bad, NULL), EINVAL);
    wait = (struct timeval){-1, 0};
    FAILS(select(b + 1, &reads, NULL, NULL, &wait), EINVAL);
    FAILS(select(-1, &reads, NULL, NULL, NULL), EINVAL);

    /* The signal that the mask keeps away comes when the call lets it. */
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    OK(sigaction(SIGUSR1, &action, NULL));
    sigset_t blocked, open;
    sigemptyset(&open);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    IS(pthread_sigmask(SIG_BLOCK, &blocked, NULL), 0);
    raise(SIGUSR1);
    FAILS(ppoll(list, 1, NULL, &open), EINTR);
    raise(SIGUSR1);
    FD_ZERO(&reads);
    FD_SET(b, &reads);
    FAILS(pselect(b + 1, &reads, NULL, NULL, NULL, &open), EINTR);
    raise(SIGUSR1);
    none.tv_nsec = 20000000;
    IS(ppoll(list, 1, &none, &blocked), 0);
    FAILS(ppoll(list, 1, NULL, &open), EINTR);
    IS(pthread_sigmask(SIG_UNBLOCK, &blocked, NULL), 0);
    pthread_t self = pthread_self(), thread = start(interrupts, &self);
    FAILS(poll(list, 1, -1), EINTR);
    pthread_join(thread, NULL);
    exchange(a, b);
}

/* Requests that are about sockets. */
CASE(requests) {
    int a, b, count = -1;
    both_ends(&a, &b);
    OK(ioctl(a, FIONREAD, &count));
    IS(count, 0);
    IS(sockatmark(a), 0);
    OK(ioctl(a, TIOCOUTQ, &count));
    IS(isfdtype(a, S_IFSOCK), 1);
    FAILS(lseek(a, 0, SEEK_CUR), ESPIPE);
    char in[4];
    FAILS(pread(a, in, 1, 0), ESPIPE);
    FAILS(listen(a, 1), EINVAL);
    struct sockaddr_in any = {.sin_family = AF_INET};
    FAILS(bind(a, (struct sockaddr *)&any, sizeof any), EINVAL);
    FAILS(accept(a, NULL, NULL), EINVAL);
    struct tcp_info info;
    socklen_t len = sizeof info;
    OK(getsockopt(a, IPPROTO_TCP, TCP_INFO, &info, &len));
    IS(info.tcpi_state, 1);
    FAILS(getsockopt(a, SOL_SOCKET, 9999, &info, &len), ENOPROTOOPT);
    exchange(a, b);
}

/* stdio on a socket. */
CASE(stdio) {
    int a, b;
    both_ends(&a, &b);
    char in[100];
    FILE *out = fdopen(a, "w"), *from = fdopen(dup(b), "r"), *both = fdopen(dup(b), "r+");
    CHECK(out && from && both);
    IS(fileno(out), a);
    IS(fprintf(out, "one %d\ntwo\nthree", 1), 15);
    IS(fflush(out), 0);
    CHECK(fgets(in, sizeof in, from) && strcmp(in, "one 1\n") == 0);
    CHECK(fgets(in, sizeof in, from) && strcmp(in, "two\n") == 0);
    IS(fgetc(from), 't');
    setvbuf(both, NULL, _IONBF, 0);
    IS(fputs("back", both) >= 0, 1);
    IS(recv(a, in, 4, MSG_WAITALL), 4);
    IS(fclose(both), 0);
    IS(fputs(" and the end\n", out) >= 0, 1);
    IS(fclose(out), 0);
    FAILS(fcntl(a, F_GETFD), EBADF);
    CHECK(fgets(in, sizeof in, from) && strcmp(in, "hree and the end\n") == 0);
    IS(fgetc(from), EOF);
    CHECK(feof(from) && !ferror(from));
    IS(fclose(from), 0);
    close(b);

    /* The standard streams, of this program and of one that inherits them. */
    both_ends(&a, &b);
    int kept = OK(fcntl(1, F_DUPFD, 10));
    OK(dup2(a, 1));
    printf("printed %d\n", 5);
    fflush(stdout);
    OK(dup2(kept, 1));
    IS(recv(b, in, 10, MSG_WAITALL), 10);
    IS(memcmp(in, "printed 5\n", 10), 0);
    close(a);
    IS(read(b, in, 1), 0);

    /* What is in a buffer when the program ends is sent. */
    int listener = listen_at(NULL), port = port_of(listener);
    pid_t child = fork();
    if (child == 0) {
        int client = OK(socket(AF_INET, SOCK_STREAM, 0));
        if (!plain) {
            set_ddpmode(client, DDPMODE_STREAM);
        }
        OK(connect_port(client, port));
        fputs("last words", fdopen(client, "w"));
        exit(0);
    }
    if (!plain) {
        set_ddpmode(listener, DDPMODE_STREAM);
    }
    b = OK(accept(listener, NULL, NULL));
    IS(recv(b, in, 11, MSG_WAITALL), 10);
    IS(memcmp(in, "last words", 10), 0);
    int status;
    IS(waitpid(child, &status, 0), child);
    IS(status, 0);
}

/* A program that serves its standard input and output, as inetd's do. Run with UWARP_LISTEN=all and UWARP_DDP=all. */
CASE(stdio_inherited) {
    int listener = listen_at(NULL), client = OK(socket(AF_INET, SOCK_STREAM, 0));
    OK(connect_to(client, listener));
    int server = OK(accept(listener, NULL, NULL));
    pid_t child = fork();
    if (child == 0) {
        OK(dup2(server, 0));
        OK(dup2(server, 1));
        OK(execl("/proc/self/exe", "fine", "answers_lines", NULL));
    }
    close(server);
    char in[16];
    for (int round = 0; round < 3; round++) {
        write_all(client, "hello\n", 6);
        IS(recv(client, in, 10, MSG_WAITALL), 10);
        IS(memcmp(in, "6: hello\n\n", 10), 0);
    }
    IS(ddpmode(client), plain ? DDPMODE_OFF : DDPMODE_STREAM);
    OK(shutdown(client, SHUT_WR));
    IS(recv(client, in, 16, MSG_WAITALL), 4);
    IS(read(client, in, 16), 0);
    int status;
    IS(waitpid(child, &status, 0), child);
    IS(status, 0);
}

CASE(answers_lines) {
    char line[100];
    while (fgets(line, sizeof line, stdin)) {
        printf("%zu: %s\n", strlen(line), line);
        fflush(stdout);
    }
    CHECK(feof(stdin));
    printf("end\n");
    exit(0);
}

/* A connect that fails, and what follows it. */
CASE(refused) {
    int listener = listen_at(NULL), port = port_of(listener);
    close(listener);
    char in[4];
    int client = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    if (!plain) {
        set_ddpmode(client, DDPMODE_STREAM);
    }
    FAILS(connect_port(client, port), EINPROGRESS);
    wait_for(client, POLLOUT);
    CHECK(ready(client, POLLIN | POLLOUT) & (POLLERR | POLLHUP));
    IS(int_option(client, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    IS(int_option(client, SOL_SOCKET, SO_ERROR), 0);
    IS(read(client, in, 4), 0);
    FAILS(send(client, "x", 1, MSG_NOSIGNAL), EPIPE);
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    FAILS(getpeername(client, (struct sockaddr *)&name, &len), ENOTCONN);
    close(client);
    client = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    if (!plain) {
        set_ddpmode(client, DDPMODE_STREAM);
    }
    FAILS(connect_port(client, port), EINPROGRESS);
    wait_for(client, POLLOUT);
    FAILS(read(client, in, 4), ECONNREFUSED);
    IS(read(client, in, 4), 0);
    IS(int_option(client, SOL_SOCKET, SO_ERROR), 0);
}

/* What stands in for TCP in a set-up that fails is told once. */
CASE(failed_set_up) {
    char in[8];
    for (int how = 0; how < 3; how++) {
        int listener = listen_at(NULL);
        int client = OK(socket(AF_INET, SOCK_STREAM, 0));
        set_ddpmode(client, DDPMODE_STREAM);
        OK(connect_to(client, listener));
        int server = OK(accept(listener, NULL, NULL));
        IS(recv(server, in, 8, 0), 8);
        close(server);
        close(listener);
        wait_for(client, POLLIN);
        if (how == 0) {
            CHECK(int_option(client, SOL_SOCKET, SO_ERROR) != 0);
        } else if (how == 1) {
            IS(read(client, in, 1), -1);
        } else {
            IS(send(client, "x", 1, MSG_NOSIGNAL), -1);
            CHECK(errno != EPIPE);
        }
        IS(int_option(client, SOL_SOCKET, SO_ERROR), 0);
        IS(read(client, in, 1), 0);
        FAILS(send(client, "x", 1, MSG_NOSIGNAL), EPIPE);
        FAILS(shutdown(client, SHUT_WR), ENOTCONN);
        close(client);
    }
}

/* The server speaks first, and does not wait. */
CASE(server_first_nonblocking) {
    int listener = listen_at(NULL), set = OK(epoll_create1(0));
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int kind = 0; kind < 6; kind++) {
        int client = OK(socket(AF_INET, SOCK_STREAM, 0));
        OK(connect_to(client, listener));
        int server = OK(accept4(listener, NULL, NULL, kind < 4 ? SOCK_NONBLOCK : 0));
        int ddp = kind % 2 == 1;
        struct epoll_event told, event = {EPOLLIN | EPOLLOUT | (kind / 2 % 2 ? EPOLLET : 0), {.u64 = 9}};
        OK(epoll_ctl(set, EPOLL_CTL_ADD, server, &event));
        /* Nothing has come, so it is not known yet. */
        FAILS(send(server, "hello", 5, MSG_DONTWAIT), EAGAIN);
        FAILS(recv(server, &told, 1, MSG_DONTWAIT), EAGAIN);
        IS(ready(server, POLLOUT), 0);
        if (ddp) {
            set_ddpmode(client, DDPMODE_STREAM);
        }
        ssize_t sent = -1;
        for (int wakes = 0; sent < 0; wakes++) {
            CHECK(wakes < 10);
            IS(epoll_wait(set, &told, 1, 5000), 1);
            IS(told.data.u64, 9);
            sent = write(server, "hello", 5);
            CHECK(sent == 5 || errno == EAGAIN);
        }
        char in[8];
        IS(recv(client, in, 5, MSG_WAITALL), 5);
        IS(ddpmode(server), ddp ? DDPMODE_STREAM : DDPMODE_OFF);
        OK(fcntl(server, F_SETFL, 0));
        exchange(client, server);
        close(client);
        close(server);
    }
    /* A plain client that speaks meanwhile, and one that goes. */
    for (int goes = 0; goes < 2; goes++) {
        int client = OK(socket(AF_INET, SOCK_STREAM, 0));
        OK(connect_to(client, listener));
        int server = OK(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
        FAILS(write(server, "hello", 5), EAGAIN);
        if (goes) {
            close(client);
        } else {
            write_all(client, "hi", 2);
        }
        wait_for(server, POLLIN);
        char in[8];
        IS(read(server, in, 8), goes ? 0 : 2);
        IS(ddpmode(server), DDPMODE_OFF);
        IS(write(server, "hello", 5), 5);
        close(client);
        close(server);
    }
}

/* A number that was made before anybody knew what becomes of the socket. */
CASE(dup_before_connect) {
    int listener = listen_at(NULL);
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int how = 0; how < 3; how++) {
        int client = OK(socket(AF_INET, SOCK_STREAM, 0));
        int copy = how == 0 ? OK(dup(client)) : how == 1 ? OK(dup2(client, 90)) : OK(fcntl(client, F_DUPFD_CLOEXEC, 91));
        set_ddpmode(client, DDPMODE_STREAM);
        OK(connect_to(client, listener));
        int server = OK(accept(listener, NULL, NULL));
        settle(server);
        exchange(copy, server);
        IS(ddpmode(copy), DDPMODE_STREAM);
        exchange(client, server);
        close(client);
        exchange(copy, server);
        close(copy);
        char in[1];
        IS(read(server, in, 1), 0);
        close(server);
    }
}

int main(int count, char **arguments) {
    begin();
    plain = getenv("PLAIN") != NULL;
    return run_case(count, arguments);
}
