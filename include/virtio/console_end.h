/* SPDX-License-Identifier: MIT
 *
 * What a port of virtio-console can be joined to by an option, END in `port=NAME=END`:
 *
 *   stdin            the guest reads vmlet's standard input
 *   stdout, stderr   what the guest writes goes there
 *   file:PATH        what the guest writes; created, or emptied
 *   input:PATH       the guest reads it: a file, FIFO, device
 *   unix:PATH        a Unix socket that listens; one caller at a time, both ways
 *
 * Files and standard streams go through kvm/host/stream.h: the loop never waits for them. A socket's caller is seen by the
 * guest as the port being opened and closed; without a caller what the guest writes is dropped. What a caller sent before he
 * left still reaches the guest. Bounded: a ring of 64 KiB outwards, 16 KiB inwards, and the kernel's own buffers.
 *
 * Standard input has one reader: whoever asks second is refused (stream_claim_stdin()).
 *
 * Loop thread; set-up before it runs.
 */
#ifndef VIRTIO_CONSOLE_END_H
#define VIRTIO_CONSOLE_END_H

#include "virtio/console.h"

struct console_end;

/* NULL: a sentence in err. *open: is somebody there already? */
struct console_end *console_end_new(struct device *dev, unsigned port, const char *spec, bool *open,
                                    char *err, size_t err_size) __attribute__((warn_unused_result));
extern const struct console_end_ops console_end_ops; /* ctx: the end */
void console_end_free(struct console_end *e);

#endif
