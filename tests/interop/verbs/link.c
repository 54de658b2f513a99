#include "link.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "uwarp-verbs: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(1);
}

void lost(struct link *link, const char *what)
{
	if (!link->may_end)
		fail("%s", what);
	if (!link->ended)
		printf("over: %s\n", what);
	link->ended = true;
}

double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

uint8_t pattern(size_t at, uint32_t seed)
{
	return (uint8_t)(at * 7 + at / 251 + seed * 31);
}

void fill(uint8_t *octets, size_t len, uint32_t seed)
{
	for (size_t at = 0; at < len; at++)
		octets[at] = pattern(at, seed);
}

void check(const uint8_t *octets, size_t at, size_t len, uint32_t seed, const char *what)
{
	for (size_t offset = 0; offset < len; offset++)
		if (octets[offset] != pattern(at + offset, seed))
			fail("%s: octet %zu of %zu is 0x%02x instead of 0x%02x", what, offset, len, octets[offset],
			     pattern(at + offset, seed));
}

static void *get_memory(size_t len)
{
	void *memory = aligned_alloc(4096, (len + 4095) / 4096 * 4096);

	if (!memory)
		fail("no memory");
	memset(memory, 0, len);
	return memory;
}

static struct ibv_mr *reg(struct link *link, void *octets, size_t len, int access)
{
	struct ibv_mr *mr = ibv_reg_mr(link->pd, octets, len, access);

	if (!mr)
		fail("cannot register %zu octets: %s", len, strerror(errno));
	return mr;
}

static void post_receive(struct link *link, uint64_t index)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)(link->inbox + index * MESSAGE_MAX),
		.length = MESSAGE_MAX,
		.lkey = link->inbox_mr->lkey,
	};
	struct ibv_recv_wr wr = { .wr_id = index, .sg_list = &sge, .num_sge = 1 }, *bad;

	if (ibv_post_recv(link->id->qp, &wr, &bad))
		lost(link, "cannot post a receive");
}

static void make_resources(struct link *link)
{
	static const size_t lens[REGIONS] = { 2 * HALF, SMALL, SMALL };
	static const int rights[REGIONS] = {
		IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE,
		IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ,
		IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
	};

	link->pd = ibv_alloc_pd(link->id->verbs);
	link->notices = ibv_create_comp_channel(link->id->verbs);
	if (!link->pd || !link->notices)
		fail("no protection domain or no completion channel");
	link->sends = ibv_create_cq(link->id->verbs, 2 * DEPTH, NULL, NULL, 0);
	link->receives = ibv_create_cq(link->id->verbs, 2 * DEPTH, NULL, link->notices, 0);
	if (!link->sends || !link->receives)
		fail("no completion queue");
	struct ibv_qp_init_attr attr = {
		.send_cq = link->sends,
		.recv_cq = link->receives,
		.cap = { .max_send_wr = DEPTH, .max_recv_wr = RECEIVES, .max_send_sge = 4, .max_recv_sge = 4 },
		.qp_type = IBV_QPT_RC,
	};
	if (rdma_create_qp(link->id, link->pd, &attr))
		fail("no QP: %s", strerror(errno));
	for (int region = 0; region < REGIONS; region++) {
		link->octets[region] = get_memory(lens[region]);
		link->mr[region] = reg(link, link->octets[region], lens[region], rights[region]);
	}
	fill(link->octets[MAIN], HALF, OUR_SEED);
	fill(link->octets[READ_ONLY], SMALL, OUR_SEED);
	link->scratch = get_memory(2 * HALF);
	link->scratch_mr = reg(link, link->scratch, 2 * HALF, IBV_ACCESS_LOCAL_WRITE);
	link->inbox = get_memory(RECEIVES * MESSAGE_MAX);
	link->inbox_mr = reg(link, link->inbox, RECEIVES * MESSAGE_MAX, IBV_ACCESS_LOCAL_WRITE);
	link->reposts = true;
	for (int index = 0; index < RECEIVES; index++)
		post_receive(link, index);
}

static void expect_private(const struct settings *settings, const struct rdma_conn_param *param)
{
	if (!settings->expected)
		return;
	if (param->private_data_len < settings->expected_len ||
	    memcmp(param->private_data, settings->expected, settings->expected_len))
		fail("private data of %u octets, not the %zu that were expected", param->private_data_len,
		     settings->expected_len);
}

/* The next event of the connection manager's. */
static struct rdma_cm_event *next_event(struct link *link)
{
	struct rdma_cm_event *event;

	if (rdma_get_cm_event(link->events, &event))
		fail("no event: %s", strerror(errno));
	return event;
}

static void expect_event(struct link *link, enum rdma_cm_event_type type)
{
	struct rdma_cm_event *event = next_event(link);

	if (event->event != type)
		fail("%s (%d) instead of %s", rdma_event_str(event->event), event->status, rdma_event_str(type));
	rdma_ack_cm_event(event);
}

static struct rdma_conn_param conn_param(const struct settings *settings)
{
	return (struct rdma_conn_param){
		.responder_resources = settings->ird,
		.initiator_depth = settings->ord,
		.private_data = settings->private_data,
		.private_data_len = (uint8_t)settings->private_len,
		.retry_count = 7,
	};
}

static void accept_link(struct link *link, const struct settings *settings, struct rdma_addrinfo *info)
{
	if (!link->listener &&
	    (rdma_create_id(link->events, &link->listener, NULL, RDMA_PS_TCP) ||
	     rdma_bind_addr(link->listener, info->ai_src_addr) || rdma_listen(link->listener, 8)))
		fail("cannot listen: %s", strerror(errno));
	struct rdma_cm_event *event = link->early ? link->early : next_event(link);
	link->early = NULL;
	if (event->event != RDMA_CM_EVENT_CONNECT_REQUEST)
		fail("%s instead of a request", rdma_event_str(event->event));
	link->id = event->id;
	expect_private(settings, &event->param.conn);
	printf("request: IRD %u, ORD %u, private data %u\n", event->param.conn.responder_resources,
	       event->param.conn.initiator_depth, event->param.conn.private_data_len);
	rdma_ack_cm_event(event);
	if (settings->rejects) {
		if (rdma_reject(link->id, settings->private_data, (uint8_t)settings->private_len))
			fail("cannot reject: %s", strerror(errno));
		exit(0);
	}
	make_resources(link);
	struct rdma_conn_param param = conn_param(settings);
	if (rdma_accept(link->id, &param))
		fail("cannot accept: %s", strerror(errno));
	expect_event(link, RDMA_CM_EVENT_ESTABLISHED);
}

static void connect_link(struct link *link, const struct settings *settings, struct rdma_addrinfo *info)
{
	if (rdma_create_id(link->events, &link->id, NULL, RDMA_PS_TCP) ||
	    rdma_resolve_addr(link->id, NULL, info->ai_dst_addr, 2000))
		fail("cannot resolve the address: %s", strerror(errno));
	expect_event(link, RDMA_CM_EVENT_ADDR_RESOLVED);
	if (rdma_resolve_route(link->id, 2000))
		fail("cannot resolve the route: %s", strerror(errno));
	expect_event(link, RDMA_CM_EVENT_ROUTE_RESOLVED);
	make_resources(link);
	struct rdma_conn_param param = conn_param(settings);
	if (rdma_connect(link->id, &param))
		fail("cannot connect: %s", strerror(errno));
	struct rdma_cm_event *event = next_event(link);
	if (settings->rejects) {
		if (event->event != RDMA_CM_EVENT_REJECTED)
			fail("%s (%d) instead of a rejection", rdma_event_str(event->event), event->status);
		expect_private(settings, &event->param.conn);
		printf("rejected: status %d, private data %u\n", event->status, event->param.conn.private_data_len);
		rdma_ack_cm_event(event);
		exit(0);
	}
	if (event->event != RDMA_CM_EVENT_ESTABLISHED)
		fail("%s (%d) instead of a connection", rdma_event_str(event->event), event->status);
	expect_private(settings, &event->param.conn);
	printf("reply: IRD %u, ORD %u, private data %u\n", event->param.conn.responder_resources,
	       event->param.conn.initiator_depth, event->param.conn.private_data_len);
	rdma_ack_cm_event(event);
}

/* Tells where our regions are. */
static void tell_places(struct link *link)
{
	uint8_t message[REGIONS * 16];

	for (int region = 0; region < REGIONS; region++) {
		uint64_t addr = htobe64((uintptr_t)link->octets[region]);
		uint32_t words[2] = { htobe32(link->mr[region]->rkey), htobe32((uint32_t)link->mr[region]->length) };
		memcpy(message + 16 * region, &addr, 8);
		memcpy(message + 16 * region + 8, words, 8);
	}
	send_message(link, message, sizeof(message), 0);
}

static void hear_places(struct link *link)
{
	struct message message;

	if (!take_message(link, &message) || message.len != REGIONS * 16)
		fail("the other end does not tell its places");
	for (int region = 0; region < REGIONS; region++) {
		uint64_t addr;
		uint32_t words[2];
		memcpy(&addr, message.octets + 16 * region, 8);
		memcpy(words, message.octets + 16 * region + 8, 8);
		link->theirs[region] = (struct place){ be64toh(addr), be32toh(words[0]), be32toh(words[1]) };
	}
}

void link_open(struct link *link, const struct settings *settings)
{
	struct rdma_addrinfo hints = { .ai_port_space = RDMA_PS_TCP, .ai_flags = settings->listens ? RAI_PASSIVE : 0 };
	struct rdma_addrinfo *info;

	if (rdma_getaddrinfo(settings->address, settings->port, &hints, &info))
		fail("no such address: %s", strerror(errno));
	if (!link->events)
		link->events = rdma_create_event_channel();
	if (!link->events)
		fail("no event channel: %s", strerror(errno));
	if (settings->listens) {
		accept_link(link, settings, info);
		hear_places(link);
		tell_places(link);
	} else {
		connect_link(link, settings, info);
		tell_places(link);
		hear_places(link);
	}
	rdma_freeaddrinfo(info);
}

void post(struct link *link, uint64_t id, enum ibv_wr_opcode opcode, unsigned flags, const void *local, uint32_t len,
	  uint32_t lkey, uint64_t remote, uint32_t rkey)
{
	struct ibv_sge sge = { .addr = (uintptr_t)local, .length = len, .lkey = lkey };
	struct ibv_send_wr wr = {
		.wr_id = id,
		.sg_list = &sge,
		/* Of a Read without an element siw asks for what an older request had in its place (siw_qp_prepare_tx). */
		.num_sge = len || opcode == IBV_WR_RDMA_READ ? 1 : 0,
		.opcode = opcode,
		.send_flags = flags,
		.wr.rdma = { .remote_addr = remote, .rkey = rkey },
	}, *bad;

	if (opcode == IBV_WR_SEND_WITH_INV)
		wr.invalidate_rkey = rkey;
	if (ibv_post_send(link->id->qp, &wr, &bad))
		lost(link, "cannot post a request");
}

static struct ibv_wc next_completion(struct ibv_cq *cq, const char *what)
{
	double deadline = now() + PATIENCE;
	struct ibv_wc wc;

	for (unsigned turn = 0; now() < deadline; turn++) {
		int count = ibv_poll_cq(cq, 1, &wc);
		if (count < 0)
			fail("cannot poll");
		if (count > 0)
			return wc;
		if (turn > 20)
			usleep(200);
	}
	fail("%s: nothing happened in %d s", what, PATIENCE);
}

struct ibv_wc work(struct link *link)
{
	return next_completion(link->sends, "request");
}

void worked(struct link *link)
{
	struct ibv_wc wc = work(link);

	if (wc.status != IBV_WC_SUCCESS)
		lost(link, ibv_wc_status_str(wc.status));
}

void send_message(struct link *link, const void *octets, uint32_t len, unsigned flags)
{
	memcpy(link->scratch, octets, len);
	post(link, 0, IBV_WR_SEND, flags | IBV_SEND_SIGNALED, link->scratch, len, link->scratch_mr->lkey, 0, 0);
	worked(link);
}

static bool as_message(struct link *link, struct ibv_wc wc, struct message *message)
{
	static uint8_t copy[MESSAGE_MAX];

	if (wc.status == IBV_WC_WR_FLUSH_ERR)
		return false;
	if (wc.status != IBV_WC_SUCCESS) {
		lost(link, ibv_wc_status_str(wc.status));
		return false;
	}
	memcpy(copy, link->inbox + wc.wr_id * MESSAGE_MAX, wc.byte_len);
	*message = (struct message){
		.octets = copy,
		.len = wc.byte_len,
		.invalidated = wc.wc_flags & IBV_WC_WITH_INV,
		.rkey = wc.invalidated_rkey,
	};
	if (link->reposts)
		post_receive(link, wc.wr_id);
	return true;
}

bool take_message(struct link *link, struct message *message)
{
	return as_message(link, next_completion(link->receives, "message"), message);
}

bool poll_message(struct link *link, struct message *message)
{
	struct ibv_wc wc;

	if (ibv_poll_cq(link->receives, 1, &wc) != 1)
		return false;
	if (as_message(link, wc, message))
		return true;
	lost(link, "the connection has ended");
	return false;
}

void await_disconnect(struct link *link)
{
	struct rdma_cm_event *event = next_event(link);

	if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST && !link->early) {
		link->early = event;
		event = next_event(link);
	}
	if (event->event != RDMA_CM_EVENT_DISCONNECTED)
		fail("%s (%d) instead of the end", rdma_event_str(event->event), event->status);
	rdma_ack_cm_event(event);
}

void disconnect(struct link *link)
{
	if (rdma_disconnect(link->id))
		fail("cannot disconnect: %s", strerror(errno));
	await_disconnect(link);
}

void link_close(struct link *link)
{
	rdma_destroy_qp(link->id);
	for (int region = 0; region < REGIONS; region++) {
		ibv_dereg_mr(link->mr[region]);
		free(link->octets[region]);
	}
	ibv_dereg_mr(link->scratch_mr);
	ibv_dereg_mr(link->inbox_mr);
	free(link->scratch);
	free(link->inbox);
	ibv_destroy_cq(link->sends);
	ibv_destroy_cq(link->receives);
	ibv_destroy_comp_channel(link->notices);
	ibv_dealloc_pd(link->pd);
	rdma_destroy_id(link->id);
	if (!link->keeps_listening && link->listener) {
		rdma_destroy_id(link->listener);
		link->listener = NULL;
	}
}
