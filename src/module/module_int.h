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

/*
 * A variable into m->vars, which has room, and as VAR into `btf`: 0, -EINVAL with `why`, -ENOMEM. Its
 * name, which the caller checks, is then that of the last one in m->vars.
 */
int module_add_var(struct module *m, const struct ferry_func *def, struct ctypes *cs, struct btf *btf,
		   struct hash *seen, struct text *why);

#endif
