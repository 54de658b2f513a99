/* Connections that should be in DDPMODE and whose peer does not speak MPA: one case for each argument. Run under the library
 * with UWARP_FALLBACK=1. */
#define _GNU_SOURCE
#include "common.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>

static void *answers_plainly(void *argument) {
    int listener = *(int *)argument;
    for (;;) {
        int server = OK(accept(listener, NULL, NULL));
        char in[32];
        ssize_t got = read(server, in, sizeof in);
        if (got == 3) {
            write_all(server, "yes", 3);
            read(server, in, 1);
        }
        close(server);
    }
    return NULL;
}

/* What the program has set stays when a plain connection takes the place. */
CASE(keeps_options) {
    static int listener;
    listener = listen_at(NULL);
    start(answers_plainly, &listener);
    for (int how = 0; how < 3; how++) {
        int client = OK(socket(AF_INET, SOCK_STREAM | (how == 1 ? SOCK_NONBLOCK | SOCK_CLOEXEC : 0), 0));
        struct linger linger = {1, 3};
        struct timeval time = {7, 0};
        int on = 1, tos = 0x10, bytes = 40000, keep = 77;
        OK(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        OK(setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
        OK(setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
        OK(setsockopt(client, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes));
        OK(setsockopt(client, IPPROTO_IP, IP_TOS, &tos, sizeof tos));
        OK(setsockopt(client, IPPROTO_TCP, TCP_KEEPIDLE, &keep, sizeof keep));
        OK(setsockopt(client, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
        int wanted = int_option(client, SOL_SOCKET, SO_RCVBUF);
        if (how == 2) {
            struct sockaddr_in mine = {.sin_family = AF_INET};
            inet_pton(AF_INET, "127.0.0.9", &mine.sin_addr);
            OK(bind(client, (struct sockaddr *)&mine, sizeof mine));
        }
        set_ddpmode(client, DDPMODE_STREAM);
        if (how == 1) {
            FAILS(connect_to(client, listener), EINPROGRESS);
        } else {
            OK(connect_to(client, listener));
        }
        /* This comes too late for the first connection, but not for the second. */
        OK(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
        wait_for(client, POLLOUT);
        while (ddpmode(client) != DDPMODE_OFF) {
            usleep(1000);
        }
        memset(&linger, 0, sizeof linger);
        socklen_t len = sizeof linger;
        OK(getsockopt(client, SOL_SOCKET, SO_LINGER, &linger, &len));
        IS(linger.l_onoff, 1);
        IS(linger.l_linger, 3);
        IS(int_option(client, SOL_SOCKET, SO_KEEPALIVE), 1);
        IS(int_option(client, SOL_SOCKET, SO_RCVBUF), wanted);
        IS(int_option(client, IPPROTO_TCP, TCP_NODELAY), 1);
        IS(int_option(client, IPPROTO_IP, IP_TOS), 0x10);
        IS(int_option(client, IPPROTO_TCP, TCP_KEEPIDLE), 77);
        memset(&time, 0, sizeof time);
        len = sizeof time;
        OK(getsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &time, &len));
        IS(time.tv_sec, 7);
        char name[16] = "";
        len = sizeof name;
        OK(getsockopt(client, IPPROTO_TCP, TCP_CONGESTION, name, &len));
        IS(strcmp(name, "reno"), 0);
        struct sockaddr_in mine;
        len = sizeof mine;
        OK(getsockname(client, (struct sockaddr *)&mine, &len));
        IS(ntohl(mine.sin_addr.s_addr), how == 2 ? 0x7f000009 : 0x7f000001);
        IS(!!(fcntl(client, F_GETFL) & O_NONBLOCK), how == 1);
        IS(!!(fcntl(client, F_GETFD) & FD_CLOEXEC), how == 1);
        write_all(client, "hi\n", 3);
        wait_for(client, POLLIN);
        char in[4];
        IS(recv(client, in, 3, 0), 3);
        close(client);
    }
}

/* One shot, before, while and after a plain connection takes the place. */
CASE(one_shot) {
    static int listener;
    listener = listen_at(NULL);
    start(answers_plainly, &listener);
    int set = OK(epoll_create1(0));
    for (int round = 0; round < 5; round++) {
        int client = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        struct epoll_event told, event = {EPOLLOUT | EPOLLONESHOT, {.u64 = round}};
        set_ddpmode(client, DDPMODE_STREAM);
        FAILS(connect_to(client, listener), EINPROGRESS);
        OK(epoll_ctl(set, EPOLL_CTL_ADD, client, &event));
        IS(epoll_wait(set, &told, 1, 5000), 1);
        IS(told.data.u64, round);
        while (ddpmode(client) != DDPMODE_OFF) {
            usleep(1000);
        }
        IS(int_option(client, SOL_SOCKET, SO_ERROR), 0);
        /* If it was told of the old object just before it went, it is told again, once at the most. */
        IS(write(client, "hi\n", 3), 3);
        event.events = EPOLLIN | EPOLLONESHOT;
        OK(epoll_ctl(set, EPOLL_CTL_MOD, client, &event));
        IS(epoll_wait(set, &told, 1, 5000), 1);
        IS(told.events, EPOLLIN);
        IS(epoll_wait(set, &told, 1, 20), 0);
        OK(epoll_ctl(set, EPOLL_CTL_DEL, client, NULL));
        close(client);
    }
}

/* Whether a connection to this port waits for the answer to its SYN, by this list of the kernel's. */
static int waits_for_syn(int list, int port) {
    static char lines[1 << 20];
    char wanted[32];
    snprintf(wanted, sizeof wanted, ":%04X 02 ", port);
    OK(lseek(list, 0, SEEK_SET));
    size_t len = 0;
    for (ssize_t done; (done = OK(read(list, lines + len, sizeof lines - 1 - len))) > 0;) {
        len += done;
    }
    lines[len] = 0;
    return strstr(lines, wanted) != NULL;
}

/* While a plain connection is being made, it takes no number that the program might take for its own. */
CASE(number) {
    int listener = listen_at(NULL);
    /* Of those that wait to be accepted there may be one. */
    OK(listen(listener, 0));
    int client = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    set_ddpmode(client, DDPMODE_STREAM);
    FAILS(connect_to(client, listener), EINPROGRESS);
    int server = OK(accept(listener, NULL, NULL)), other = OK(socket(AF_INET, SOCK_STREAM, 0));
    OK(connect_to(other, listener));
    char in[8];
    IS(recv(server, in, 8, 0), 8);
    int list = OK(open("/proc/net/tcp", O_RDONLY)), lowest = OK(dup(0));
    close(lowest);
    write_all(server, "no MPA here", 11);
    while (!waits_for_syn(list, port_of(listener))) {
        usleep(1000);
    }
    IS(dup(0), lowest);
    /* It comes about when there is a place. */
    close(OK(accept(listener, NULL, NULL)));
    int plain_server = OK(accept(listener, NULL, NULL));
    wait_for(client, POLLOUT);
    while (ddpmode(client) != DDPMODE_OFF) {
        usleep(1000);
    }
    OK(fcntl(client, F_SETFL, 0));
    exchange(client, plain_server);
}

/* A server that does not speak MPA, and is gone when it is connected to again. */
static void *answers_once(void *argument) {
    int listener = *(int *)argument;
    int server = OK(accept(listener, NULL, NULL));
    char in[20];
    IS(recv(server, in, sizeof in, MSG_WAITALL), sizeof in);
    close(listener);
    write_all(server, "no MPA here, and no other connection", 36);
    while (read(server, in, sizeof in) > 0) {
    }
    close(server);
    return NULL;
}

/* The plain connection does not come about either: whoever waits for it learns it. */
CASE(refused_again) {
    for (int how = 0; how < 4; how++) {
        static int listener;
        listener = listen_at(NULL);
        int port = port_of(listener), set = OK(epoll_create1(0));
        pthread_t server = start(answers_once, &listener);
        int client = OK(socket(AF_INET, SOCK_STREAM | (how > 0 ? SOCK_NONBLOCK : 0), 0));
        set_ddpmode(client, DDPMODE_STREAM);
        FAILS(connect_port(client, port), how > 0 ? EINPROGRESS : ECONNREFUSED);
        struct epoll_event told, event = {EPOLLOUT | (how == 2 ? EPOLLET : 0), {.u64 = 7}};
        if (how == 1) {
            wait_for(client, POLLOUT);
        } else if (how > 1) {
            OK(epoll_ctl(set, EPOLL_CTL_ADD, client, &event));
            IS(epoll_wait(set, &told, 1, 10000), 1);
            CHECK(told.events & EPOLLOUT);
        }
        if (how > 0) {
            IS(int_option(client, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
        }
        CHECK(ready(client, POLLOUT) & POLLHUP);
        char in[1];
        IS(read(client, in, 1), 0);
        FAILS(send(client, "x", 1, MSG_NOSIGNAL), EPIPE);
        close(client);
        pthread_join(server, NULL);
        close(set);
    }
}

int main(int count, char **arguments) {
    begin();
    return run_case(count, arguments);
}
