/* SPDX-License-Identifier: MIT
 *
 * Why a Linux guest may have died before anybody heard of its userspace: what its kernel was built without, of what vmlet gave it.
 * One table of options in guest/postmortem.c, each with when it matters; an option counts only where the kernel's own
 * configuration file says that it is off (guest/kconfig.h), so nothing is guessed.
 *
 * Pure functions.
 *
 * Sources: Linux drivers/tty/serial/8250/Kconfig, init/Kconfig, usr/Kconfig, fs/Kconfig.binfmt.
 */
#ifndef GUEST_POSTMORTEM_H
#define GUEST_POSTMORTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kconfig;

/* What the guest was given, as a set. */
enum {
    POSTMORTEM_SILENT = 1 << 0,  /* it was to print to COM1, and nothing came */
    POSTMORTEM_INITRD = 1 << 1,  /* it had an initramfs */
    POSTMORTEM_COMMAND = 1 << 2, /* whose init was to call at COM2, and did not */
    POSTMORTEM_DISK = 1 << 3,
    POSTMORTEM_SHARE = 1 << 4,
};

/* The option that an initrd's first bytes need ("RD_ZSTD"); NULL: it is not compressed, or in no way that is known. */
const char *postmortem_compression(const uint8_t *head, size_t n);

/* "no serial console (CONFIG_SERIAL_8250_CONSOLE), no …": what is missing. compression: from above, or NULL. false: nothing. */
bool postmortem_missing(const struct kconfig *config, unsigned given, const char *compression, char *buf,
                        size_t size);

#endif
