/* SPDX-License-Identifier: GPL-2.0-or-later
 * The least that the host itself must do to look thousands of CPUs up: the loop of bare_lookup.S in C.
 *
 * usage: native_lookup FILE   (FILE from python -m bench.lookup_rates); prints look-ups a second of CPU time
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv)
{
	uint64_t head[2], *table, *mpidrs;
	FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;

	if (!file || fread(head, 8, 2, file) != 2)
		return 2;
	table = malloc(8 * head[0]);
	mpidrs = malloc(8 * head[1]);
	if (!table || !mpidrs || fread(table, 8, head[0], file) != head[0] ||
	    fread(mpidrs, 8, head[1], file) != head[1])
		return 2;

	volatile uint64_t *entries = table;	/* every load is done, as by the guest */
	uint64_t asked = 0, found = 0;
	clock_t start = clock(), spent;

	do {
		for (uint64_t i = 0; i < head[1]; i++) {
			uint64_t hwid = mpidrs[i] & 0xff00ffffffULL, j;

			for (j = 0; j < head[0] && entries[j] != hwid; j++)
				;
			found += j < head[0];
		}
		asked += head[1];
		spent = clock() - start;
	} while (spent < CLOCKS_PER_SEC / 2);
	if (!found && head[0] > 1)
		fprintf(stderr, "none found\n");
	printf("%.0f\n", asked / ((double)spent / CLOCKS_PER_SEC));
	return 0;
}
