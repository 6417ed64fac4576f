/* SPDX-License-Identifier: MIT */
/*
 * Names of pins that a broker finds when it begins and no guardian told it of: broker and guardian died together.
 * Members that have the objects pin them again when they connect (client_restore_pins), and names that nobody has
 * handed back go, as the object that they stood for has.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "broker/broker_int.h"

#define LOST_MS 2000 /* members connect within some milliseconds; machines are busy */

void lost_expect(struct broker *b)
{
	/* A guardian knows all pins, but when it began to wait before they were handed back. */
	if (b->shared && (!b->heir || b->lost_at))
		b->lost_at = broker_now() + LOST_MS;
}

static void remove_one(int folder, const char *name, int fd, const struct pin_is *is, void *arg)
{
	struct broker *b = arg;
	struct stat st;

	(void)is;
	/* Who is just making a pin has its lock until the broker has answered. */
	if (fstat(fd, &st) || store_pin_of(b, st.st_dev, st.st_ino) || flock(fd, LOCK_EX | LOCK_NB))
		return;
	unlinkat(folder, name, 0);
}

void lost_remove(struct broker *b)
{
	b->lost_at = 0;
	sys_pins_each(b->dir, remove_one, b);
}
