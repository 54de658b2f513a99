/*
 * What the active end does, case by case. The passive end is uwarp's; what it can be asked for stands in serve.c.
 */
#include "link.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Asks for something, and gives the answer's message. */
static struct message ask_with(struct link *link, uint8_t letter, uint32_t a, uint32_t b, uint32_t c,
			       enum ibv_wr_opcode opcode, unsigned flags, uint32_t rkey)
{
	uint8_t octets[16] = { letter };
	uint32_t words[3] = { htobe32(a), htobe32(b), htobe32(c) };
	struct message message;

	memcpy(octets + 4, words, 12);
	memcpy(link->scratch, octets, sizeof(octets));
	post(link, 0, opcode, flags | IBV_SEND_SIGNALED, link->scratch, sizeof(octets), link->scratch_mr->lkey, 0, rkey);
	worked(link);
	if (!take_message(link, &message))
		fail("the connection ended instead of an answer to '%c'", letter);
	return message;
}

static uint32_t number(const struct message *message, int index)
{
	uint32_t word;

	memcpy(&word, message->octets + 4 + 4 * index, 4);
	return be32toh(word);
}

/* Asks, and fails unless the answer is as expected; gives its second number. */
static uint32_t ask(struct link *link, uint8_t letter, uint32_t a, uint32_t b, uint32_t c)
{
	struct message message = ask_with(link, letter, a, b, c, IBV_WR_SEND, 0, 0);

	if (message.len < 16 || message.octets[0] != letter || number(&message, 0) != 1)
		fail("the answer to '%c' %u %u %u is no", letter, a, b, c);
	return number(&message, 1);
}

static void done(struct link *link)
{
	ask(link, 'q', 0, 0, 0);
	disconnect(link);
}

static void rdma(struct link *link, enum ibv_wr_opcode opcode, unsigned flags, size_t at, uint32_t len,
		 enum region region, size_t offset)
{
	const struct place *place = &link->theirs[region];

	post(link, at, opcode, flags, link->scratch + at, len, link->scratch_mr->lkey, place->addr + offset, place->rkey);
}

static const uint32_t lengths[] = { 0,    1,     2,	3,     4,     5,     31,    32,	    33,	   1000,  1423,	 1424,
				    1425, 1426,	 1427,	1428,  1429,  1430,  1431,  1432,   2856,  2857,  4096,	 8191,
				    8192, 16384, 32768, 65480, 65535, 65536, 65537, 100001, 262144, 524288, 1048575, 1048576 };
enum { LENGTHS = sizeof(lengths) / sizeof(lengths[0]) };

static void messages(struct link *link)
{
	static uint8_t octets[MESSAGE_MAX];
	struct message message;

	for (int index = 0; index < LENGTHS && lengths[index] <= MESSAGE_MAX; index++) {
		uint32_t len = lengths[index];
		fill(octets, len, len);
		octets[0] = 'e';
		send_message(link, octets, len, 0);
		if (!take_message(link, &message))
			fail("the connection ended");
		if (message.len != len || memcmp(message.octets, octets, len))
			fail("an echo of %u octets has %u octets, or others", len, message.len);
	}
	done(link);
}

static void solicited(struct link *link)
{
	for (int turn = 0; turn < 3; turn++) {
		struct message message = ask_with(link, 's', 0, 0, 0, IBV_WR_SEND, IBV_SEND_SOLICITED, 0);
		if (number(&message, 0) != 1)
			fail("a message that asked for an event did not get one");
		message = ask_with(link, 's', 0, 0, 0, IBV_WR_SEND, 0, 0);
		if (number(&message, 0) != 0)
			fail("a message that did not ask for an event got one");
	}
	done(link);
}

/* The other end's new window. */
static struct place ask_window(struct link *link)
{
	struct message message = ask_with(link, 'w', 0, 0, 0, IBV_WR_SEND, 0, 0);
	struct place place;
	uint32_t words[2];

	if (message.len != 32)
		fail("no window");
	memcpy(&place.addr, message.octets + 16, 8);
	memcpy(words, message.octets + 24, 8);
	return (struct place){ be64toh(place.addr), be32toh(words[0]), be32toh(words[1]) };
}

/* Waits for the end of the connection, which requests that are left may come before. */
static void end_of_fault(struct link *link)
{
	struct ibv_wc wc = work(link);

	printf("note: %s\n", ibv_wc_status_str(wc.status));
	await_disconnect(link);
}

static void invalidate(struct link *link, unsigned flags)
{
	struct place window = ask_window(link);

	fill(link->scratch, 100, 5);
	post(link, 1, IBV_WR_RDMA_WRITE, IBV_SEND_SIGNALED, link->scratch, 100, link->scratch_mr->lkey, window.addr,
	     window.rkey);
	worked(link);
	struct message message = ask_with(link, 'i', 0, 0, 0, IBV_WR_SEND_WITH_INV, flags, window.rkey);
	if (number(&message, 0) != 1 || number(&message, 1) != window.rkey)
		fail("0x%x was to be invalidated, and 0x%x was", window.rkey, number(&message, 1));
	/* What was invalidated cannot be used again. */
	ask(link, 'f', 0x010100, 0, 0);
	post(link, 2, IBV_WR_RDMA_WRITE, IBV_SEND_SIGNALED, link->scratch, 100, link->scratch_mr->lkey, window.addr,
	     window.rkey);
	end_of_fault(link);
}

static void invalidate_plain(struct link *link)
{
	invalidate(link, 0);
}

static void invalidate_solicited(struct link *link)
{
	invalidate(link, IBV_SEND_SOLICITED);
}

static void reads(struct link *link)
{
	for (int index = 0; index < LENGTHS; index++) {
		uint32_t len = lengths[index], at = (HALF - len) / 3;
		memset(link->scratch, 0xee, len + 8);
		rdma(link, IBV_WR_RDMA_READ, IBV_SEND_SIGNALED, 0, len, MAIN, at);
		worked(link);
		check(link->scratch, at, len, THEIR_SEED, "Read");
		if (link->scratch[len] != 0xee)
			fail("a Read of %u octets has changed more", len);
	}
	done(link);
}

static void writes(struct link *link)
{
	for (int index = 0; index < LENGTHS; index++) {
		uint32_t len = lengths[index], at = (HALF - len) / 3;
		ask(link, 'z', 0, 0, 0);
		for (uint32_t offset = 0; offset < len; offset++)
			link->scratch[offset + 16] = pattern(at + offset, len);
		rdma(link, IBV_WR_RDMA_WRITE, 0, 16, len, MAIN, HALF + at);
		ask(link, 'c', at, len, len);
	}
	done(link);
}

/* More Reads than can be under way, of every length up to `most`. */
static void many_reads(struct link *link)
{
	enum { COUNT = 400, PIECE = 2048 };
	for (int turn = 0; turn < 3; turn++) {
		memset(link->scratch, 0, COUNT * PIECE);
		for (int index = 0; index < COUNT; index++) {
			uint32_t len = (uint32_t)(index * 37 % PIECE);
			rdma(link, IBV_WR_RDMA_READ, IBV_SEND_SIGNALED, (size_t)index * PIECE, len, MAIN,
			     (size_t)index * PIECE);
		}
		for (int index = 0; index < COUNT; index++)
			worked(link);
		for (int index = 0; index < COUNT; index++)
			check(link->scratch + index * PIECE, (size_t)index * PIECE, (size_t)(index * 37 % PIECE),
			      THEIR_SEED, "one of many Reads");
	}
	done(link);
}

/* Writes and messages of which only the last is signalled. */
static void burst(struct link *link)
{
	enum { WRITES = 400, PIECE = 1500, MESSAGES = 24, LEN = 100 };
	uint8_t octets[16] = { 'b' };
	uint32_t words[2] = { htobe32(MESSAGES), htobe32(LEN) };
	struct message message;

	for (int turn = 0; turn < 5; turn++) {
		ask(link, 'z', 0, 0, 0);
		for (size_t at = 0; at < WRITES * PIECE; at++)
			link->scratch[HALF + at] = pattern(at, 50 + turn);
		for (size_t index = 0; index < WRITES; index++) {
			bool last = index == WRITES - 1;
			rdma(link, IBV_WR_RDMA_WRITE, last ? IBV_SEND_SIGNALED : 0, HALF + index * PIECE, PIECE, MAIN,
			     HALF + index * PIECE);
		}
		worked(link);
		ask(link, 'c', 0, WRITES * PIECE, 50 + turn);
		memcpy(octets + 4, words, 8);
		memcpy(link->scratch, octets, 16);
		post(link, 0, IBV_WR_SEND, 0, link->scratch, 16, link->scratch_mr->lkey, 0, 0);
		for (uint32_t index = 0; index < MESSAGES; index++) {
			uint8_t *contents = link->scratch + 1024 * (index + 1);
			fill(contents, LEN, index);
			post(link, index, IBV_WR_SEND, index == MESSAGES - 1 ? IBV_SEND_SIGNALED : 0, contents, LEN,
			     link->scratch_mr->lkey, 0, 0);
		}
		worked(link);
		if (!take_message(link, &message) || message.octets[0] != 'b' || number(&message, 0) != 1)
			fail("the messages of a burst were not what they should be");
	}
	done(link);
}

/* A request that is gathered from four elements. None is empty: siw would loop for ever (siw_tx_hdt). */
static void gathers(struct link *link)
{
	static const uint32_t lens[4] = { 1, 5000, 1, 332 };
	struct ibv_sge list[4];
	uint32_t at = 0;

	for (size_t offset = 0; offset < 5334; offset++)
		link->scratch[offset] = 0;
	for (int element = 0; element < 4; element++) {
		uint8_t *octets = link->scratch + 10000 * element;
		for (uint32_t offset = 0; offset < lens[element]; offset++)
			octets[offset] = pattern(at + offset, 9);
		list[element] = (struct ibv_sge){ (uintptr_t)octets, lens[element], link->scratch_mr->lkey };
		at += lens[element];
	}
	struct ibv_send_wr wr = {
		.sg_list = list,
		.num_sge = 4,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { link->theirs[MAIN].addr + HALF, link->theirs[MAIN].rkey },
	}, *bad;
	if (ibv_post_send(link->id->qp, &wr, &bad))
		fail("cannot post");
	worked(link);
	ask(link, 'c', 0, at, 9);
	done(link);
}

/* A request that the other end must refuse, with that Terminate code. */
static void refused(struct link *link, uint32_t code, enum ibv_wr_opcode opcode, enum region region, uint64_t offset,
		    uint32_t rkey_change)
{
	const struct place *place = &link->theirs[region];

	ask(link, 'f', code, 0, 0);
	post(link, 1, opcode, IBV_SEND_SIGNALED, link->scratch, 64, link->scratch_mr->lkey, place->addr + offset,
	     place->rkey ^ rkey_change);
	end_of_fault(link);
}

static void write_stag(struct link *link)
{
	refused(link, 0x010100, IBV_WR_RDMA_WRITE, MAIN, 0, 0x00a5a500);
}

static void write_bounds(struct link *link)
{
	refused(link, 0x010101, IBV_WR_RDMA_WRITE, MAIN, 2 * HALF - 63, 0);
}

static void write_right(struct link *link)
{
	refused(link, 0x010100, IBV_WR_RDMA_WRITE, READ_ONLY, 0, 0);
}

static void read_stag(struct link *link)
{
	refused(link, 0x000100, IBV_WR_RDMA_READ, MAIN, 0, 0x00a5a500);
}

static void read_bounds(struct link *link)
{
	refused(link, 0x000101, IBV_WR_RDMA_READ, MAIN, 2 * HALF - 63, 0);
}

static void read_right(struct link *link)
{
	refused(link, 0x000102, IBV_WR_RDMA_READ, WRITE_ONLY, 0, 0);
}

static void no_receive(struct link *link)
{
	uint32_t left = ask(link, 'h', 0, 0, 0);

	ask(link, 'f', 0x010202, 0, 0);
	/* One is gone for the command before. */
	for (uint32_t index = 0; index < left; index++) {
		post(link, index, IBV_WR_SEND, IBV_SEND_SIGNALED, link->scratch, 16, link->scratch_mr->lkey, 0, 0);
		work(link);
	}
	await_disconnect(link);
}

static void quit(struct link *link)
{
	done(link);
}

void run_case(struct link *link, const char *name)
{
	static const struct {
		const char *name;
		void (*run)(struct link *link);
	} cases[] = {
		{ "messages", messages },
		{ "solicited", solicited },
		{ "invalidate", invalidate_plain },
		{ "invalidate-solicited", invalidate_solicited },
		{ "reads", reads },
		{ "writes", writes },
		{ "many-reads", many_reads },
		{ "burst", burst },
		{ "gathers", gathers },
		{ "write-stag", write_stag },
		{ "write-bounds", write_bounds },
		{ "write-right", write_right },
		{ "read-stag", read_stag },
		{ "read-bounds", read_bounds },
		{ "read-right", read_right },
		{ "no-receive", no_receive },
		{ "quit", quit },
	};

	for (size_t index = 0; index < sizeof(cases) / sizeof(cases[0]); index++) {
		if (!strcmp(cases[index].name, name)) {
			cases[index].run(link);
			return;
		}
	}
	fail("there is no case %s", name);
}
