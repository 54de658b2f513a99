/*
 * What the passive end does: whatever the other end asks for.
 *
 * A command is a message of 16 octets or more: a letter, 3 octets, and three numbers (4 each, big-endian). Every command
 * has an answer of 16 octets of the same form, in which the first number is 1 for yes and 0 for no; an echo has itself.
 *
 *   'e'            echo: any length, any contents
 *   'c' at n seed  does the sink, from `at` on, hold n octets of that seed's pattern?
 *   'z'            make the sink empty
 *   's'            did this message ask for an event? (with us: did one come?)
 *   'w'            a window: a region of its own, which may be invalidated; the answer has its place behind its 16 octets
 *   'i'            has this message invalidated something? the second number of the answer is its STag
 *   'h'            hold: no receive is posted any more; the second number says how many are left
 *   'f' code       a fault follows: what comes next is the end, with that Terminate code if it is ours to say
 *   'b' n len      n messages of `len` octets follow, not to be answered; the answer comes after them
 *   'q'            done: the other end disconnects
 */
#include "link.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static uint32_t number(const struct message *message, int index)
{
	uint32_t word;

	memcpy(&word, message->octets + 4 + 4 * index, 4);
	return be32toh(word);
}

static void answer(struct link *link, uint8_t letter, bool yes, uint32_t second)
{
	uint8_t octets[16] = { letter };
	uint32_t words[2] = { htobe32(yes), htobe32(second) };

	memcpy(octets + 4, words, 8);
	send_message(link, octets, sizeof(octets), 0);
}

static void window(struct link *link)
{
	static uint8_t octets[4096] __attribute__((aligned(4096)));
	struct ibv_mr *mr = ibv_reg_mr(link->pd, octets, sizeof(octets),
				       IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE);
	uint8_t message[32] = { 'w' };
	uint64_t addr = htobe64((uintptr_t)octets);
	uint32_t yes = htobe32(1), words[2];

	if (!mr)
		fail("no window: %s", strerror(errno));
	words[0] = htobe32(mr->rkey);
	words[1] = htobe32(sizeof(octets));
	memcpy(message + 4, &yes, 4);
	memcpy(message + 16, &addr, 8);
	memcpy(message + 24, words, 8);
	send_message(link, message, sizeof(message), 0);
}

static void burst(struct link *link, uint32_t count, uint32_t len)
{
	struct message message;
	bool good = true;

	for (uint32_t index = 0; index < count; index++) {
		if (!take_message(link, &message))
			fail("the connection ended after %u of %u messages", index, count);
		good &= message.len == len;
		for (uint32_t at = 0; at < message.len; at++)
			good &= message.octets[at] == pattern(at, index);
	}
	answer(link, 'b', good, 0);
}

/* Whether an event comes in a while, for the message that says that one shall. */
static bool event_comes(struct link *link)
{
	struct pollfd ready = { .fd = link->notices->fd, .events = POLLIN };
	struct ibv_cq *cq;
	void *context;

	if (poll(&ready, 1, 100) != 1)
		return false;
	if (ibv_get_cq_event(link->notices, &cq, &context))
		fail("no event: %s", strerror(errno));
	ibv_ack_cq_events(cq, 1);
	return true;
}

static bool sink_holds(const struct link *link, uint32_t at, uint32_t len, uint32_t seed)
{
	for (uint32_t offset = 0; offset < len; offset++)
		if (link->octets[MAIN][HALF + at + offset] != pattern(at + offset, seed))
			return false;
	return true;
}

/*
 * When the other end closes, or is terminated, just after it has got an answer, siw may not yet have taken note that the
 * answer has left, and then says that the Send has failed: that is no fault then.
 */
void serve(struct link *link)
{
	struct message message;
	unsigned left = RECEIVES;

	/* Events for messages that ask for one, and for no others. */
	if (ibv_req_notify_cq(link->receives, 1))
		fail("no notices");
	while (take_message(link, &message)) {
		uint8_t letter = message.len ? message.octets[0] : 'e';
		left -= !link->reposts;
		switch (letter) {
		case 'e':
			send_message(link, message.octets, message.len, 0);
			break;
		case 'c':
			answer(link, letter, sink_holds(link, number(&message, 0), number(&message, 1), number(&message, 2)),
			       0);
			break;
		case 'z':
			memset(link->octets[MAIN] + HALF, 0, HALF);
			answer(link, letter, true, 0);
			break;
		case 's':
			answer(link, letter, event_comes(link), 0);
			if (ibv_req_notify_cq(link->receives, 1))
				fail("no notices");
			break;
		case 'w':
			window(link);
			break;
		case 'i':
			answer(link, letter, message.invalidated, message.rkey);
			break;
		case 'h':
			link->reposts = false;
			answer(link, letter, true, RECEIVES);
			break;
		case 'f':
			link->may_end = true;
			answer(link, letter, true, 0);
			await_disconnect(link);
			printf("the other end has gone\n");
			return;
		case 'b':
			burst(link, number(&message, 0), number(&message, 1));
			break;
		case 'q':
			link->may_end = true;
			answer(link, letter, true, 0);
			await_disconnect(link);
			return;
		default:
			fail("an unknown command: %c", letter);
		}
	}
	fail("the connection ended before the other end was done");
}
