// SPDX-License-Identifier: MIT
// Unwinding through calls and closures of libffi.so.8: C++ exceptions, pthread_cancel, backtrace. With an argument it
// stops in a callee below a call and a closure, for a debugger.
#include <execinfo.h>
#include <ffi.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "tap.h"

static int destroyed;

struct Guard {
	~Guard() { destroyed++; }
};

static ffi_cif cif_sum, cif_void, cif_many, cif_win;
static ffi_type *sum_types[] = { &ffi_type_sint, &ffi_type_sint };
static ffi_type *many_types[12];

// Called by ffi_call.
static int throw_sum(int a, int b)
{
	Guard g;

	throw std::runtime_error(std::to_string(a + b));
}

static long throw_many(double a, double, double, double, double, double, double, double, double, double, double, double l)
{
	Guard g;

	throw std::runtime_error(std::to_string((int)(a + l)));
}

static int __attribute__((ms_abi)) throw_win(int a, int b)
{
	throw std::runtime_error(std::to_string(a * b));
}

// Handlers of closures.
static void on_throw(ffi_cif *, void *, void **args, void *)
{
	Guard g;

	throw std::runtime_error(std::to_string(*(int *)args[0] * *(int *)args[1]));
}

static void on_void(ffi_cif *, void *, void **, void *data)
{
	Guard g;

	((void (*)())data)();
}

static std::string caught(ffi_cif *cif, void (*fn)(), void **values)
{
	Guard g;
	char result[32];

	try {
		ffi_call(cif, fn, result, values);
	} catch (const std::exception &e) {
		return e.what();
	}
	return "nothing";
}

static void exceptions()
{
	int a = 3, b = 4;
	void *values[] = { &a, &b }, *many[12], *code;
	double d[12];
	ffi_closure *c = (ffi_closure *)ffi_closure_alloc(sizeof(*c), &code);

	for (int i = 0; i < 12; i++) {
		d[i] = i + 1;
		many[i] = &d[i];
	}
	for (int i = 0; i < 100; i++)
		CHECK(caught(&cif_sum, FFI_FN(throw_sum), values) == "7");
	CHECK(destroyed == 200);
	CHECK(caught(&cif_many, FFI_FN(throw_many), many) == "13");
	CHECK(caught(&cif_win, FFI_FN(throw_win), values) == "12");
	checked("exception_passes_a_call");
	destroyed = 0;
	CHECK(ffi_prep_closure_loc(c, &cif_sum, on_throw, nullptr, code) == FFI_OK);
	try {
		((int (*)(int, int))code)(5, 6);
		CHECK(!"not thrown");
	} catch (const std::runtime_error &e) {
		CHECK(!strcmp(e.what(), "30"));
	}
	CHECK(caught(&cif_sum, FFI_FN(code), values) == "12");
	CHECK(destroyed == 3);
	CHECK(ffi_prep_closure_loc(c, &cif_win, on_throw, nullptr, code) == FFI_OK);
	CHECK(caught(&cif_win, FFI_FN(code), values) == "12");
	ffi_closure_free(c);
	checked("exception_passes_a_closure");
}

static volatile bool waiting;
static int cleaned;

static void wait_here()
{
	waiting = true;
	for (;;)
		pause();
}

static void clean_up(void *)
{
	cleaned++;
}

static void *canceled(void *)
{
	Guard g;
	void *code;
	ffi_closure *c = (ffi_closure *)ffi_closure_alloc(sizeof(*c), &code);

	ffi_prep_closure_loc(c, &cif_void, on_void, (void *)wait_here, code);
	pthread_cleanup_push(clean_up, nullptr);
	ffi_call(&cif_void, FFI_FN(code), nullptr, nullptr);
	pthread_cleanup_pop(0);
	return nullptr;
}

static void cancel()
{
	void *result = nullptr;
	pthread_t t;

	destroyed = 0;
	pthread_create(&t, nullptr, canceled, nullptr);
	while (!waiting)
		usleep(1000);
	pthread_cancel(t);
	pthread_join(t, &result);
	CHECK(result == PTHREAD_CANCELED && cleaned == 1);
	// The handler's guard and the thread's.
	CHECK(destroyed == 2);
	checked("cancellation_passes_call_and_closure_and_runs_their_handlers");
}

static void *frames[64];
static int nframes;

static void look()
{
	nframes = backtrace(frames, 64);
}

// For a debugger: breakpoint here.
extern "C" __attribute__((noinline)) void stop_here()
{
	__asm__ volatile("");
	puts("# reached");
}

extern "C" __attribute__((noinline)) int outermost(void (*fn)())
{
	void *code;
	ffi_closure *c = (ffi_closure *)ffi_closure_alloc(sizeof(*c), &code);

	ffi_prep_closure_loc(c, &cif_void, on_void, (void *)fn, code);
	ffi_call(&cif_void, FFI_FN(code), nullptr, nullptr);
	ffi_closure_free(c);
	return 1;
}

static void backtraces()
{
	bool found = false;

	outermost(look);
	for (int i = 0; i < nframes; i++)
		found |= (char *)frames[i] > (char *)outermost && (char *)frames[i] < (char *)outermost + 400;
	ok(found, "backtrace_passes_call_and_closure");
}

int main(int argc, char **)
{
	for (auto &t : many_types)
		t = &ffi_type_double;
	ffi_prep_cif(&cif_sum, FFI_DEFAULT_ABI, 2, &ffi_type_sint, sum_types);
	ffi_prep_cif(&cif_void, FFI_DEFAULT_ABI, 0, &ffi_type_void, nullptr);
	ffi_prep_cif(&cif_many, FFI_DEFAULT_ABI, 12, &ffi_type_slong, many_types);
	ffi_prep_cif(&cif_win, FFI_WIN64, 2, &ffi_type_sint, sum_types);
	if (argc > 1)
		return outermost(stop_here) != 1;
	exceptions();
	cancel();
	backtraces();
	return tap_done();
}
