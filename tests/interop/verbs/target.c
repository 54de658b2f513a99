/*
 * What `uwarp torment` is played against: a target as torment/PROFILE.md describes it for verbs.
 *
 * It serves connections until it is killed, many at a time, and does nothing of its own accord on any of them but the
 * favours that the private data of a Request ask for: to read from whoever asks, and to speak first. On the port behind that of its connections it answers over plain TCP, a line each time:
 *
 *   profile            its profile as JSON, with what has been damaged
 *   call ADDRESS PORT  runs this program as a caller, and answers its status when it has ended; it is killed when whoever
 *                      asked hangs up
 *
 * A region that a peer has invalidated is registered anew, so the next profile has another STag.
 */
#define _GNU_SOURCE
#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rdma/rdma_verbs.h>

enum {
	/* Connections at a time; the oldest goes when there are more. */
	CONNS = 64,
	/* Receives of each connection, and octets of each of them. */
	POSTED = 4,
	POSTED_LEN = 1024,
	/* Reads that are answered at a time. */
	READS = 8,
	/* Milliseconds for which siw waits for a Reply; for a Request it is half of that. */
	STARTUP_MS = 10000,
	/* Milliseconds between looks at what has come. */
	LOOK_MS = 10,
	/* Favours by their numbers; octets that are read as one. */
	FAVOUR_READ = 2,
	FAVOUR_TALK_FIRST = 7,
	SINK_LEN = 64,
	ANY = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
};

/* A region; the places are in the order of the profile's table. */
struct offered {
	const char *kind;
	uint32_t len;
	int access;
	/* Of another protection domain, registered only to be revoked, or not to be changed by any peer. */
	bool foreign, revoked, watched;
	uint8_t *octets;
	struct ibv_mr *mr;
	uint32_t stag;
};

static struct offered regions[] = {
	{ .kind = "open", .len = 4096, .access = ANY },
	{ .kind = "steady", .len = 1 << 20, .access = IBV_ACCESS_REMOTE_READ, .watched = true },
	{ .kind = "wide", .len = 128 << 10, .access = ANY },
	{ .kind = "write-only", .len = 4096, .access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE },
	{ .kind = "foreign", .len = 4096, .access = ANY, .foreign = true, .watched = true },
	{ .kind = "revoked", .len = 4096, .access = ANY, .revoked = true, .watched = true },
	{ .kind = "spare", .len = 4096, .access = ANY },
};
enum { KINDS = sizeof(regions) / sizeof(regions[0]) };

struct conn {
	struct rdma_cm_id *id;
	struct ibv_cq *cq;
	unsigned long number;
};

static struct conn conns[CONNS];
static unsigned long served;
static struct ibv_pd *domain, *other_domain;
static uint8_t *inbox, *outbox, *sinks;
static struct ibv_mr *inbox_mr, *outbox_mr, *sinks_mr;
/* Held by whoever looks at regions or connections. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *pages(size_t len)
{
	void *octets = aligned_alloc(4096, len);

	if (!octets)
		fail("no memory");
	return octets;
}

static void register_region(struct offered *region)
{
	region->mr = ibv_reg_mr(region->foreign ? other_domain : domain, region->octets, region->len, region->access);
	if (!region->mr)
		fail("cannot register '%s': %s", region->kind, strerror(errno));
	region->stag = region->mr->rkey;
}

/* The listening identifier has the device, so that the STags are good on all connections. */
static void offer_regions(struct ibv_context *device)
{
	domain = ibv_alloc_pd(device);
	other_domain = ibv_alloc_pd(device);
	if (!domain || !other_domain)
		fail("no protection domain");
	for (int index = 0; index < KINDS; index++) {
		struct offered *region = &regions[index];
		region->octets = pages(region->len);
		fill(region->octets, region->len, (uint32_t)index);
		register_region(region);
		if (region->revoked) {
			if (ibv_dereg_mr(region->mr))
				fail("cannot revoke '%s'", region->kind);
			region->mr = NULL;
		}
	}
	inbox = pages(POSTED * POSTED_LEN);
	inbox_mr = ibv_reg_mr(domain, inbox, POSTED * POSTED_LEN, IBV_ACCESS_LOCAL_WRITE);
	outbox = pages(CONNS * SINK_LEN);
	outbox_mr = ibv_reg_mr(domain, outbox, CONNS * SINK_LEN, IBV_ACCESS_LOCAL_WRITE);
	sinks = pages(CONNS * SINK_LEN);
	sinks_mr = ibv_reg_mr(domain, sinks, CONNS * SINK_LEN, ANY);
	if (!inbox_mr || !outbox_mr || !sinks_mr)
		fail("cannot register what is sent and received");
}

/* What a message has invalidated is registered anew. */
static void renew(uint32_t stag)
{
	for (int index = 0; index < KINDS; index++) {
		struct offered *region = &regions[index];
		if (!region->mr || region->stag != stag)
			continue;
		printf("'%s' was invalidated\n", region->kind);
		ibv_dereg_mr(region->mr);
		register_region(region);
	}
}

static uint32_t crc32c(const uint8_t *octets, size_t len)
{
	uint32_t crc = 0xffffffff;

	for (size_t at = 0; at < len; at++) {
		crc ^= octets[at];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* Whatever cannot be posted was asked for in vain. */
static void speak(struct conn *conn, enum ibv_wr_opcode opcode, uint8_t *octets, uint32_t len, uint32_t lkey)
{
	struct ibv_sge sge = { .addr = (uintptr_t)octets, .length = len, .lkey = lkey };
	struct ibv_send_wr wr = { .sg_list = &sge, .num_sge = 1, .opcode = opcode, .send_flags = IBV_SEND_SIGNALED };
	struct ibv_send_wr *bad;

	if (opcode == IBV_WR_RDMA_READ) {
		wr.wr.rdma.rkey = 0x0c0ffee0;
		wr.wr.rdma.remote_addr = 0x7000000000000100;
	}
	ibv_post_send(conn->id->qp, &wr, &bad);
}

/* What was read is told. */
static void tell_read(struct conn *conn)
{
	size_t place = (size_t)(conn - conns) * SINK_LEN;
	uint32_t words[3] = { htonl(SINK_LEN), 0, htonl(crc32c(sinks + place, SINK_LEN)) };

	memset(outbox + place, 0, SINK_LEN);
	outbox[place] = 'd';
	memcpy(outbox + place + 4, words, sizeof(words));
	speak(conn, IBV_WR_SEND, outbox + place, 16, outbox_mr->lkey);
}

static void do_favour(struct conn *conn, uint8_t favour)
{
	size_t place = (size_t)(conn - conns) * SINK_LEN;

	if (favour == FAVOUR_READ) {
		speak(conn, IBV_WR_RDMA_READ, sinks + place, SINK_LEN, sinks_mr->lkey);
	} else if (favour == FAVOUR_TALK_FIRST) {
		memcpy(outbox + place, "may I?", 6);
		speak(conn, IBV_WR_SEND, outbox + place, 6, outbox_mr->lkey);
	}
}

static void take_completions(struct conn *conn)
{
	struct ibv_wc wc;

	while (conn->cq && ibv_poll_cq(conn->cq, 1, &wc) > 0) {
		if (wc.status != IBV_WC_SUCCESS)
			continue;
		if (wc.wc_flags & IBV_WC_WITH_INV)
			renew(wc.invalidated_rkey);
		if (wc.opcode == IBV_WC_RDMA_READ)
			tell_read(conn);
	}
}

static void drop(struct conn *conn)
{
	take_completions(conn);
	if (conn->id->qp)
		rdma_destroy_qp(conn->id);
	rdma_destroy_id(conn->id);
	if (conn->cq)
		ibv_destroy_cq(conn->cq);
	memset(conn, 0, sizeof(*conn));
}

/* A free place; the oldest connection's if there is none. */
static struct conn *place_for_conn(void)
{
	struct conn *oldest = &conns[0];

	for (int index = 0; index < CONNS; index++) {
		if (!conns[index].id)
			return &conns[index];
		if (conns[index].number < oldest->number)
			oldest = &conns[index];
	}
	drop(oldest);
	return oldest;
}

static bool post_receives(struct rdma_cm_id *id)
{
	for (uint64_t index = 0; index < POSTED; index++) {
		struct ibv_sge sge = {
			.addr = (uintptr_t)(inbox + index * POSTED_LEN),
			.length = POSTED_LEN,
			.lkey = inbox_mr->lkey,
		};
		struct ibv_recv_wr wr = { .wr_id = index, .sg_list = &sge, .num_sge = 1 }, *bad;
		if (ibv_post_recv(id->qp, &wr, &bad))
			return false;
	}
	return true;
}

/* Accepts; whatever fails ends this connection only. */
static void admit(struct rdma_cm_id *id, uint8_t favour)
{
	struct conn *conn = place_for_conn();
	struct rdma_conn_param param = { .responder_resources = READS, .initiator_depth = READS };

	conn->id = id;
	conn->number = ++served;
	conn->cq = ibv_create_cq(id->verbs, 4 * POSTED, NULL, NULL, 0);
	if (!conn->cq) {
		drop(conn);
		return;
	}
	struct ibv_qp_init_attr attr = {
		.send_cq = conn->cq,
		.recv_cq = conn->cq,
		.cap = { .max_send_wr = 4, .max_recv_wr = POSTED, .max_send_sge = 1, .max_recv_sge = 1 },
		.qp_type = IBV_QPT_RC,
	};
	if (rdma_create_qp(id, domain, &attr) || !post_receives(id) || rdma_accept(id, &param)) {
		printf("connection %lu: %s\n", conn->number, strerror(errno));
		drop(conn);
		return;
	}
	do_favour(conn, favour);
}

/* The favour that a Request asks for, or 0. */
static uint8_t favour_of(const struct rdma_conn_param *param)
{
	const uint8_t *octets = param->private_data;
	bool asks = octets && param->private_data_len >= 12 && !memcmp(octets, "uwTM\2", 5);

	return asks ? octets[5] : 0;
}

static void handle(enum rdma_cm_event_type type, struct rdma_cm_id *id, uint8_t favour)
{
	switch (type) {
	case RDMA_CM_EVENT_CONNECT_REQUEST:
		admit(id, favour);
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
	case RDMA_CM_EVENT_TIMEWAIT_EXIT:
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_CONNECT_RESPONSE:
	case RDMA_CM_EVENT_REJECTED:
	case RDMA_CM_EVENT_UNREACHABLE:
	default:
		for (int index = 0; index < CONNS; index++)
			if (conns[index].id == id)
				drop(&conns[index]);
	}
}

static bool changed(const struct offered *region, uint32_t seed)
{
	for (size_t at = 0; at < region->len; at++)
		if (region->octets[at] != pattern(at, seed))
			return true;
	return false;
}

static void tell_profile(FILE *to)
{
	const char *between = "";

	pthread_mutex_lock(&lock);
	for (int index = 0; index < CONNS; index++)
		take_completions(&conns[index]);
	fprintf(to, "{\"regions\": {");
	for (int index = 0; index < KINDS; index++)
		fprintf(to, "%s\"%s\": {\"stag\": %u, \"to\": %llu, \"len\": %u}", index ? ", " : "", regions[index].kind,
			regions[index].stag, (unsigned long long)(uintptr_t)regions[index].octets, regions[index].len);
	fprintf(to, "}, \"receives\": %d, \"receive_len\": %d, \"ird\": %d, \"startup_timeout_ms\": %d, ", POSTED,
		POSTED_LEN, READS, STARTUP_MS);
	fprintf(to, "\"favours\": [\"read\", \"talk-first\"], \"damage\": [");
	for (int index = 0; index < KINDS; index++) {
		if (!regions[index].watched || !changed(&regions[index], (uint32_t)index))
			continue;
		fprintf(to, "%s\"%s\"", between, regions[index].kind);
		between = ", ";
		/* It is told once, and is good for the next case. */
		fill(regions[index].octets, regions[index].len, (uint32_t)index);
	}
	fprintf(to, "]}\n");
	pthread_mutex_unlock(&lock);
}

/* Runs a caller until it ends or nobody waits for it any more. */
static void run_caller(int asker, char *address, char *port, FILE *to)
{
	char *const words[] = { "uwarp-verbs", "-c", address, "-p", port, "caller", NULL };
	struct pollfd hung_up = { .fd = asker, .events = POLLRDHUP };
	int status;
	pid_t child;

	if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, words, environ)) {
		fprintf(to, "127\n");
		return;
	}
	while (waitpid(child, &status, WNOHANG) == 0) {
		if (poll(&hung_up, 1, LOOK_MS) == 1) {
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			return;
		}
	}
	fprintf(to, "%d\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static void *answer_line(void *argument)
{
	int fd = (int)(intptr_t)argument;
	char line[128], address[64], port[16];
	FILE *stream = fdopen(fd, "r+");

	if (stream && fgets(line, sizeof(line), stream)) {
		/* A stream that was read needs this before it is written. */
		fseek(stream, 0, SEEK_CUR);
		if (!strcmp(line, "profile\n"))
			tell_profile(stream);
		else if (sscanf(line, "call %63s %15s", address, port) == 2)
			run_caller(fd, address, port, stream);
	}
	if (stream)
		fclose(stream);
	return NULL;
}

static void *answer_lines(void *argument)
{
	int listener = (int)(intptr_t)argument;

	while (true) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		pthread_t thread;
		if (fd < 0)
			continue;
		if (pthread_create(&thread, NULL, answer_line, (void *)(intptr_t)fd))
			close(fd);
		else
			pthread_detach(thread);
	}
	return NULL;
}

/* Answers over TCP on the port behind that of the connections. */
static void start_answering(const struct sockaddr *address)
{
	struct sockaddr_storage at = { 0 };
	bool v6 = address->sa_family == AF_INET6;
	socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int one = 1, listener = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_t thread;

	memcpy(&at, address, len);
	/* The port is at the same place in both. */
	struct sockaddr_in *in = (struct sockaddr_in *)&at;
	in->sin_port = htons((uint16_t)(ntohs(in->sin_port) + 1));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, len) || listen(listener, 16) ||
	    pthread_create(&thread, NULL, answer_lines, (void *)(intptr_t)listener))
		fail("cannot answer over TCP: %s", strerror(errno));
}

void target(const struct settings *settings)
{
	struct rdma_addrinfo hints = { .ai_flags = RAI_PASSIVE, .ai_port_space = RDMA_PS_TCP }, *info;
	struct rdma_event_channel *events = rdma_create_event_channel();
	struct rdma_cm_id *listener;
	struct rdma_cm_event *event;

	signal(SIGPIPE, SIG_IGN);
	if (!events || rdma_getaddrinfo(settings->address, settings->port, &hints, &info) ||
	    rdma_create_id(events, &listener, NULL, RDMA_PS_TCP) || rdma_bind_addr(listener, info->ai_src_addr))
		fail("cannot bind: %s", strerror(errno));
	offer_regions(listener->verbs);
	if (rdma_listen(listener, 64))
		fail("cannot listen: %s", strerror(errno));
	start_answering(info->ai_src_addr);
	printf("listening\n");
	while (true) {
		struct pollfd ready = { .fd = events->fd, .events = POLLIN };
		int due = poll(&ready, 1, LOOK_MS);
		if (due == 1 && rdma_get_cm_event(events, &event))
			break;
		pthread_mutex_lock(&lock);
		if (due == 1) {
			enum rdma_cm_event_type type = event->event;
			struct rdma_cm_id *id = event->id;
			uint8_t favour = type == RDMA_CM_EVENT_CONNECT_REQUEST ? favour_of(&event->param.conn) : 0;
			if (event->status)
				printf("%s: %d\n", rdma_event_str(type), event->status);
			rdma_ack_cm_event(event);
			handle(type, id, favour);
		}
		for (int index = 0; index < CONNS; index++)
			take_completions(&conns[index]);
		pthread_mutex_unlock(&lock);
	}
	fail("no event: %s", strerror(errno));
}

void call(const struct settings *settings)
{
	struct rdma_addrinfo hints = { .ai_port_space = RDMA_PS_TCP }, *info;
	struct ibv_qp_init_attr attr = {
		.cap = { .max_send_wr = 4, .max_recv_wr = POSTED, .max_send_sge = 1, .max_recv_sge = 1 },
		.qp_type = IBV_QPT_RC,
	};
	struct rdma_conn_param param = { .responder_resources = READS, .initiator_depth = READS };
	struct rdma_cm_id *id;
	static uint8_t message[16];
	struct ibv_mr *message_mr;

	/* A synchronous identifier: the calls wait for their events. */
	if (rdma_getaddrinfo(settings->address, settings->port, &hints, &info) ||
	    rdma_create_ep(&id, info, NULL, &attr))
		fail("cannot prepare the call: %s", strerror(errno));
	domain = id->pd;
	inbox = pages(POSTED * POSTED_LEN);
	inbox_mr = rdma_reg_msgs(id, inbox, POSTED * POSTED_LEN);
	message_mr = rdma_reg_msgs(id, message, sizeof(message));
	if (!inbox_mr || !message_mr || !post_receives(id))
		fail("cannot post receives");
	/* Whether it comes up is for the other end to see. */
	if (rdma_connect(id, &param)) {
		printf("no connection: %s\n", strerror(errno));
		return;
	}
	fill(message, sizeof(message), OUR_SEED);
	struct rdma_cm_event *event;
	if (rdma_post_send(id, NULL, message, sizeof(message), message_mr, 0))
		printf("cannot send: %s\n", strerror(errno));
	/* The end of the connection. */
	if (!rdma_get_cm_event(id->channel, &event))
		rdma_ack_cm_event(event);
	rdma_destroy_ep(id);
}
