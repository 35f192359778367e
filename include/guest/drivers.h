/* SPDX-License-Identifier: MIT
 *
 * Which kernel modules drive the machine's own devices: the generated initramfs brings those that the guest's kernel has as
 * modules (include/guest/initramfs.h, wanted), in this order; what is built in, or not to be had, is no error. One row a
 * device class, in guest/drivers.c. Set-up thread.
 */
#ifndef GUEST_DRIVERS_H
#define GUEST_DRIVERS_H

#include <stddef.h>

enum {
    DRIVERS_MAX = 64,
};
struct drivers {
    const char *names[DRIVERS_MAX + 1]; /* NULL-ended, each once */
    size_t n;
};

/* The modules for a device of that class; none for one that is not in the table. */
void drivers_add(struct drivers *d, const char *class);
/* One module by name. */
void drivers_add_module(struct drivers *d, const char *module);

#endif
