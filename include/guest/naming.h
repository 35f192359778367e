/* SPDX-License-Identifier: MIT
 *
 * --symbols in a run: the file of guest/symbols.h, the vCPUs that tell where the guest's kernel is, and what is told to the user
 * with names in it: register dumps, the gate's reports, traces, lint.
 *
 * `s` may be NULL everywhere: nothing was given, so nothing has a name.
 */
#ifndef GUEST_NAMING_H
#define GUEST_NAMING_H

#include "guest/symbols.h"

#include <stdio.h>

struct machine_options;
struct vcpu;

/* Set-up; die() for a file that is none. NULL without --symbols. */
struct symbols *naming_open(const struct machine_options *o);
/* Asks a vCPU where the kernel is, until it is known: on the vCPU's own thread, or by vcpu_call()'s rules. */
void naming_learn(struct symbols *s, struct vcpu *vcpu);
/* Whether any address in the text has a name. */
bool naming_any(const struct symbols *s, const char *text);
/* A line as it is, or with names. */
void naming_line(const struct symbols *s, const char *line, char *buf, size_t size);
/* warn()s a text line by line, each behind two blanks, with names. */
void naming_warn(const struct symbols *s, const char *text);
/* The same to a file, without blanks. */
void naming_print(const struct symbols *s, const char *text, FILE *out);

#endif
