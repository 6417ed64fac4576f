/* SPDX-License-Identifier: MIT */
/* Small look-ups over libbpf's btf__*; they take ids from anywhere and never trust a chain to end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "btf/fbtf_int.h"

/* Declared by libbpf's header; its shared library exports it only in some versions. */
#pragma weak btf__new_split

#define MAX_CHAIN 64 /* modifiers and arrays in a row; the kernel's limit is 32 */

const struct btf_type *fbtf_strip(const struct btf *btf, u32 id, u32 *out_id)
{
	const struct btf_type *t = btf && id ? btf__type_by_id(btf, id) : NULL;
	u32 n;

	for (n = 0; t && (btf_is_mod(t) || btf_is_typedef(t)); n++) {
		if (n == MAX_CHAIN)
			return NULL;
		id = t->type;
		t = id ? btf__type_by_id(btf, id) : NULL;
	}
	if (t && out_id)
		*out_id = id;
	return t;
}

const char *fbtf_name(const struct btf *btf, u32 name_off)
{
	const char *s = name_off ? btf__name_by_offset(btf, name_off) : NULL;

	return s ? s : "";
}

s64 fbtf_size(const struct btf *btf, u32 id)
{
	u64 times = 1;
	u32 n;

	for (n = 0; n < MAX_CHAIN; n++) {
		const struct btf_type *t = fbtf_strip(btf, id, NULL);

		if (!t)
			return -EINVAL;
		switch (btf_kind(t)) {
		case BTF_KIND_INT:
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
		case BTF_KIND_ENUM:
		case BTF_KIND_ENUM64:
		case BTF_KIND_FLOAT:
		case BTF_KIND_DATASEC:
			if (__builtin_mul_overflow(times, t->size, &times) || times > UINT32_MAX)
				return -EINVAL;
			return (s64)times;
		case BTF_KIND_PTR:
			if (__builtin_mul_overflow(times, sizeof(void *), &times) ||
			    times > UINT32_MAX)
				return -EINVAL;
			return (s64)times;
		case BTF_KIND_ARRAY:
			if (__builtin_mul_overflow(times, btf_array(t)->nelems, &times))
				return -EINVAL;
			id = btf_array(t)->type;
			break;
		case BTF_KIND_VAR:
			id = t->type;
			break;
		default:
			return -EINVAL;
		}
	}
	return -EINVAL;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		data += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* btf__new_split() by way of a file, the one that every libbpf has. */
static struct btf *new_split_file(const void *data, u32 size, struct btf *base)
{
	int fd = memfd_create("ferry-btf", MFD_CLOEXEC), err;
	struct btf *btf = NULL;
	char path[32];

	if (fd < 0)
		return NULL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = write_all(fd, data, size);
	if (!err) {
		btf = btf__parse_raw_split(path, base);
		err = btf ? 0 : -errno;
	}
	close(fd);
	errno = -err;
	return btf;
}

int fbtf_open(const void *data, u32 size, struct btf *base, struct btf **out)
{
	struct btf *btf;

	errno = 0;
	if (!base)
		btf = btf__new(data, size);
	else if (btf__new_split)
		btf = btf__new_split(data, size, base);
	else
		btf = new_split_file(data, size, base);
	if (!btf)
		return errno == EINVAL || !errno ? -EINVAL : -ENOMEM;
	/* libbpf works these out when first asked and keeps them: afterwards readers only read. */
	btf__pointer_size(btf);
	btf__raw_data(btf, &size);
	*out = btf;
	return 0;
}

int fbtf_seal(const struct btf *edited, struct btf *base, struct btf **out)
{
	u32 size;
	const void *raw = btf__raw_data(edited, &size);

	return raw ? fbtf_open(raw, size, base, out) : -ENOMEM;
}
