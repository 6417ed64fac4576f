/* SPDX-License-Identifier: MIT */
/* Private to src/module: what a prototype asks the verifier to prove. */
#ifndef FERRY_MODULE_INT_H
#define FERRY_MODULE_INT_H

#include "module/module.h"

/*
 * Fills ret and args of `f` (not their BTF ids) from the prototype `t`. 0 or -EINVAL with `why`
 * naming the function, the argument, the reason and what to write instead.
 */
int module_args(struct module_func *f, const struct ctype *t, struct text *why);

#endif
