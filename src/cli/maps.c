/* SPDX-License-Identifier: MIT */
/* Maps as people and programs read them: keys and values by their BTF types. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <stdio.h>
#include <string.h>

#include "btf/fbtf.h"
#include "cli/cli.h"

#define RECORDS "ferry_records_" /* names of variables that only carry a type */

/* One map being printed. */
struct view {
	const struct btf *btf;
	const struct bpf_map *map;
	struct text *out;
	bool json;
	u32 key_size, value_size;
	u32 key_id, value_id; /* BTF types; 0: bytes */
	u32 cpus;             /* values an element; 0: not per-CPU */
	u32 shown, hidden;
};

static bool all_zero(const void *p, size_t n)
{
	const char *c = p;

	return !n || (!c[0] && !memcmp(c, c + 1, n - 1));
}

static void put_bytes(struct view *v, const u8 *p, size_t n)
{
	size_t i;

	text_puts(v->out, v->json ? "\"" : "");
	for (i = 0; i < n; i++)
		text_printf(v->out, i && !v->json ? " %02x" : "%02x", p[i]);
	text_puts(v->out, v->json ? "\"" : "");
}

static void put_typed(struct view *v, u32 type_id, const void *p, size_t n)
{
	struct text one = { 0 };
	u64 small = 0;

	if (type_id && fbtf_dump_value(v->btf, type_id, p, n, v->json, &one) >= 0) {
		text_puts(v->out, text_str(&one));
	} else if (n && n <= sizeof(small) && !(n & (n - 1))) {
		memcpy(&small, p, n);
		text_printf(v->out, "%llu", (unsigned long long)small);
	} else {
		put_bytes(v, p, n);
	}
	text_free(&one);
}

static void put_value(struct view *v, const u8 *value)
{
	u32 stride = ALIGN_UP(v->value_size, 8), cpu;

	if (!v->cpus) {
		put_typed(v, v->value_id, value, v->value_size);
		return;
	}
	text_puts(v->out, v->json ? "[" : "[ ");
	for (cpu = 0; cpu < v->cpus; cpu++) {
		text_puts(v->out, cpu ? ", " : "");
		put_typed(v, v->value_id, value + cpu * stride, v->value_size);
	}
	text_puts(v->out, v->json ? "]" : " ]");
}

static void put_element(struct view *v, const void *key, const u8 *value)
{
	if (v->json) {
		text_puts(v->out, v->shown ? "," : "");
		text_puts(v->out, "{\"key\":");
		put_typed(v, v->key_id, key, v->key_size);
		text_puts(v->out, ",\"value\":");
		put_value(v, value);
		text_puts(v->out, "}");
	} else {
		text_puts(v->out, "  ");
		put_typed(v, v->key_id, key, v->key_size);
		text_printf(v->out, "%s => %s", cli_dim(), cli_plain());
		put_value(v, value);
		text_puts(v->out, "\n");
	}
	v->shown++;
}

static bool is_percpu(enum bpf_map_type type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static bool is_array(enum bpf_map_type type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static void put_elements(struct view *v)
{
	int fd = bpf_map__fd(v->map);
	size_t value_room = v->cpus ? (size_t)v->cpus * ALIGN_UP(v->value_size, 8) : v->value_size;
	u8 *key = base_alloc(v->key_size), *next = base_alloc(v->key_size);
	u8 *value = base_alloc(value_room);
	u64 most = bpf_map__max_entries(v->map), n;
	bool first = true;

	/* An iteration of a changing map may start anew: never more steps than elements. */
	for (n = 0; key && next && value && n < most; n++) {
		if (bpf_map_get_next_key(fd, first ? NULL : key, next))
			break;
		first = false;
		memcpy(key, next, v->key_size);
		if (bpf_map_lookup_elem(fd, key, value))
			continue;
		/* Elements of arrays always exist: only those in use say something. */
		if (is_array(bpf_map__type(v->map)) && all_zero(value, value_room))
			v->hidden++;
		else
			put_element(v, key, value);
	}
	base_free(key);
	base_free(next);
	base_free(value);
}

/*
 * Compilers leave the offsets of static variables to the linker, and libbpf does not fill them in: those
 * that share an offset are somewhere else.
 */
static bool is_placed(const struct btf_type *sec, const struct btf_var_secinfo *var)
{
	const struct btf_var_secinfo *o = btf_var_secinfos(sec);
	int i;

	for (i = 0; i < btf_vlen(sec); i++, o++)
		if (o != var && o->offset == var->offset)
			return false;
	return true;
}

static void put_variables(struct view *v, const struct btf_type *sec)
{
	const struct btf_var_secinfo *var = btf_var_secinfos(sec);
	u8 *value = base_alloc(v->value_size);
	u32 zero = 0;
	int i;

	if (!value || bpf_map_lookup_elem(bpf_map__fd(v->map), &zero, value)) {
		base_free(value);
		return;
	}
	for (i = 0; i < btf_vlen(sec); i++, var++) {
		const struct btf_type *t = btf__type_by_id(v->btf, var->type);
		const char *name = t ? btf__name_by_offset(v->btf, t->name_off) : NULL;

		if (!t || !name || !strncmp(name, RECORDS, sizeof(RECORDS) - 1) || !is_placed(sec, var))
			continue;
		if (var->offset > v->value_size || var->size > v->value_size - var->offset)
			continue;
		if (v->json) {
			text_puts(v->out, v->shown ? "," : "");
			text_json(v->out, name);
			text_puts(v->out, ":");
		} else {
			text_printf(v->out, "  %s%s = %s", name, cli_dim(), cli_plain());
		}
		put_typed(v, t->type, value + var->offset, var->size);
		text_puts(v->out, v->json ? "" : "\n");
		v->shown++;
	}
	base_free(value);
}

static int put_record(void *ctx, void *data, size_t size)
{
	struct view *v = ctx;

	text_puts(v->out, v->json ? (v->shown ? "," : "") : "  ");
	put_typed(v, v->value_id, data, size);
	text_puts(v->out, v->json ? "" : "\n");
	v->shown++;
	return 0;
}

/* The record type of a ring buffer that FERRY_RECORDS (ferry/ferry_bpf.h) speaks of. */
static u32 record_type(const struct view *v)
{
	const struct btf_type *t;
	char name[sizeof(RECORDS) + 64];
	s32 id;

	snprintf(name, sizeof(name), RECORDS "%s", bpf_map__name(v->map));
	id = v->btf ? btf__find_by_name_kind(v->btf, name, BTF_KIND_VAR) : 0;
	t = id > 0 ? btf__type_by_id(v->btf, (u32)id) : NULL;
	t = t ? fbtf_strip(v->btf, t->type, NULL) : NULL;
	return t && btf_is_ptr(t) ? t->type : 0;
}

static void put_records(struct view *v)
{
	struct ring_buffer *rb;

	v->value_id = record_type(v);
	rb = ring_buffer__new(bpf_map__fd(v->map), put_record, v, NULL);
	if (!rb)
		return;
	ring_buffer__consume(rb);
	ring_buffer__free(rb);
}

static const char *type_word(enum bpf_map_type type)
{
	const char *s = libbpf_bpf_map_type_str(type);

	return s ? s : "map";
}

/* Prints one map's contents into v->out. */
static void put_contents(struct view *v, const struct btf_type *sec)
{
	enum bpf_map_type type = bpf_map__type(v->map);

	if (sec)
		put_variables(v, sec);
	else if (type == BPF_MAP_TYPE_RINGBUF)
		put_records(v);
	else
		put_elements(v);
}

static bool view_init(struct view *v, const struct cli_object *o, const struct bpf_map *map,
		      struct text *out, bool json, const struct btf_type **sec)
{
	int cpus = libbpf_num_possible_cpus();
	const struct btf_type *t;

	*v = (struct view){ .btf = bpf_object__btf(o->obj), .map = map, .out = out, .json = json };
	v->key_size = bpf_map__key_size(map);
	v->value_size = bpf_map__value_size(map);
	v->key_id = bpf_map__btf_key_type_id(map);
	v->value_id = bpf_map__btf_value_type_id(map);
	v->cpus = is_percpu(bpf_map__type(map)) && cpus > 0 ? (u32)cpus : 0;
	t = v->btf && v->value_id ? btf__type_by_id(v->btf, v->value_id) : NULL;
	*sec = t && btf_is_datasec(t) ? t : NULL;
	/* Constants that the compiler made are nobody's data. */
	return bpf_map__fd(map) >= 0 && (*sec || !bpf_map__is_internal(map));
}

void cli_maps_text(const struct cli_object *o, struct text *out)
{
	const struct btf_type *sec;
	const struct bpf_map *map;
	struct text body = { 0 };
	struct view v;

	bpf_object__for_each_map(map, o->obj) {
		if (!view_init(&v, o, map, &body, false, &sec))
			continue;
		text_reset(&body);
		put_contents(&v, sec);
		if (sec && !v.shown)
			continue;
		text_printf(out, "%s%s%s ", cli_bold(), bpf_map__name(map), cli_plain());
		if (sec)
			text_printf(out, "%s(variables)%s\n", cli_dim(), cli_plain());
		else if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF)
			text_printf(out, "%s(ringbuf, %u record%s)%s\n", cli_dim(), v.shown,
				    v.shown == 1 ? "" : "s", cli_plain());
		else
			text_printf(out, "%s(%s, %u of %u)%s\n", cli_dim(),
				    type_word(bpf_map__type(map)), v.shown, bpf_map__max_entries(map),
				    cli_plain());
		text_puts(out, text_str(&body));
	}
	text_free(&body);
}

void cli_maps_json(const struct cli_object *o, struct text *out)
{
	const struct btf_type *sec;
	const struct bpf_map *map;
	struct view v;
	u32 n = 0;

	text_puts(out, "[");
	bpf_object__for_each_map(map, o->obj) {
		if (!view_init(&v, o, map, out, true, &sec))
			continue;
		text_puts(out, n++ ? ",{\"name\":" : "{\"name\":");
		text_json(out, bpf_map__name(map));
		text_puts(out, ",\"type\":");
		text_json(out, type_word(bpf_map__type(map)));
		text_printf(out, ",\"max_entries\":%u,", bpf_map__max_entries(map));
		if (sec)
			text_puts(out, "\"variables\":{");
		else if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF)
			text_puts(out, "\"records\":[");
		else
			text_puts(out, "\"entries\":[");
		put_contents(&v, sec);
		text_puts(out, sec ? "}}" : "]}");
	}
	text_puts(out, "]");
}
