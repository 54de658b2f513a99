/*
 * Random operations of both ends at the same time; what they are, and what the ends say to each other, stands in
 * tests/interop/peer/src/verbs/mix.rs.
 */
#include "link.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SLOTS = 8,
	SLOT = HALF / SLOTS,
	HEAD = 16,
	/* Where heads and acknowledgements are in the scratch region, behind the slots. */
	HEADS = HALF,
	ACKS = HALF + SLOTS * HEAD,
	ACK_COUNT = 64,
	/* Number of completions that are no Read's. */
	OTHER = SLOTS,
	/* That of the last message. */
	LAST,
};

struct slot {
	bool busy;
	uint32_t number, len;
	size_t at;
};

struct mix {
	struct link *link;
	struct slot slots[SLOTS];
	uint32_t begun, finished, count, acks;
	unsigned short random[3];
	bool told_end, told, heard_end;
};

static void write_head(uint8_t *octets, uint8_t letter, uint32_t number, uint32_t len)
{
	uint32_t words[2] = { htobe32(number), htobe32(len) };

	memset(octets, 0, HEAD);
	octets[0] = letter;
	memcpy(octets + 4, words, 8);
}

static void say(struct mix *mix, uint8_t letter, uint32_t number)
{
	struct link *link = mix->link;
	uint8_t *octets = link->scratch + ACKS + HEAD * (mix->acks++ % ACK_COUNT);

	write_head(octets, letter, number, 0);
	post(link, letter == 'd' ? LAST : OTHER, IBV_WR_SEND, IBV_SEND_SIGNALED, octets, HEAD, link->scratch_mr->lkey,
	     0, 0);
}

static uint32_t below(struct mix *mix, uint32_t limit)
{
	return (uint32_t)nrand48(mix->random) % limit;
}

static void send_data(struct link *link, uint8_t *head, uint8_t *data, uint32_t len)
{
	struct ibv_sge list[2] = {
		{ (uintptr_t)head, HEAD, link->scratch_mr->lkey },
		{ (uintptr_t)data, len, link->scratch_mr->lkey },
	};
	struct ibv_send_wr wr = {
		.wr_id = OTHER,
		.sg_list = list,
		.num_sge = len ? 2 : 1,
		.opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED,
	}, *bad;

	if (ibv_post_send(link->id->qp, &wr, &bad))
		lost(link, "cannot post");
}

static void begin(struct mix *mix)
{
	struct link *link = mix->link;
	uint32_t number = mix->begun++, index = number % SLOTS, kind = below(mix, 3), size = below(mix, 4);
	uint32_t most = size == 0 ? 64 : kind == 1 ? MESSAGE_MAX - HEAD : size == 1 ? SLOT : 8192;
	uint32_t len = below(mix, most + 1);
	struct slot *slot = &mix->slots[index];
	uint8_t *data = link->scratch + index * SLOT, *head = link->scratch + HEADS + index * HEAD;
	const struct place *theirs = &link->theirs[MAIN];

	*slot = (struct slot){ true, number, len, below(mix, HALF - len + 1) };
	if (kind == 0) {
		memset(data, 0xee, len);
		post(link, index, IBV_WR_RDMA_READ, IBV_SEND_SIGNALED, data, len, link->scratch_mr->lkey,
		     theirs->addr + slot->at, theirs->rkey);
		return;
	}
	fill(data, len, number);
	write_head(head, kind == 1 ? 'm' : 'w', number, len);
	if (kind == 1) {
		send_data(link, head, data, len);
		return;
	}
	post(link, OTHER, IBV_WR_RDMA_WRITE, IBV_SEND_SIGNALED, data, len, link->scratch_mr->lkey,
	     theirs->addr + HALF + index * SLOT, theirs->rkey);
	post(link, OTHER, IBV_WR_SEND, IBV_SEND_SIGNALED, head, HEAD, link->scratch_mr->lkey, 0, 0);
}

/* Takes a completion of a request, if there is one. */
static bool take_work(struct mix *mix)
{
	struct link *link = mix->link;
	struct ibv_wc wc;

	if (ibv_poll_cq(link->sends, 1, &wc) != 1)
		return false;
	if (wc.status != IBV_WC_SUCCESS) {
		/*
		 * The other end may close once it has heard our last message. If siw has not yet taken note by then that
		 * the message has left, it says that the Send has failed; what has come counts.
		 */
		if (!mix->told_end)
			lost(link, ibv_wc_status_str(wc.status));
		mix->told = true;
		return true;
	}
	if (wc.wr_id == LAST)
		mix->told = true;
	if (wc.wr_id < SLOTS) {
		struct slot *slot = &mix->slots[wc.wr_id];
		check(link->scratch + wc.wr_id * SLOT, slot->at, slot->len, THEIR_SEED, "Read");
		slot->busy = false;
		mix->finished++;
	}
	return true;
}

static void hear(struct mix *mix, const struct message *message)
{
	uint32_t words[2];

	if (message->len < HEAD)
		fail("a message of %u octets", message->len);
	memcpy(words, message->octets + 4, 8);
	uint32_t number = be32toh(words[0]), len = be32toh(words[1]), index = number % SLOTS;
	struct slot *slot = &mix->slots[index];
	switch (message->octets[0]) {
	case 'a':
		if (!slot->busy || slot->number != number)
			fail("%u was acknowledged, which is not under way", number);
		slot->busy = false;
		mix->finished++;
		return;
	case 'd':
		mix->heard_end = true;
		return;
	case 'm':
		if (message->len != HEAD + len)
			fail("a message of %u octets instead of %u", message->len, HEAD + len);
		check(message->octets + HEAD, 0, len, number, "message");
		break;
	case 'w':
		check(mix->link->octets[MAIN] + HALF + index * SLOT, 0, len, number, "Write");
		break;
	default:
		fail("an unknown message");
	}
	say(mix, 'a', number);
}

void mix(struct link *link, const struct mix_plan *plan)
{
	struct mix mix = { .link = link, .count = plan->count, .random = { (unsigned short)plan->seed, 7, 11 } };
	double until = plan->seconds > 0 ? now() + plan->seconds : 1e300;
	struct message message;
	unsigned idle = 0;

	/* What has not left yet would be lost if this end closed. */
	while (!link->ended && (!mix.told || !mix.heard_end)) {
		bool moved = take_work(&mix);
		if (poll_message(link, &message)) {
			hear(&mix, &message);
			moved = true;
		}
		if (now() > until) {
			if (plan->leaves)
				return;
			if (!plan->is_left && mix.count > mix.begun)
				mix.count = mix.begun;
			if (now() > until + PATIENCE)
				fail("the connection should have ended");
		}
		while (!link->ended && mix.begun < mix.count && !mix.slots[mix.begun % SLOTS].busy) {
			begin(&mix);
			moved = true;
		}
		if (mix.finished == mix.count && !mix.told_end) {
			mix.told_end = true;
			say(&mix, 'd', 0);
		}
		if (moved) {
			idle = 0;
			continue;
		}
		if (++idle > 20)
			usleep(200);
		if (idle > PATIENCE * 4000)
			fail("stalled: %u begun, %u finished of %u, heard the end: %d", mix.begun, mix.finished,
			     mix.count, mix.heard_end);
	}
}
