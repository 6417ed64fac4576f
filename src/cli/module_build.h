/* SPDX-License-Identifier: MIT */
/* ferry module build. */
#ifndef FERRY_CLI_MODULE_BUILD_H
#define FERRY_CLI_MODULE_BUILD_H

int cli_module_build(int argc, char **argv); /* argv[0] is "build" */

/*
 * declare.c: cuts preprocessed C into its declarations at file scope, each without its semicolon, without
 * `extern` and without attributes that change no layout; functions with a body are left out. `each` stops it by
 * returning non-zero, which is returned.
 */
int cli_declarations(const char *text, int (*each)(void *arg, const char *decl), void *arg);
/* The name that the prototype declares, into `name`: what stands before its first parenthesis. */
void cli_declared_name(const char *decl, char *name, unsigned long room);

#endif
