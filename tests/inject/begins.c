// SPDX-License-Identifier: MIT
// Begins slowly (early.c), then waits for the end of its input.
#include <stdio.h>

int early(void);

int main(void)
{
	char line[16];

	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin) || early() != 7)
		return 1;
	puts("well");
	return 0;
}
