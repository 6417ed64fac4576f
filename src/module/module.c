/* SPDX-License-Identifier: MIT */
/* Registration: descriptor to BTF and functions, and the list of registered modules. */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "ferry/call.h"
#include "module/module_int.h"

#define MAX_NAME  55   /* what bpf(2)'s BTF info and its readers have room for */
#define MAX_FUNCS 4096

/* Registered modules, in order. The lock guards the list; modules themselves do not change. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct module **list;
static size_t nlist, cap_list;

/* ---- making a module ---------------------------------------------------------------------------
 */

static int refuse(struct text *why, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int refuse(struct text *why, const char *fmt, ...)
{
	va_list ap;

	if (why) {
		va_start(ap, fmt);
		text_vprintf(why, fmt, ap);
		va_end(ap);
	}
	return -EINVAL;
}

static bool is_identifier(const char *s)
{
	size_t i;

	for (i = 0; s[i]; i++)
		if (!isalpha((unsigned char)s[i]) && s[i] != '_' &&
		    !(i && isdigit((unsigned char)s[i])))
			return false;
	return i > 0;
}

static int check_def(const struct ferry_module *def, struct text *why)
{
	if (def->sz < sizeof(*def))
		return refuse(why,
			      "the module's sz is %zu, expected sizeof(struct ferry_module), %zu",
			      def->sz, sizeof(*def));
	if (!def->name || strnlen(def->name, MAX_NAME + 1) > MAX_NAME || !is_identifier(def->name))
		return refuse(why,
			      "the module's name must be an identifier of at most %d characters",
			      MAX_NAME);
	if (!strcmp(def->name, "vmlinux"))
		return refuse(why, "`vmlinux' is the kernel's name; choose another");
	if (!def->nfuncs || !def->funcs)
		return refuse(why, "module %s has no functions", def->name);
	if (def->nfuncs > MAX_FUNCS)
		return refuse(why, "module %s has %zu functions, more than %d", def->name,
			      def->nfuncs, MAX_FUNCS);
	return 0;
}

/* Everything needed while one module is made. */
struct maker {
	struct module *m;
	struct ctypes *cs;
	struct btf *base, *btf; /* private copies: libbpf changes them even when it looks up */
	struct hash seen, names;
	struct text *why;
};

static int unique_name(struct maker *mk, const char *name)
{
	u64 key = hash_bytes(name, strlen(name), 0);

	if (hash_get(&mk->names, key))
		return refuse(mk->why, "function %s is twice in module %s", name, mk->m->name);
	if (btf__find_by_name_kind(mk->base, name, BTF_KIND_FUNC) > 0)
		return refuse(mk->why, "function %s has the name of a function of the kernel",
			      name);
	return hash_put(&mk->names, key, mk);
}

static int make_var(struct maker *mk, const struct ferry_func *def)
{
	int err = module_add_var(mk->m, def, mk->cs, mk->btf, &mk->seen, mk->why);

	return err ? err : unique_name(mk, mk->m->vars[mk->m->nvars - 1].name);
}

/* The FUNC in the module's BTF has the prototype as programs declare it. */
static int add_btf(struct maker *mk, struct module_func *f, const char *bits_proto)
{
	struct text inner = { 0 };
	const struct ctype *proto;
	const char *name;
	int id, err = *f->decls ? ctypes_declare(mk->cs, f->decls, &inner) : 0;

	if (!err)
		err = ctypes_prototype(mk->cs, bits_proto, &proto, &name, &inner);
	if (err == -EINVAL)
		refuse(mk->why, "function %s, as programs declare it, `%s': %s", f->name, bits_proto,
		       text_str(&inner));
	text_free(&inner);
	if (err)
		return err;
	id = fbtf_add_func(mk->btf, &mk->seen, f->name, proto);
	if (id < 0)
		return id;
	f->btf_id = (u32)id;
	return 0;
}

/* Beside it the C function's own, where programs have a block instead: tracing programs see its arguments. */
static int add_c_proto(struct maker *mk, struct module_func *f, const struct ctype *proto)
{
	int id = f->block_reg ? fbtf_add_ctype(mk->btf, &mk->seen, proto) : 0;

	f->c_proto = id < 0 ? 0 : (u32)id;
	return id < 0 ? id : 0;
}

static int read_func(struct maker *mk, struct module_func *f, const struct ctype *proto,
		     const struct annots *as)
{
	struct text bits = { 0 };
	int err = unique_name(mk, f->name);

	module_flags(f, as);
	err = err ? err : module_args(f, proto, as, mk->why);
	err = err ? err : module_result(f, proto, as, mk->why);
	err = err ? err : module_pass(f, proto, &bits, mk->why);
	err = err ? err : add_btf(mk, f, text_str(&bits));
	err = err ? err : add_c_proto(mk, f, proto);
	text_free(&bits);
	return err;
}

static int make_func(struct maker *mk, const struct ferry_func *def, size_t i)
{
	struct module_func *f = &mk->m->funcs[mk->m->nfuncs];
	const struct ctype *proto;
	struct text inner = { 0 };
	struct annots as;
	const char *name;
	int err;

	if (def->flags & FERRY_VARIABLE)
		return make_var(mk, def);
	if (!def->prototype || !def->fn)
		return refuse(mk->why, "function %zu of module %s has no %s", i + 1, mk->m->name,
			      def->prototype ? "address" : "prototype");
	err = annots_read(def->prototype, &as, &inner);
	if (!err)
		err = ctypes_prototype(mk->cs, as.text, &proto, &name, &inner);
	if (err == -EINVAL)
		refuse(mk->why, "function %zu of module %s, `%.200s': %s", i + 1, mk->m->name,
		       def->prototype, text_str(&inner));
	text_free(&inner);
	if (err)
		goto out;
	mk->m->nfuncs++; /* from here on its parts are freed with the module */
	f->name = base_strdup(name);
	f->prototype = base_strdup(def->prototype);
	f->addr = (const void *)(uintptr_t)def->fn;
	f->flags = def->flags;
	f->mod = mk->m;
	err = f->name && f->prototype ? read_func(mk, f, proto, &as) : -ENOMEM;
out:
	base_free(as.text);
	return err;
}

/* The type of argument i: of a parameter, or of a member of the argument block. */
static u32 arg_type(const struct module *m, const struct module_func *f, const struct btf_type *proto, u32 i)
{
	const struct btf_type *t;

	if (f->args[i].reg)
		return btf_params(proto)[f->args[i].reg - 1].type;
	t = fbtf_strip(m->btf, btf_params(proto)[f->block_reg - 1].type, NULL);
	t = t && btf_is_ptr(t) ? fbtf_strip(m->btf, t->type, NULL) : NULL;
	return t && btf_is_struct(t) && i < btf_vlen(t) ? btf_members(t)[i].type : 0;
}

/* The BTF ids of the arguments, and the raw bytes. */
static int finish_btf(struct maker *mk)
{
	const struct btf_type *t;
	struct module *m = mk->m;
	int err = fbtf_seal(mk->btf, fbtf_vmlinux(), &m->btf);
	u32 i, j;

	if (err)
		return err;
	m->raw = btf__raw_data(m->btf, &m->raw_size);
	if (!m->raw)
		return -ENOMEM;
	for (i = 0; i < m->nfuncs; i++) {
		t = btf__type_by_id(m->btf, btf__type_by_id(m->btf, m->funcs[i].btf_id)->type);
		if (!t || !btf_is_func_proto(t) || btf_vlen(t) != m->funcs[i].nregs + m->funcs[i].variadic)
			return BROKEN("module BTF is not what was put into it");
		for (j = 0; j < m->funcs[i].nargs; j++) {
			struct module_arg *a = &m->funcs[i].args[j];

			a->btf_id = arg_type(m, &m->funcs[i], t, j);
			if (a->callback)
				module_callback_btf(a->callback, m->btf, a->btf_id);
		}
	}
	return 0;
}

/* libbpf looks at the modules' types only for structs that the kernel has none of. */
static void warn_of_shadow(const struct maker *mk, const struct ctype *t)
{
	if ((t->kind == CTYPE_STRUCT || t->kind == CTYPE_UNION) && !t->incomplete &&
	    btf__find_by_name_kind(mk->base, t->name, t->kind == CTYPE_STRUCT ? BTF_KIND_STRUCT : BTF_KIND_UNION) > 0)
		log_msg(LOG_WARN, "module %s: the kernel has a struct %s too, so programs are not relocated against "
				  "this one (CO-RE): give it another name", mk->m->name, t->name);
}

static int make_types(struct maker *mk, const struct ferry_module *def)
{
	struct text inner = { 0 };
	const struct ctype *t;
	int err, id;

	if (!def->types)
		return 0;
	err = ctypes_declare(mk->cs, def->types, &inner);
	if (err == -EINVAL)
		refuse(mk->why, "types of module %s: %s", def->name, text_str(&inner));
	text_free(&inner);
	/* Those that no prototype names too: programs are relocated against them (CO-RE). */
	for (u32 n = 0; !err && (t = ctypes_nth(mk->cs, n)); n++) {
		id = *t->name && t->kind != CTYPE_TYPEDEF ? fbtf_add_ctype(mk->btf, &mk->seen, t) : 0;
		if (id >= (int)btf__type_cnt(mk->base))
			warn_of_shadow(mk, t);
		err = id < 0 ? id : 0;
	}
	return err;
}

static void func_free(struct module_func *f)
{
	u32 i;

	for (i = 0; i < f->nargs; i++) {
		base_free(f->args[i].values);
		module_callback_free(f->args[i].callback);
	}
	base_free((void *)(uintptr_t)f->name);
	base_free(f->prototype);
	base_free(f->decls);
	base_free(f->extern_proto);
	ferry_call_free(f->call);
}

static void module_free(struct module *m)
{
	u32 i;

	for (i = 0; m->funcs && i < m->nfuncs; i++)
		func_free(&m->funcs[i]);
	for (i = 0; i < m->nvars; i++)
		base_free((void *)(uintptr_t)m->vars[i].name);
	base_free(m->vars);
	base_free(m->funcs);
	base_free(m->types);
	btf__free(m->btf);
	base_free(m);
}

static int make_module(struct module *m, const struct ferry_module *def, struct text *why)
{
	struct maker mk = { .m = m, .why = why };
	int err;
	size_t i;

	strcpy(m->name, def->name);
	m->refs = 1;
	m->funcs = base_array(def->nfuncs, sizeof(*m->funcs));
	m->vars = base_array(def->nfuncs, sizeof(*m->vars));
	m->types = base_strdup(def->types ? def->types : "");
	err = m->funcs && m->vars && m->types && fbtf_vmlinux() ? ctypes_new(&mk.cs) : -ENOMEM;
	if (err)
		goto out;
	err = fbtf_seal(fbtf_vmlinux(), NULL, &mk.base);
	if (err)
		goto out;
	mk.btf = btf__new_empty_split(mk.base);
	err = mk.btf ? make_types(&mk, def) : -ENOMEM;
	for (i = 0; !err && i < def->nfuncs; i++)
		err = make_func(&mk, &def->funcs[i], i);
	if (!err)
		err = finish_btf(&mk);
out:
	hash_free(&mk.seen);
	hash_free(&mk.names);
	btf__free(mk.btf);
	btf__free(mk.base);
	ctypes_free(mk.cs);
	if (err == -ENOMEM && why)
		text_puts(why, "out of memory");
	return err;
}

/* ---- the list of modules -----------------------------------------------------------------------
 */

static struct module *find_locked(const char *name)
{
	size_t i;

	for (i = 0; i < nlist; i++)
		if (!strcmp(list[i]->name, name))
			return list[i];
	return NULL;
}

static int enlist(struct module *m, struct text *why)
{
	struct module **grown;
	int err = 0;

	pthread_mutex_lock(&lock);
	if (find_locked(m->name)) {
		err = -EEXIST;
		if (why)
			text_printf(why, "a module %s is registered already", m->name);
	} else {
		grown = base_grow(list, &cap_list, nlist + 1, sizeof(*list));
		if (grown) {
			list = grown;
			list[nlist++] = m;
		} else {
			err = -ENOMEM;
		}
	}
	pthread_mutex_unlock(&lock);
	return err;
}

int module_register(const struct ferry_module *def, struct module **out, struct text *why)
{
	int err = check_def(def, why);
	struct module *m;

	if (err)
		return err;
	m = base_alloc(sizeof(*m));
	if (!m)
		return -ENOMEM;
	err = make_module(m, def, why);
	if (!err)
		err = enlist(m, why);
	if (err)
		module_free(m);
	else if (out)
		*out = m;
	return err;
}

int module_unregister(const char *name)
{
	struct module *m = NULL;
	size_t i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < nlist; i++)
		if (!strcmp(list[i]->name, name))
			break;
	if (i < nlist) {
		m = list[i];
		m->gone = true;
		memmove(&list[i], &list[i + 1], (nlist - i - 1) * sizeof(*list));
		nlist--;
	}
	if (!nlist) {
		base_free(list);
		list = NULL;
		cap_list = 0;
	}
	pthread_mutex_unlock(&lock);
	if (!m)
		return -ENOENT;
	module_put(m);
	return 0;
}

struct module *module_get(struct module *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

void module_put(struct module *m)
{
	if (m && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
		module_free(m);
}

struct module *module_find_get(const char *name)
{
	struct module *m;

	pthread_mutex_lock(&lock);
	m = find_locked(name);
	if (m)
		module_get(m);
	pthread_mutex_unlock(&lock);
	return m;
}

struct module *module_nth_get(u32 n)
{
	struct module *m;

	pthread_mutex_lock(&lock);
	m = n < nlist ? module_get(list[n]) : NULL;
	pthread_mutex_unlock(&lock);
	return m;
}

struct module *module_find(const char *name)
{
	struct module *m;

	pthread_mutex_lock(&lock);
	m = find_locked(name);
	pthread_mutex_unlock(&lock);
	return m;
}

struct module *module_nth(u32 n)
{
	struct module *m;

	pthread_mutex_lock(&lock);
	m = n < nlist ? list[n] : NULL;
	pthread_mutex_unlock(&lock);
	return m;
}

/* ---- functions ---------------------------------------------------------------------------------
 */

const struct module_func *module_func(const struct module *m, u32 btf_id)
{
	u32 lo = 0, hi = m->nfuncs, mid;

	/* FUNCs were added in order, so their ids ascend. */
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (m->funcs[mid].btf_id == btf_id)
			return &m->funcs[mid];
		if (m->funcs[mid].btf_id < btf_id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const struct module_func *module_func_named(const char *name)
{
	const struct module_func *f = NULL;
	size_t i;
	u32 j;

	pthread_mutex_lock(&lock);
	for (i = 0; !f && i < nlist; i++)
		for (j = 0; !f && j < list[i]->nfuncs; j++)
			if (!strcmp(list[i]->funcs[j].name, name))
				f = &list[i]->funcs[j];
	pthread_mutex_unlock(&lock);
	return f;
}

u32 module_nearest(const char *name, const char **names, u32 n)
{
	unsigned most = (unsigned)strnlen(name, 64) / 2 + 1, dist[16], d;
	u32 found = 0, j, at;
	size_t i;

	n = n < ARRAY_SIZE(dist) ? n : ARRAY_SIZE(dist);
	if (!n)
		return 0;
	pthread_mutex_lock(&lock);
	for (i = 0; i < nlist; i++)
		for (j = 0; j < list[i]->nfuncs; j++) {
			d = text_distance(name, list[i]->funcs[j].name);
			if (d > most || (found == n && d >= dist[n - 1]))
				continue;
			/* Insert in order of distance; the last falls off. */
			found += found < n;
			for (at = found - 1; at && dist[at - 1] > d; at--) {
				dist[at] = dist[at - 1];
				names[at] = names[at - 1];
			}
			dist[at] = d;
			names[at] = list[i]->funcs[j].name;
		}
	pthread_mutex_unlock(&lock);
	return found;
}
