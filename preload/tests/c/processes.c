/* Forks, other programs, and ends: one case for each argument. Run under the library. */
#define _GNU_SOURCE
#include "common.h"

#include <spawn.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>

extern char **environ;

static const char *self;

/* A client in DDPMODE that sends "to" and wants "fro"; runs in a process of its own. */
static pid_t client_process(int port) {
    pid_t child = fork();
    if (child != 0) {
        return child;
    }
    int client = OK(socket(AF_INET, SOCK_STREAM, 0));
    set_ddpmode(client, DDPMODE_STREAM);
    OK(connect_port(client, port));
    char in[8];
    write_all(client, "to", 2);
    IS(recv(client, in, 3, MSG_WAITALL), 3);
    IS(memcmp(in, "fro", 3), 0);
    IS(read(client, in, 1), 0);
    IS(ddpmode(client), DDPMODE_STREAM);
    _exit(0);
}

static void ended_well(pid_t child) {
    int status;
    IS(waitpid(child, &status, 0), child);
    IS(status, 0);
}

static int numbers_below(int end) {
    int count = 0;
    for (int fd = 0; fd < end; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void serve(int server) {
    char in[8];
    IS(recv(server, in, 2, MSG_WAITALL), 2);
    write_all(server, "fro", 3);
    IS(ddpmode(server), DDPMODE_STREAM);
}

static int listener_and_client(int *port, pid_t *client) {
    int listener = listen_at(NULL);
    *port = port_of(listener);
    set_ddpmode(listener, DDPMODE_STREAM);
    *client = client_process(*port);
    return listener;
}

/* fork: accepted by the parent, served by the child. */
CASE(child_serves) {
    int port;
    pid_t client;
    int listener = listener_and_client(&port, &client);
    for (int round = 0; round < 3; round++) {
        int server = OK(accept(listener, NULL, NULL));
        pid_t child = fork();
        if (child == 0) {
            serve(server);
            exit(0);
        }
        close(server);
        ended_well(client);
        ended_well(child);
        if (round < 2) {
            client = client_process(port);
        }
    }
}

/* fork: the child does something else, the parent serves. */
CASE(parent_serves) {
    int port;
    pid_t client;
    int listener = listener_and_client(&port, &client);
    int server = OK(accept(listener, NULL, NULL));
    serve(server);
    int ends[2];
    OK(pipe(ends));
    pid_t child = fork();
    if (child == 0) {
        /* What is in DDPMODE stays with the parent. */
        char in[4];
        IS(read(server, in, 1), 0);
        FAILS(send(server, "x", 1, MSG_NOSIGNAL), EPIPE);
        CHECK(ready(server, POLLIN) & POLLHUP);
        close(server);
        /* It has sockets of its own. */
        int a, b;
        pair(&a, &b);
        exchange(a, b);
        write_all(ends[1], "!", 1);
        pause();
    }
    char in[1];
    IS(read(ends[0], in, 1), 1);
    /* The child lives, but holds nothing of the connection: its peer learns that it is closed. */
    close(server);
    ended_well(client);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

/* fork: both hold it while it is not decided; one serves, the other only closes. */
CASE(both_hold) {
    int port;
    pid_t client;
    int listener = listener_and_client(&port, &client);
    int server = OK(accept(listener, NULL, NULL));
    pid_t child = fork();
    if (child == 0) {
        usleep(200000);
        close(server);
        _exit(0);
    }
    serve(server);
    close(server);
    ended_well(client);
    ended_well(child);
}

/* exec: undecided sockets are taken over by the next program, which has to know their port. */
CASE(exec_undecided) {
    int port;
    pid_t client;
    int listener = listener_and_client(&port, &client);
    int server = OK(accept(listener, NULL, NULL));
    pid_t child = fork();
    if (child == 0) {
        char text[16];
        snprintf(text, sizeof text, "%d", port);
        OK(setenv("UWARP_LISTEN", text, 1));
        OK(dup2(server, 77));
        OK(execl(self, self, "serve_inherited", NULL));
    }
    close(server);
    ended_well(client);
    ended_well(child);
}

CASE(serve_inherited) { serve(77); }

static void pass(int to, int fd) {
    union {
        struct cmsghdr header;
        char octets[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    struct iovec part = {"!", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    IS(sendmsg(to, &message, 0), 1);
}

static int passed(int from, int many) {
    union {
        struct cmsghdr header;
        char octets[CMSG_SPACE(sizeof(int))];
    } control;
    char octet;
    struct iovec part = {&octet, 1};
    struct mmsghdr message = {{.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control}, 0};
    if (many) {
        IS(recvmmsg(from, &message, 1, 0, NULL), 1);
    } else {
        IS(recvmsg(from, &message.msg_hdr, 0), 1);
    }
    IS(control.header.cmsg_type, SCM_RIGHTS);
    int fd;
    memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
    return fd;
}

/* What begins without waiting has low numbers no more than what waits. */
CASE(hidden_numbers) {
    for (int blocking = 0; blocking < 2; blocking++) {
        pid_t child = fork();
        if (child == 0) {
            int listener = listen_at(NULL);
            set_ddpmode(listener, DDPMODE_STREAM);
            pid_t server = fork();
            if (server == 0) {
                serve(OK(accept(listener, NULL, NULL)));
                exit(0);
            }
            int client = OK(socket(AF_INET, SOCK_STREAM | (blocking ? 0 : SOCK_NONBLOCK), 0));
            int before = numbers_below(1000);
            set_ddpmode(client, DDPMODE_STREAM);
            if (blocking) {
                OK(connect_to(client, listener));
            } else {
                FAILS(connect_to(client, listener), EINPROGRESS);
            }
            wait_for(client, POLLOUT);
            char in[8];
            write_all(client, "to", 2);
            wait_for(client, POLLIN);
            IS(recv(client, in, 3, 0), 3);
            IS(numbers_below(1000), before);
            close(client);
            ended_well(server);
            exit(0);
        }
        ended_well(child);
    }
}

/* SCM_RIGHTS: one process accepts, and another one that was there before serves. */
CASE(passed_undecided) {
    for (int many = 0; many < 2; many++) {
        int port, ends[2];
        pid_t client;
        OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
        pid_t worker = fork();
        if (worker == 0) {
            close(ends[0]);
            int server = passed(ends[1], many);
            serve(server);
            exit(0);
        }
        close(ends[1]);
        int listener = listener_and_client(&port, &client);
        int server = OK(accept(listener, NULL, NULL));
        pass(ends[0], server);
        close(server);
        ended_well(client);
        ended_well(worker);
        close(ends[0]);
        close(listener);
    }
}

/* SCM_RIGHTS: what another process has connected is no server's end: nobody waits for a Request before the first write. Run
 * with UWARP_SERVER_FIRST_WAIT_MS above the time that a case may take. */
CASE(passed_connected) {
    int ends[2], listener = listen_at(NULL);
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    pid_t server = fork();
    if (server == 0) {
        char in[4];
        int accepted = OK(accept(listener, NULL, NULL));
        IS(recv(accepted, in, 3, MSG_WAITALL), 3);
        write_all(accepted, "yes", 3);
        _exit(0);
    }
    pid_t client = fork();
    if (client == 0) {
        int connected = OK(socket(AF_INET, SOCK_STREAM, 0));
        OK(connect_to(connected, listener));
        pass(ends[0], connected);
        _exit(0);
    }
    ended_well(client);
    int connected = passed(ends[1], 0);
    write_all(connected, "hi\n", 3);
    char in[4];
    IS(recv(connected, in, 3, MSG_WAITALL), 3);
    ended_well(server);
}

/* SCM_RIGHTS: a stream stays with the process that has it, also if the other one may have no number but the new one. */
CASE(passed_stream) {
    for (int full = 1; full >= 0; full--) {
        int ends[2];
        OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
        pid_t other = fork();
        if (other == 0) {
            char in[4];
            int last = -1;
            if (full) {
                OK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, 64}));
                for (int fd; (fd = dup(0)) >= 0; last = fd) {
                }
                OK(close(last));
            }
            int server = passed(ends[1], 0);
            IS(read(server, in, 1), 0);
            FAILS(write(server, "x", 1), full ? EBADF : EPIPE);
            _exit(0);
        }
        int a, b;
        pair(&a, &b);
        pass(ends[0], b);
        ended_well(other);
        exchange(a, b);
    }
}

static void *passes_client(void *argument) {
    int client = OK(socket(AF_INET, SOCK_STREAM, 0));
    set_ddpmode(client, DDPMODE_STREAM);
    OK(connect_to(client, *(int *)argument));
    char in[4];
    write_all(client, "to", 2);
    IS(recv(client, in, 3, MSG_WAITALL), 3);
    IS(read(client, in, 1), 0);
    close(client);
    return NULL;
}

/* fork at the limit of descriptors, with one connection and with more of them. */
CASE(forks_at_the_limit) {
    enum { MOST = 6 };
    int listener = listen_at(NULL), port = port_of(listener);
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int many = 1; many <= MOST; many += MOST - 1) {
        pid_t parent = fork();
        if (parent == 0) {
            int clients[MOST];
            char in[4];
            close(listener);
            OK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){96, 96}));
            for (int at = 0; at < many; at++) {
                clients[at] = OK(socket(AF_INET, SOCK_STREAM, 0));
                set_ddpmode(clients[at], DDPMODE_STREAM);
                OK(connect_port(clients[at], port));
                write_all(clients[at], "to", 2);
                IS(recv(clients[at], in, 3, MSG_WAITALL), 3);
            }
            while (dup(0) >= 0) {
            }
            pid_t child = fork();
            if (child == 0) {
                for (int at = 0; at < many; at++) {
                    IS(recv(clients[at], in, 1, MSG_DONTWAIT), 0);
                    FAILS(send(clients[at], "x", 1, MSG_NOSIGNAL), EPIPE);
                    CHECK(ready(clients[at], POLLIN) & POLLHUP);
                }
                FAILS(open("/dev/zero", O_RDONLY), EMFILE);
                for (int at = 0; at < many; at++) {
                    OK(close(clients[at]));
                }
                /* What is free is free. */
                for (int at = 0; at < many; at++) {
                    clients[at] = OK(open("/dev/zero", O_RDONLY));
                }
                FAILS(open("/dev/zero", O_RDONLY), EMFILE);
                for (int at = 0; at < many; at++) {
                    IS(read(clients[at], in, 4), 4);
                    OK(close(clients[at]));
                    FAILS(fcntl(clients[at], F_GETFD), EBADF);
                }
                _exit(0);
            }
            ended_well(child);
            for (int at = 0; at < many; at++) {
                write_all(clients[at], "to", 2);
                IS(recv(clients[at], in, 3, MSG_WAITALL), 3);
            }
            _exit(0);
        }
        int servers[MOST];
        for (int at = 0; at < many; at++) {
            servers[at] = OK(accept(listener, NULL, NULL));
            serve(servers[at]);
        }
        for (int at = 0; at < many; at++) {
            serve(servers[at]);
            close(servers[at]);
        }
        ended_well(parent);
    }
}

/* SCM_RIGHTS: from one thread of a process to another one, of what is a stream and of what is not decided. Both numbers, or
 * the one that is left, are for the same connection. */
CASE(passed_to_itself) {
    int ends[2], listener = listen_at(NULL);
    set_ddpmode(listener, DDPMODE_STREAM);
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    for (int round = 0; round < 4; round++) {
        int is_stream = round & 1, both = round & 2;
        pthread_t client = start(passes_client, &listener);
        int old = OK(accept(listener, NULL, NULL));
        char in[4];
        if (is_stream) {
            IS(recv(old, in, 1, MSG_PEEK), 1);
        }
        pass(ends[0], old);
        int new = passed(ends[1], 0);
        if (both) {
            IS(recv(new, in, 1, 0), 1);
            IS(recv(old, in, 1, 0), 1);
            IS(ddpmode(old), DDPMODE_STREAM);
            IS(write(old, "f", 1), 1);
            close(old);
            IS(write(new, "ro", 2), 2);
        } else {
            close(old);
            IS(recv(new, in, 2, MSG_WAITALL), 2);
            IS(write(new, "fro", 3), 3);
        }
        IS(ddpmode(new), DDPMODE_STREAM);
        close(new);
        pthread_join(client, NULL);
    }
}

/* exec: a stream ends, whoever executes. */
CASE(exec_stream) {
    for (int how = 0; how < 3; how++) {
        int a, b, ends[2];
        pair(&a, &b);
        OK(pipe(ends));
        OK(dup2(b, 77));
        close(b);
        pid_t child;
        char *arguments[] = {(char *)self, "inherited_stream", NULL};
        if (how == 0) {
            child = fork();
            if (child == 0) {
                OK(execv(self, arguments));
            }
        } else if (how == 1) {
            child = vfork();
            if (child == 0) {
                /* What a child of vfork closes, its parent still has. */
                close(a);
                dup2(77, 78);
                execv(self, arguments);
                _exit(1);
            }
        } else {
            posix_spawn_file_actions_t actions;
            posix_spawn_file_actions_init(&actions);
            posix_spawn_file_actions_addclose(&actions, a);
            IS(posix_spawn(&child, self, &actions, NULL, arguments, environ), 0);
        }
        ended_well(child);
        exchange(a, 77);
        close(77);
        char in[4];
        IS(read(a, in, 1), 0);
        close(a);
        /* The program that executes another one itself ends. */
        child = fork();
        if (child == 0) {
            pair(&a, &b);
            OK(dup2(b, 77));
            OK(execv(self, arguments));
        }
        ended_well(child);
    }
}

CASE(inherited_stream) {
    char in[4];
    IS(read(77, in, 1), 0);
    FAILS(send(77, "x", 1, MSG_NOSIGNAL), EPIPE);
}

/* Close-on-exec is kept. */
CASE(cloexec) {
    int a, b;
    pair(&a, &b);
    OK(dup3(b, 77, O_CLOEXEC));
    OK(dup2(a, 79));
    OK(fcntl(79, F_SETFD, FD_CLOEXEC));
    pid_t child = fork();
    if (child == 0) {
        OK(execl(self, self, "nothing_inherited", NULL));
    }
    ended_well(child);
}

CASE(nothing_inherited) {
    FAILS(fcntl(77, F_GETFD), EBADF);
    FAILS(fcntl(79, F_GETFD), EBADF);
    for (int fd = 1000; fd < 20000; fd++) {
        FAILS(fcntl(fd, F_GETFD), EBADF);
    }
}

/* The end of a process: what it has written arrives, however it ends on its own. */
CASE(ends) {
    enum { LEN = 100000 };
    static char octets[LEN];
    int listener = listen_at(NULL), port = port_of(listener);
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int how = 0; how < 4; how++) {
        pid_t child = fork();
        if (child == 0) {
            int client = OK(socket(AF_INET, SOCK_STREAM, 0));
            set_ddpmode(client, DDPMODE_STREAM);
            OK(connect_port(client, port));
            write_all(client, octets, LEN);
            if (how == 0) {
                exit(0);
            } else if (how == 1) {
                _exit(0);
            }
            close(client);
            if (how == 2) {
                exit(0);
            }
            return;
        }
        int server = OK(accept(listener, NULL, NULL));
        static char in[LEN];
        size_t got = 0;
        for (ssize_t done; (done = OK(read(server, in, LEN))) > 0;) {
            got += done;
        }
        IS(got, LEN);
        ended_well(child);
        close(server);
    }
}

static void ends_now(int number) {
    (void)number;
    exit(7);
}

/* A signal handler that interrupts a call, in the midst of the octets that are written, and ends the program. What it
 * needs for that the call may hold. */
CASE(exit_in_a_call) {
    int listener = listen_at(NULL), port = port_of(listener);
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int buffered = 0; buffered < 2; buffered++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(15);
            int client = OK(socket(AF_INET, SOCK_STREAM, 0));
            set_ddpmode(client, DDPMODE_STREAM);
            OK(connect_port(client, port));
            if (buffered) {
                CHECK(fputs("what the C library would write at the end", fdopen(client, "w")) >= 0);
            }
            char *forbidden = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            CHECK(forbidden != MAP_FAILED);
            CHECK(signal(SIGSEGV, ends_now) != SIG_ERR);
            write(client, forbidden, 4096);
            _exit(1);
        }
        int server = OK(accept(listener, NULL, NULL));
        settle(server);
        int status;
        IS(waitpid(child, &status, 0), child);
        CHECK(WIFEXITED(status));
        IS(WEXITSTATUS(status), 7);
        close(server);
    }
}

/* Killed, at any time: the other end learns it. */
CASE(killed) {
    int listener = listen_at(NULL), port = port_of(listener);
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int round = 0; round < 10; round++) {
        pid_t child = fork();
        if (child == 0) {
            int client = OK(socket(AF_INET, SOCK_STREAM, 0));
            set_ddpmode(client, DDPMODE_STREAM);
            OK(connect_port(client, port));
            for (char octets[1000] = {0};;) {
                write(client, octets, sizeof octets);
            }
        }
        int server = OK(accept(listener, NULL, NULL));
        char in[5000];
        usleep(round * 3000);
        CHECK(round == 0 || read(server, in, sizeof in) > 0);
        kill(child, SIGKILL);
        ssize_t done;
        while ((done = read(server, in, sizeof in)) > 0) {
        }
        CHECK(done == 0 || errno == ECONNRESET);
        waitpid(child, NULL, 0);
        close(server);
    }
}

/* Killed while a child that it has forked lives on: the other end learns it nevertheless. */
CASE(killed_with_child) {
    int listener = listen_at(NULL), port = port_of(listener);
    set_ddpmode(listener, DDPMODE_STREAM);
    int ends[2];
    OK(pipe(ends));
    pid_t parent = fork();
    if (parent == 0) {
        close(listener);
        int client = OK(socket(AF_INET, SOCK_STREAM, 0));
        set_ddpmode(client, DDPMODE_STREAM);
        OK(connect_port(client, port));
        write_all(client, "x", 1);
        char in[1];
        IS(read(client, in, 1), 1);
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            child = getpid();
            write_all(ends[1], &child, sizeof child);
            for (;;) {
                pause();
            }
        }
        for (;;) {
            pause();
        }
    }
    int server = OK(accept(listener, NULL, NULL));
    char in[1];
    IS(read(server, in, 1), 1);
    write_all(server, "y", 1);
    struct timeval time = {10, 0};
    OK(setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    pid_t child;
    IS(read(ends[0], &child, sizeof child), sizeof child);
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    ssize_t done = read(server, in, 1);
    int number = errno;
    kill(child, SIGKILL);
    CHECK(done == 0 || (done < 0 && number == ECONNRESET));
}

/* The server that a case talks to, which knows nothing of MPA: answers a line, or ends when it is none. */
static void *plain_server(void *argument) {
    int listener = *(int *)argument;
    for (;;) {
        int server = accept(listener, NULL, NULL);
        if (server < 0) {
            return NULL;
        }
        char in[8] = {0};
        if (recv(server, in, 3, MSG_WAITALL) == 3 && memcmp(in, "hi\n", 3) == 0) {
            write_all(server, "yes", 3);
        } else {
            write_all(server, "400 what?", 9);
        }
        close(server);
    }
}

/* A peer that does not speak MPA: connected again as plain TCP. Run with UWARP_FALLBACK=1. */
CASE(falls_back) {
    int listener = listen_at(NULL), set = OK(epoll_create1(0));
    start(plain_server, &listener);
    for (int round = 0; round < 3; round++) {
        int client = OK(socket(AF_INET, SOCK_STREAM | (round > 0 ? SOCK_NONBLOCK : 0), 0));
        set_ddpmode(client, DDPMODE_STREAM);
        int copy = OK(fcntl(client, F_DUPFD_CLOEXEC, 30));
        if (round == 0) {
            OK(connect_to(client, listener));
        } else {
            FAILS(connect_to(client, listener), EINPROGRESS);
            struct epoll_event event = {EPOLLOUT | (round > 1 ? EPOLLET : 0), {.u64 = 7}}, told;
            if (round == 1) {
                wait_for(client, POLLOUT);
            }
            OK(epoll_ctl(set, EPOLL_CTL_ADD, copy, &event));
            IS(epoll_wait(set, &told, 1, 5000), 1);
            IS(told.data.u64, 7);
            IS(told.events, EPOLLOUT);
            IS(int_option(client, SOL_SOCKET, SO_ERROR), 0);
            while (ddpmode(client) != DDPMODE_OFF) {
                usleep(1000);
            }
            CHECK(fcntl(client, F_GETFL) & O_NONBLOCK);
            OK(fcntl(client, F_SETFL, 0));
        }
        IS(ddpmode(client), DDPMODE_OFF);
        CHECK(fcntl(copy, F_GETFD) & FD_CLOEXEC);
        write_all(copy, "hi\n", 3);
        char in[4];
        IS(recv(client, in, 3, MSG_WAITALL), 3);
        IS(memcmp(in, "yes", 3), 0);
        close(client);
        close(copy);
    }
}

/* The same without it: the first use tells. */
static void *late_speaker(void *argument) {
    int listener = *(int *)argument;
    for (;;) {
        int server = accept(listener, NULL, NULL);
        if (server < 0) {
            return NULL;
        }
        if (ready(server, POLLIN) || (usleep(50000), ready(server, POLLIN))) {
            close(server);
            continue;
        }
        /* Nothing has come, so it is plain; the client has been waiting for a while. */
        usleep(200000);
        write_all(server, "hello", 5);
        close(server);
    }
}

/* The same, where the client waits for what its peer says first, and waits while it is connected again. */
CASE(falls_back_waiting) {
    int listener = listen_at(NULL);
    start(late_speaker, &listener);
    for (int how = 0; how < 3; how++) {
        int client = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        set_ddpmode(client, DDPMODE_STREAM);
        FAILS(connect_to(client, listener), EINPROGRESS);
        /* Not for a time: at its end the kernel looks again. */
        if (how == 0) {
            IS(poll(&(struct pollfd){client, POLLIN, 0}, 1, -1), 1);
        } else if (how == 1) {
            fd_set reads;
            FD_ZERO(&reads);
            FD_SET(client, &reads);
            IS(select(client + 1, &reads, NULL, NULL, NULL), 1);
        } else {
            OK(fcntl(client, F_SETFL, 0));
        }
        char in[8];
        IS(recv(client, in, 5, MSG_WAITALL), 5);
        IS(ddpmode(client), DDPMODE_OFF);
        close(client);
    }
}

CASE(does_not_fall_back) {
    int listener = listen_at(NULL);
    start(plain_server, &listener);
    int client = OK(socket(AF_INET, SOCK_STREAM, 0));
    set_ddpmode(client, DDPMODE_STREAM);
    OK(connect_to(client, listener));
    char in[4];
    IS(read(client, in, 1), -1);
    CHECK(errno != EAGAIN && errno != EINTR);
    client = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    set_ddpmode(client, DDPMODE_STREAM);
    FAILS(connect_to(client, listener), EINPROGRESS);
    wait_for(client, POLLOUT);
    CHECK(int_option(client, SOL_SOCKET, SO_ERROR) != 0);
    CHECK(connect_to(client, listener) == -1);
}

/* The server speaks first, to clients of both kinds. */
CASE(server_first) {
    int listener = listen_at(NULL);
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int kind = 0; kind < 2; kind++) {
        int client = OK(socket(AF_INET, SOCK_STREAM, 0));
        if (kind == 1) {
            set_ddpmode(client, DDPMODE_STREAM);
        }
        OK(connect_to(client, listener));
        int server = OK(accept(listener, NULL, NULL));
        write_all(server, "hello", 5);
        char in[8];
        IS(recv(client, in, 5, MSG_WAITALL), 5);
        IS(ddpmode(server), kind == 1 ? DDPMODE_STREAM : DDPMODE_OFF);
        exchange(client, server);
    }
}

/* A process that may have no more descriptors serves plain clients. */
CASE(no_numbers) {
    int listener = listen_at(NULL);
    set_ddpmode(listener, DDPMODE_STREAM);
    for (int how = 0; how < 3; how++) {
        int client = OK(socket(AF_INET, SOCK_STREAM, 0));
        OK(connect_to(client, listener));
        int server = OK(accept(listener, NULL, NULL));
        pid_t child = fork();
        if (child == 0) {
            if (how == 1) {
                OK(fcntl(server, F_SETFL, O_NONBLOCK));
            }
            OK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, 0}));
            if (how < 2) {
                IS(write(server, "hello", 5), 5);
            }
            OK(shutdown(server, SHUT_WR));
            _exit(0);
        }
        close(server);
        char in[8];
        IS(recv(client, in, 6, MSG_WAITALL), how < 2 ? 5 : 0);
        ended_well(child);
        close(client);
    }
}

/* What waits in a process that may have no descriptors, not even one to poll: it waits as long as ever, and no longer. */
CASE(no_numbers_to_poll) {
    int a, b, listener = listen_at(NULL);
    set_ddpmode(listener, DDPMODE_STREAM);
    pair(&a, &b);
    struct rlimit limit, none;
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    none = limit;
    none.rlim_cur = 0;
    /* A write without room. */
    struct timeval time = {0, 50000};
    OK(setsockopt(a, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time));
    OK(setrlimit(RLIMIT_NOFILE, &none));
    static char octets[1 << 16];
    while (write(a, octets, sizeof octets) > 0) {
    }
    FAILED_WITH("write", EAGAIN);
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    /* A part of a Request's key. */
    int client = OK(socket(AF_INET, SOCK_STREAM, 0));
    OK(connect_to(client, listener));
    int server = OK(accept(listener, NULL, NULL));
    write_all(client, "M", 1);
    wait_for(server, POLLIN);
    OK(setrlimit(RLIMIT_NOFILE, &none));
    IS(read(server, octets, 1), 1);
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    close(client);
    close(server);
    /* A connect that is made to wait later. */
    client = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    set_ddpmode(client, DDPMODE_STREAM);
    FAILS(connect_to(client, listener), EINPROGRESS);
    OK(fcntl(client, F_SETFL, 0));
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    OK(getsockname(listener, (struct sockaddr *)&address, &len));
    OK(setrlimit(RLIMIT_NOFILE, &none));
    OK(connect(client, (struct sockaddr *)&address, len));
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    server = OK(accept(listener, NULL, NULL));
    settle(server);
    exchange(client, server);
}

int main(int count, char **arguments) {
    begin();
    self = arguments[0];
    return run_case(count, arguments);
}
