/* SPDX-License-Identifier: MIT
 *
 * Writing to what may keep us waiting, without being out of reach meanwhile: a FIFO that nobody reads (open() for writing
 * sleeps until somebody does), a terminal that is held, a full pipe. The signals that end a run are blocked in this process and
 * delivered on the loop; where the loop does not run (set-up, the end), a plain open() would be stopped by SIGKILL only.
 * So the descriptor is opened non-blocking (a new open file: nobody else's flags change) and asked again, until a time is up or
 * such a signal is pending.
 *
 * Main thread, outside the loop.
 */
#ifndef KVM_HOST_PATIENT_H
#define KVM_HOST_PATIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATIENT_FOREVER UINT64_MAX

/* open(path, flags, 0666), flags with O_WRONLY. -1 and errno; ETIMEDOUT: nobody opened the other end within `ns`, EINTR: a signal
 * is pending (signals_pending()). The descriptor is in O_NONBLOCK mode; patient_blocking() ends that. */
int patient_open(const char *path, int flags, uint64_t ns) __attribute__((warn_unused_result));
bool patient_blocking(int fd) __attribute__((warn_unused_result));

/* All n bytes, or false and errno (as above). */
bool patient_write(int fd, const void *data, size_t n, uint64_t ns) __attribute__((warn_unused_result));

#endif
