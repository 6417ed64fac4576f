/* SPDX-License-Identifier: MIT */
/* The interpreter. Runs any program of valid form; safe memory accesses are the verifier's job. */
#ifndef FERRY_VM_H
#define FERRY_VM_H

#include "prog/prog.h"

/*
 * Makes p->run interpret p: 0 or -ENOMEM. Translation to a threaded form, if any, is done here.
 * Needs p->funcs only if the program has subprograms.
 */
int vm_install(struct prog *p);
void vm_remove(struct prog *p);
/* What LD_IMM64 of the subprogram at `start` gives; NULL when nothing refers to it. */
prog_callback vm_callback(const struct prog *p, u32 start);

#endif
