/* DDPMODE_MESSAGE: a socket that no rule takes for a stream, and that uwarp.h's calls make a connection in DDPMODE of. Run
 * under the library with UWARP_DDP=all and UWARP_LISTEN=all, linked with libuwarp. */
#define _GNU_SOURCE
#include "common.h"

#include <uwarp.h>

static uwarp_domain domain;
static uwarp_options options;

static void *respond(void *argument) {
    int server = *(int *)argument;
    static uwarp_socket made;
    uwarp_incoming incoming;
    uwarp_region region;
    IS(uwarp_respond(server, options, &incoming), 0);
    IS(uwarp_allocate(domain, 64, 0, &region), 0);
    uwarp_sge whole = {.region = region, .offset = 0, .length = 64};
    IS(uwarp_incoming_post_receive(incoming, 7, &whole, 1), 0);
    IS(uwarp_incoming_accept(incoming, NULL, 0, &made), 0);
    uwarp_completion completion;
    IS(uwarp_wait(made, &completion, 20000), 1);
    IS(completion.status, 0);
    IS(completion.id, 7);
    char octets[64];
    IS(uwarp_region_read(region, 0, octets, 7), 0);
    IS(memcmp(octets, "message", 7), 0);
    return &made;
}

int main(void) {
    begin();
    IS(uwarp_domain_create(&domain), 0);
    IS(uwarp_options_create(domain, &options), 0);
    int listener = listen_at(NULL), client = OK(socket(AF_INET, SOCK_STREAM, 0));
    int both = DDPMODE_MESSAGE | DDPMODE_INITIATOR;
    FAILS(setsockopt(client, SOL_DDP, DDPMODE, &both, sizeof both), EINVAL);
    set_ddpmode(listener, DDPMODE_MESSAGE);
    set_ddpmode(client, DDPMODE_MESSAGE);
    IS(ddpmode(listener), DDPMODE_MESSAGE);
    OK(connect_to(client, listener));
    int server = OK(accept(listener, NULL, NULL));
    IS(ddpmode(client), DDPMODE_MESSAGE);
    IS(ddpmode(server), DDPMODE_MESSAGE);
    /* It is TCP until then: the ends may agree on what they are about to do. */
    exchange(client, server);
    exchange(server, client);

    uwarp_socket initiator;
    pthread_t thread = start(respond, &server);
    IS(uwarp_initiate(client, options, &initiator), 0);
    uwarp_region region;
    IS(uwarp_allocate(domain, 64, 0, &region), 0);
    IS(uwarp_region_write(region, 0, "message", 7), 0);
    uwarp_sge part = {.region = region, .offset = 0, .length = 7};
    IS(uwarp_post_send(initiator, 9, &part, 1, 0, 0), 0);
    uwarp_completion completion;
    IS(uwarp_wait(initiator, &completion, 20000), 1);
    IS(completion.status, 0);
    void *made;
    IS(pthread_join(thread, &made), 0);
    IS(uwarp_close(initiator), 0);
    IS(uwarp_close(*(uwarp_socket *)made), 0);

    /* The rules take what is not marked so; and a mark can be changed. */
    set_ddpmode(listener, DDPMODE_STREAM);
    IS(ddpmode(listener), DDPMODE_STREAM);
    client = OK(socket(AF_INET, SOCK_STREAM, 0));
    set_ddpmode(client, DDPMODE_MESSAGE);
    set_ddpmode(client, DDPMODE_OFF);
    IS(ddpmode(client), DDPMODE_OFF);
    OK(connect_to(client, listener));
    server = OK(accept(listener, NULL, NULL));
    settle(server);
    exchange(client, server);
    IS(ddpmode(client), DDPMODE_STREAM);
    int mode = DDPMODE_MESSAGE;
    FAILS(setsockopt(client, SOL_DDP, DDPMODE, &mode, sizeof mode), EBUSY);
    int udp = OK(socket(AF_INET, SOCK_DGRAM, 0));
    FAILS(setsockopt(udp, SOL_DDP, DDPMODE, &mode, sizeof mode), EOPNOTSUPP);
    /* One that is accepted and has not been looked at, and what is made of it by dup. */
    client = OK(socket(AF_INET, SOCK_STREAM, 0));
    set_ddpmode(client, DDPMODE_MESSAGE);
    OK(connect_to(client, listener));
    server = OK(accept(listener, NULL, NULL));
    set_ddpmode(server, DDPMODE_MESSAGE);
    int copy = OK(dup(server));
    IS(ddpmode(copy), DDPMODE_MESSAGE);
    close(server);
    exchange(client, copy);
    puts("done");
    return 0;
}
