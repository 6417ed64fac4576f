/* SPDX-License-Identifier: MIT */
/*
 * libffi.so.8 on AArch64, beside random signatures: layouts, bad input, closures, unwinding. Prints
 * TAP.
 */
#include <execinfo.h>
#include <ffi.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int number, failed;

static void ok(bool good, const char *name)
{
	failed += !good;
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++number, name);
}

/* ---- layouts of the header, as Debian's libffi 3.4.4 for arm64 has them ---------------------- */

static void layouts(void)
{
	ok(sizeof(ffi_cif) == 32 && sizeof(ffi_type) == 24, "cif_and_type_have_the_sizes_of_3_4_4");
	ok(sizeof(ffi_closure) == 48 && sizeof(ffi_raw_closure) == 64 &&
		   sizeof(ffi_go_closure) == 24,
	   "closures_have_the_sizes_of_3_4_4");
	ok(FFI_SYSV == 1 && FFI_WIN64 == 2 && FFI_DEFAULT_ABI == FFI_SYSV &&
		   ffi_get_default_abi() == FFI_SYSV,
	   "default_abi_is_sysv_number_1");
	ok(ffi_type_longdouble.size == 16 && ffi_type_longdouble.alignment == 16,
	   "long_double_is_quad");
}

/* ---- bad input ------------------------------------------------------------------------------- */

static bool refused(ffi_status want, int abi, unsigned nargs, ffi_type *ret, ffi_type **args)
{
	ffi_cif cif, before;

	memset(&cif, 0x5a, sizeof(cif));
	before = cif;
	return ffi_prep_cif(&cif, (ffi_abi)abi, nargs, ret, args) == want &&
	       !memcmp(&cif, &before, sizeof(cif));
}

static void bad_input(void)
{
	ffi_type *none[] = { NULL }, *null_arg[] = { NULL, NULL }, *void_arg[] = { &ffi_type_void };
	ffi_type *self[2] = { NULL, NULL }, *two[] = { &ffi_type_sint, &ffi_type_float };
	ffi_type empty = { 0, 0, FFI_TYPE_STRUCT, none }, no_list = { 0, 0, FFI_TYPE_STRUCT, NULL };
	ffi_type circle = { 0, 0, FFI_TYPE_STRUCT, self }, sized = { 16, 8, FFI_TYPE_STRUCT, self };
	ffi_type unknown = { 8, 8, 99, NULL };
	ffi_cif cif;
	size_t off[1];

	ok(refused(FFI_BAD_ABI, 0, 0, &ffi_type_void, NULL) &&
		   refused(FFI_BAD_ABI, FFI_LAST_ABI, 0, &ffi_type_void, NULL) &&
		   refused(FFI_BAD_ABI, -1, 0, &ffi_type_void, NULL),
	   "unknown_abi_is_refused");
	ok(refused(FFI_BAD_TYPEDEF, FFI_SYSV, 0, NULL, NULL) &&
		   refused(FFI_BAD_TYPEDEF, FFI_SYSV, 1, &ffi_type_void, null_arg) &&
		   refused(FFI_BAD_TYPEDEF, FFI_SYSV, 1, &ffi_type_void, NULL),
	   "null_types_are_refused");
	ok(refused(FFI_BAD_TYPEDEF, FFI_SYSV, 1, &ffi_type_void, void_arg),
	   "void_argument_is_refused");
	ok(refused(FFI_BAD_TYPEDEF, FFI_SYSV, 0, &empty, NULL) &&
		   refused(FFI_BAD_TYPEDEF, FFI_SYSV, 0, &no_list, NULL),
	   "struct_without_elements_is_refused");
	ok(refused(FFI_BAD_TYPEDEF, FFI_SYSV, 0, &unknown, NULL), "unknown_type_is_refused");
	self[0] = &circle;
	ok(refused(FFI_BAD_TYPEDEF, FFI_SYSV, 0, &circle, NULL), "recursive_struct_is_refused");
	self[0] = &sized;
	ok(refused(FFI_BAD_TYPEDEF, FFI_SYSV, 0, &sized, NULL),
	   "recursive_struct_with_a_size_is_refused");
	ok(ffi_prep_cif_var(&cif, FFI_SYSV, 1, 2, &ffi_type_sint, two) == FFI_BAD_ARGTYPE,
	   "variadic_float_is_refused");
	ok(ffi_prep_cif_var(&cif, FFI_SYSV, 3, 2, &ffi_type_sint, two) == FFI_BAD_TYPEDEF,
	   "more_named_arguments_than_arguments_are_refused");
	ok(ffi_get_struct_offsets((ffi_abi)77, &empty, off) == FFI_BAD_ABI &&
		   ffi_get_struct_offsets(FFI_SYSV, &ffi_type_sint, off) == FFI_BAD_TYPEDEF,
	   "offsets_of_no_struct_are_refused");
	ffi_closure_free(NULL);
	ffi_closure_free((char[64]){ 0 });
	ok(true, "freeing_a_foreign_closure_touches_nothing");
}

/* ---- calls ----------------------------------------------------------------------------------- */

struct big {
	uint64_t v[1000];
};

static uint64_t sum_big(uint64_t a, struct big b, double d, struct big *c)
{
	uint64_t s = a + (uint64_t)d + c->v[0];

	for (int i = 0; i < 1000; i++)
		s += b.v[i];
	b.v[0] = 0; /* its own copy */
	return s;
}

static void large_argument_is_a_copy(void)
{
	static ffi_type *elements[1001];
	static struct big b, *pb = &b;
	ffi_type type = { 0, 0, FFI_TYPE_STRUCT, elements };
	ffi_type *types[] = { &ffi_type_uint64, &type, &ffi_type_double, &ffi_type_pointer };
	uint64_t a = 7, want = 7 + 9, got = 0;
	double d = 9;
	void *values[] = { &a, &b, &d, &pb };
	ffi_cif cif;

	for (int i = 0; i < 1000; i++) {
		elements[i] = &ffi_type_uint64;
		b.v[i] = (uint64_t)i * 3 + 1;
		want += b.v[i];
	}
	want += b.v[0];
	ok(ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 4, &ffi_type_uint64, types) == FFI_OK &&
		   type.size == sizeof(b),
	   "large_struct_prepares");
	ffi_call(&cif, FFI_FN(sum_big), &got, values);
	ok(got == want && b.v[0] == 1, "large_argument_is_passed_as_a_copy");
}

static uint64_t many(void *first, ...)
{
	__builtin_va_list ap;
	uint64_t s = (uintptr_t)first;

	__builtin_va_start(ap, first);
	for (int i = 1; i < 1000; i++)
		s += (uint64_t)i * __builtin_va_arg(ap, uint64_t);
	__builtin_va_end(ap);
	return s;
}

static void a_thousand_arguments(void)
{
	static ffi_type *types[1000];
	static uint64_t v[1000];
	static void *values[1000];
	uint64_t want = 5, got = 0;
	ffi_cif cif;

	for (int i = 0; i < 1000; i++) {
		types[i] = i ? &ffi_type_uint64 : &ffi_type_pointer;
		v[i] = (uint64_t)i * i + 5;
		values[i] = &v[i];
		want += i ? (uint64_t)i * v[i] : 0;
	}
	ok(ffi_prep_cif_var(&cif, FFI_DEFAULT_ABI, 1, 1000, &ffi_type_uint64, types) == FFI_OK,
	   "variadic_signature_of_a_thousand_prepares");
	ffi_call(&cif, FFI_FN(many), &got, values);
	ok(got == want && cif.bytes >= 8 * (1000 - 8), "a_thousand_arguments_arrive");
}

static int8_t narrow(int8_t a, uint16_t b)
{
	return (int8_t)(a - b);
}

static void small_integers_widen(void)
{
	ffi_type *types[] = { &ffi_type_sint8, &ffi_type_uint16 };
	int8_t a = -100;
	uint16_t b = 27;
	void *values[] = { &a, &b };
	ffi_arg got = 0x5a5a5a5a;
	ffi_cif cif;

	ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 2, &ffi_type_sint8, types);
	ffi_call(&cif, FFI_FN(narrow), &got, values);
	ok((ffi_sarg)got == -127, "small_result_is_widened_to_ffi_arg");
}

/* ---- closures -------------------------------------------------------------------------------- */

static void add(ffi_cif *cif, void *ret, void **args, void *data)
{
	(void)cif;
	*(ffi_arg *)ret = (ffi_arg)(*(int *)args[0] + *(int *)args[1] + *(int *)data);
}

static void add_go(ffi_cif *cif, void *ret, void **args, void *data)
{
	(void)cif;
	*(ffi_arg *)ret =
		(ffi_arg)(*(int *)args[0] + *(int *)args[1] + (int)sizeof(ffi_go_closure) +
			  (((ffi_go_closure *)data)->fun == add_go));
}

static ffi_cif *int_int(void)
{
	static ffi_type *types[] = { &ffi_type_sint, &ffi_type_sint };
	static ffi_cif cif;

	ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 2, &ffi_type_sint, types);
	return &cif;
}

static int call_code(void *code, int a, int b)
{
	int (*fn)(int, int);

	memcpy(&fn, &code, sizeof(fn));
	return fn(a, b);
}

static void many_closures(void)
{
	enum { N = 20000 };
	static ffi_closure *c[N];
	static void *code[N];
	static int data[N];
	bool good = true;
	int status;

	for (int i = 0; i < N; i++) {
		data[i] = i;
		c[i] = ffi_closure_alloc(sizeof(*c[i]), &code[i]);
		good = good && c[i] &&
		       ffi_prep_closure_loc(c[i], int_int(), add, &data[i], code[i]) == FFI_OK;
	}
	for (int i = 0; i < N && good; i++)
		good = call_code(code[i], 1, 2) == 3 + i;
	ok(good, "twenty_thousand_closures_live");
	if (!fork())
		_exit(call_code(code[N - 1], 1, 2) != N + 2);
	wait(&status);
	ok(status == 0, "closures_work_after_fork");
	for (int i = 0; i < N; i++)
		ffi_closure_free(c[i]);
}

static void closure_in_own_memory(void)
{
	ffi_closure *c = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int data = 40;

	ok(ffi_prep_closure_loc(c, int_int(), add, &data, c) == FFI_OK && call_code(c, 1, 1) == 42,
	   "closure_in_executable_memory_of_the_callers");
}

static void go_closure(void)
{
	ffi_go_closure c;
	int a = 3, b = 4;
	void *values[] = { &a, &b };
	ffi_arg got = 0;

	ok(ffi_prep_go_closure(&c, int_int(), add_go) == FFI_OK, "go_closure_prepares");
	ffi_call_go(int_int(), FFI_FN(c.tramp), &got, values, &c);
	ok((int)got == 7 + 24 + 1, "go_closure_is_called_with_its_address_in_x18");
}

static void raw_add(ffi_cif *cif, void *ret, ffi_raw *args, void *data)
{
	(void)cif;
	*(ffi_arg *)ret = (ffi_arg)(args[0].sint + args[1].sint + *(int *)data);
}

static void raw_closure(void)
{
	void *code;
	ffi_raw_closure *c = ffi_closure_alloc(sizeof(*c), &code);
	int data = 100;

	ok(ffi_prep_raw_closure_loc(c, int_int(), raw_add, &data, code) == FFI_OK &&
		   call_code(code, -1, 2) == 101,
	   "raw_closure");
	ffi_closure_free(c);
}

/* ---- unwinding ------------------------------------------------------------------------------- */

static volatile int cleaned, depth;
static int exit_value;
static void *trace[64];

static void leave(ffi_cif *cif, void *ret, void **args, void *data)
{
	(void)cif, (void)ret, (void)args;
	depth = backtrace(trace, 64);
	if (data)
		pthread_exit(data);
}

static void count(void *p)
{
	(void)p;
	cleaned++;
}

__attribute__((noinline)) static void call_through(void *data)
{
	void *code;
	ffi_closure *c = ffi_closure_alloc(sizeof(*c), &code);
	ffi_cif cif;
	void (*fn)(void);

	ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 0, &ffi_type_void, NULL);
	ffi_prep_closure_loc(c, &cif, leave, data, code);
	memcpy(&fn, &code, sizeof(fn));
	pthread_cleanup_push(count, NULL);
	ffi_call(&cif, fn, NULL, NULL);
	pthread_cleanup_pop(0);
	ffi_closure_free(c);
}

static void *thread(void *arg)
{
	call_through(arg);
	return NULL;
}

static void unwinding(void)
{
	pthread_t t;
	void *result = NULL;
	bool found = false;

	call_through(NULL);
	for (int i = 0; i < depth; i++)
		found |= (char *)trace[i] > (char *)call_through &&
			 (char *)trace[i] < (char *)call_through + 400;
	ok(found, "backtrace_passes_closure_and_call");
	pthread_create(&t, NULL, thread, &exit_value);
	pthread_join(t, &result);
	ok(result == &exit_value && cleaned == 1, "forced_unwinding_passes_closure_and_call");
}

int main(void)
{
	layouts();
	bad_input();
	large_argument_is_a_copy();
	a_thousand_arguments();
	small_integers_widen();
	many_closures();
	closure_in_own_memory();
	go_closure();
	raw_closure();
	unwinding();
	printf("1..%d\n", number);
	return failed != 0;
}
