/* SPDX-License-Identifier: MIT
 *
 * --repeat N, --until-fail: the same boot again, each as a child (guest/many.h), for what fails now and then.
 *
 * A boot fails by its status. Without --until-fail all N take place. The status is that of the first one that failed, 0 if none
 * did, 125 when a file of our own could not be written; --result tells of that boot, or of the last one; --junit has a case for
 * each boot. The boots' standard input is /dev/null, their output is shown where they fail.
 *
 * Main thread; once a process.
 */
#ifndef GUEST_REPEAT_H
#define GUEST_REPEAT_H

struct machine_options;
struct many;

/* NULL, or what is wrong with the options that ask for many boots. */
const char *repeat_check(const struct machine_options *o) __attribute__((warn_unused_result));

/* The words after `run`, as they were parsed into o. */
int repeat_run(const struct machine_options *o, int argc, char **argv);

/* Writes what a boot reported as this process's own --result, and for who started it. Text NULL: none did. */
void repeat_result(struct many *m, const struct machine_options *o, const char *text);

#endif
