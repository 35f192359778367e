/* SPDX-License-Identifier: MIT
 *
 * Files that tell how a run ended (--result, --junit). A regular file is written to FILE.tmp-PID beside it and renamed, so
 * that a reader sees all of it or nothing; anything else (a FIFO, /dev/fd/3) is written in place.
 *
 * option is what a sentence begins with. Sentences are in a static buffer. Set-up, and the end of a run.
 */
#ifndef GUEST_REPORT_FILE_H
#define GUEST_REPORT_FILE_H

#include <stddef.h>
#include <stdint.h>

/* Finds out whether `path` could be written (a regular file by making and removing the temporary one, anything else
 * unopened): NULL, or a sentence. To be asked before the guest starts. */
const char *report_file_check(const char *option, const char *path);

/* NULL, or a sentence. A FIFO's reader is waited for as kvm/host/patient.h says, for `patience` ns. */
const char *report_file_write(const char *option, const char *path, const char *text, size_t n,
                              uint64_t patience);

#endif
