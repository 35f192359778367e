/* SPDX-License-Identifier: MIT
 *
 * `vmlet debug NAME` and `vmlet stat NAME`, as the control socket answers them.
 *
 *   debug [--dump | -d]           registers and code bytes of each vCPU (what is asked without a word)
 *   debug --nmi [CPU] | -m CPU    an NMI, as from a chipset, to that vCPU or to all
 *   debug --sysrq C | -s C        Linux's SysRq key C, by a break on COM1 and the letter. The guest must have its console
 *                                 there: a command's run needs -p console=ttyS0
 *   stat [-m]                     times, exits of each vCPU by reason, memory
 *
 * Both work on a guest that runs, is paused, or sits in gdb. Loop thread.
 */
#ifndef GUEST_DEBUG_VERBS_H
#define GUEST_DEBUG_VERBS_H

#include <stdio.h>

struct machine;

/* NULL, or a sentence. */
const char *debug_verb(struct machine *m, int argc, char **argv, FILE *out);
const char *stat_verb(struct machine *m, int argc, char **argv, FILE *out);

#endif
