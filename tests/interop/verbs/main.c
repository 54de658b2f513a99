/*
 * One end of a connection over the kernel's verbs; the other is uwarp's, in tests/interop/peer/src/verbs/.
 *
 *   uwarp-verbs (-l ADDRESS | -c ADDRESS) [OPTION...] serve
 *   uwarp-verbs (-l ADDRESS | -c ADDRESS) [OPTION...] mix
 *   uwarp-verbs (-l ADDRESS | -c ADDRESS) [OPTION...] long
 *   uwarp-verbs (-l ADDRESS | -c ADDRESS) [OPTION...] CASE
 *   uwarp-verbs -l ADDRESS [-p PORT] target
 *   uwarp-verbs -c ADDRESS [-p PORT] caller
 *
 *   -p PORT      default 7475
 *   -i IRD       Reads that we answer at a time, default 16
 *   -o ORD       Reads that we make at a time, default 16
 *   -d LEN       so many octets of private data, of a pattern that the other end expects
 *   -e LEN       so many octets of private data must come
 *   -r           reject, or be rejected
 *   -t TIMES     make so many connections, one after the other
 *   -n COUNT     mix: operations of each end on each connection
 *   -s SECONDS   long: all connections together; the number of connections, -t, is known to the other end
 */
#include "link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char private_data[256], expected[256];
	struct settings settings = { .port = "7475", .ird = 16, .ord = 16 };
	struct link link = { .events = NULL };
	unsigned times = 1, count = 1000;
	double seconds = 10;
	int option;

	/* Whatever hangs shall end. */
	alarm(1200);
	setvbuf(stdout, NULL, _IOLBF, 0);
	fill((uint8_t *)private_data, sizeof(private_data), OUR_SEED);
	fill((uint8_t *)expected, sizeof(expected), THEIR_SEED);
	while ((option = getopt(argc, argv, "l:c:p:i:o:d:e:rt:n:s:")) != -1) {
		switch (option) {
		case 'l':
		case 'c':
			settings.listens = option == 'l';
			settings.address = optarg;
			break;
		case 'p':
			settings.port = optarg;
			break;
		case 'i':
			settings.ird = (uint8_t)atoi(optarg);
			break;
		case 'o':
			settings.ord = (uint8_t)atoi(optarg);
			break;
		case 'd':
			settings.private_data = private_data;
			settings.private_len = (size_t)atoi(optarg);
			break;
		case 'e':
			settings.expected = expected;
			settings.expected_len = (size_t)atoi(optarg);
			break;
		case 'r':
			settings.rejects = true;
			break;
		case 't':
			times = (unsigned)atoi(optarg);
			break;
		case 'n':
			count = (unsigned)atoi(optarg);
			break;
		case 's':
			seconds = atof(optarg);
			break;
		default:
			return 2;
		}
	}
	if (!settings.address || optind + 1 != argc || settings.private_len > 255 || settings.expected_len > 255)
		fail("see the beginning of main.c for how this is called");
	if (!strcmp(argv[optind], "long")) {
		long_run(&link, &settings, times, seconds);
		return 0;
	}
	if (!strcmp(argv[optind], "target")) {
		alarm(0);
		target(&settings);
	}
	if (!strcmp(argv[optind], "caller")) {
		call(&settings);
		return 0;
	}
	for (unsigned time = 0; time < times; time++) {
		link.keeps_listening = time + 1 < times;
		link.may_end = link.ended = false;
		link_open(&link, &settings);
		if (!strcmp(argv[optind], "serve")) {
			serve(&link);
		} else if (!strcmp(argv[optind], "mix")) {
			mix(&link, &(struct mix_plan){ .count = count, .seed = time });
			await_disconnect(&link);
		} else {
			run_case(&link, argv[optind]);
		}
		link_close(&link);
	}
	return 0;
}
