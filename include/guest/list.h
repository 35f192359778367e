/* SPDX-License-Identifier: MIT
 *
 * `vmlet list`: the guests of this user, one a line: name, process, time since its start, processor time, memory that it has
 * from the host. All of it from the control folder and /proc: no guest is asked, so none that hangs can hold the list up.
 *
 * Source: proc(5), /proc/pid/stat and statm.
 */
#ifndef GUEST_LIST_H
#define GUEST_LIST_H

#include <stdio.h>

/* Headings, where a human reads. NULL, or a sentence. */
const char *list_print(FILE *out, int headings);

#endif
