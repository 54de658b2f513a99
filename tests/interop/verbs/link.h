/*
 * A connection over the kernel's verbs: memory, receives, completions, and what both ends have agreed on.
 *
 * Both ends have the same memory: a main region whose first half is a source with a known pattern and whose second half
 * is a sink, a region that may only be read, and one that may only be written. Whoever connected says first where they
 * are; then the other end does. From then on one end asks and the other serves; see serve.c.
 */
#ifndef UWARP_LINK_H
#define UWARP_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

enum {
	/* Octets of a half of the main region, and of each of the other regions. */
	HALF = 1 << 20,
	SMALL = 64 << 10,
	/* Receives that are kept posted, and octets of each. */
	RECEIVES = 32,
	MESSAGE_MAX = 8192,
	/* Requests that may be posted at a time. */
	DEPTH = 512,
	/* Seconds after which whoever waits gives up. */
	PATIENCE = 20,
};

/* Where a region is. */
struct place {
	uint64_t addr;
	uint32_t rkey;
	uint32_t len;
};

/* The regions of an end, in the order in which they are told. */
enum region { MAIN, READ_ONLY, WRITE_ONLY, REGIONS };

struct settings {
	bool listens;
	const char *address;
	const char *port;
	/* Reads that we answer, and that we make, at a time. */
	uint8_t ird, ord;
	/* Private data for the other end, and whether to reject with it. */
	const char *private_data;
	size_t private_len;
	bool rejects;
	/* Private data that is expected from the other end; NULL if anything will do. */
	const char *expected;
	size_t expected_len;
};

struct link {
	struct rdma_event_channel *events;
	struct rdma_cm_id *listener, *id;
	struct ibv_pd *pd;
	struct ibv_comp_channel *notices;
	struct ibv_cq *sends, *receives;
	/* Our regions, a scratch region for what is sent and read, and the receives' buffers. */
	uint8_t *octets[REGIONS], *scratch, *inbox;
	struct ibv_mr *mr[REGIONS], *scratch_mr, *inbox_mr;
	/* The other end's regions. */
	struct place theirs[REGIONS];
	/* Whether the listener outlives the connection. */
	bool keeps_listening;
	/* Whether receives are posted again after use. */
	bool reposts;
	/* Whether the connection may end at any time; whether it has. */
	bool may_end, ended;
	/* A request of the next connection's that came before the end of this. */
	struct rdma_cm_event *early;
};

/* A message that has come; its octets stay until the next one is taken. */
struct message {
	const uint8_t *octets;
	uint32_t len;
	bool invalidated;
	uint32_t rkey;
};

/* Says what is wrong, and ends the program. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Seconds since some time. */
double now(void);

/* The octet at a place of a source. */
uint8_t pattern(size_t at, uint32_t seed);
void fill(uint8_t *octets, size_t len, uint32_t seed);
/* Fails unless the octets are the pattern from `at` on. */
void check(const uint8_t *octets, size_t at, size_t len, uint32_t seed, const char *what);

/* Seeds of the sources of the two ends: of this program, and of uwarp's. */
enum { OUR_SEED = 1, THEIR_SEED = 2 };

/* Sets the connection up, and exchanges places. The link is all zeros before its first connection. */
void link_open(struct link *link, const struct settings *settings);

/* Fails, unless the connection may end: then it has. */
void lost(struct link *link, const char *what);

/* Posts a request with one element. */
void post(struct link *link, uint64_t id, enum ibv_wr_opcode opcode, unsigned flags, const void *local, uint32_t len,
	  uint32_t lkey, uint64_t remote, uint32_t rkey);
/* Waits for the next completion of a request. */
struct ibv_wc work(struct link *link);
/* The same, and fails unless it is a success. */
void worked(struct link *link);

/* Sends octets of the scratch region, and waits until they have left. */
void send_message(struct link *link, const void *octets, uint32_t len, unsigned flags);
/* Takes a message if there is one; fails if the connection has ended and may not. */
bool poll_message(struct link *link, struct message *message);
/* Waits for the next message; false if the connection has ended. */
bool take_message(struct link *link, struct message *message);

/* Waits until the other end has closed the connection, however it did. */
void await_disconnect(struct link *link);
/* Closes the connection, and waits for its end. */
void disconnect(struct link *link);

/* Gives everything back that the connection has used. */
void link_close(struct link *link);

struct mix_plan {
	/* Operations of this end, unless the time is over before. */
	uint32_t count;
	/* Makes other operations. */
	uint32_t seed;
	/* Seconds, 0 if only the operations count. */
	double seconds;
	/* Whether this end leaves when the time is over, with all that is under way. */
	bool leaves;
	/* Whether the other end does, some time after that. */
	bool is_left;
};

/* Random operations of both ends (mix.c). */
void mix(struct link *link, const struct mix_plan *plan);
/* A mix on each of many connections, which end in all manners (long.c). */
void long_run(struct link *link, const struct settings *settings, unsigned times, double seconds);
/* Serves the other end until it says that it is done (serve.c). */
void serve(struct link *link);
/* Serves whatever the negative suite does, for ever; calls whoever plays it, once (target.c). */
void target(const struct settings *settings);
void call(const struct settings *settings);
/* Runs a case by its name (cases.c). */
void run_case(struct link *link, const char *name);

#endif
