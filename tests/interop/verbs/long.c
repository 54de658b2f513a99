/*
 * Many connections, one after the other, with a mix on each for an equal time. How a connection ends follows from its
 * number, in the same way as in tests/interop/peer/src/verbs/long.rs.
 */
#include "link.h"

#include <stdio.h>
#include <unistd.h>

enum ending {
	/* All is done, and one end closes in order. */
	UWARP_CLOSES,
	SIW_CLOSES,
	/* One end goes while operations of both ends are under way: a TCP reset; */
	UWARP_ABORTS,
	/* rdma_disconnect; */
	SIW_DISCONNECTS,
	/* the socket is dropped, the QP destroyed; */
	UWARP_DROPS,
	SIW_DESTROYS,
	/* it writes where it must not, and the other end terminates the connection; */
	UWARP_OFFENDS,
	SIW_OFFENDS,
	/* it closes in order: no more of its own operations than there are. */
	UWARP_CLOSES_AMID,
	ENDINGS,
};

static bool is_ours(enum ending ending)
{
	return ending == SIW_DISCONNECTS || ending == SIW_DESTROYS || ending == SIW_OFFENDS;
}

/* Waits until no operation can be under way any more. */
static void await_flush(struct link *link)
{
	double deadline = now() + PATIENCE;
	struct ibv_wc wc;

	while (now() < deadline) {
		if (ibv_poll_cq(link->sends, 1, &wc) == 1) {
			if (wc.status != IBV_WC_SUCCESS)
				return;
		} else if (ibv_poll_cq(link->receives, 1, &wc) == 1) {
			if (wc.status != IBV_WC_SUCCESS)
				return;
		} else {
			usleep(200);
		}
	}
	fail("the other end has not terminated the connection");
}

static void end(struct link *link, enum ending ending)
{
	const struct place *theirs = &link->theirs[MAIN];

	switch (ending) {
	case SIW_CLOSES:
	case SIW_DISCONNECTS:
		disconnect(link);
		break;
	case SIW_DESTROYS:
		/* link_close does it. */
		break;
	case SIW_OFFENDS:
		post(link, 0, IBV_WR_RDMA_WRITE, IBV_SEND_SIGNALED, link->scratch, 64, link->scratch_mr->lkey,
		     theirs->addr, theirs->rkey ^ 0x00a5a500);
		await_flush(link);
		await_disconnect(link);
		break;
	default:
		await_disconnect(link);
	}
}

void long_run(struct link *link, const struct settings *settings, unsigned times, double seconds)
{
	unsigned unexpected = 0;

	alarm((unsigned)seconds * 2 + 300);
	/* The other end judges how a connection has ended; here it goes on with the next in any case. */
	link->may_end = true;
	for (unsigned time = 0; time < times; time++) {
		enum ending ending = time % ENDINGS;
		bool is_left = ending > SIW_CLOSES && !is_ours(ending);

		link->keeps_listening = time + 1 < times;
		link->ended = false;
		link_open(link, settings);
		mix(link, &(struct mix_plan){
				  .count = UINT32_MAX,
				  .seed = time + settings->listens * 10000,
				  .seconds = seconds / times,
				  .leaves = is_ours(ending),
				  .is_left = is_left,
			  });
		if (link->ended && !is_left) {
			printf("connection %u has ended too early\n", time);
			unexpected++;
			await_disconnect(link);
		} else {
			end(link, ending);
		}
		link_close(link);
	}
	printf("%u connections, %u of them ended too early\n", times, unexpected);
}
