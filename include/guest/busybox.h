/* SPDX-License-Identifier: MIT
 *
 * The host's static busybox, for the small tools of a generated initramfs: found by its ELF headers (a dynamic one is
 * of no use), its applets by the table of names in its own bytes, so that nothing of it is run on the host. Set-up only.
 */
#ifndef GUEST_BUSYBOX_H
#define GUEST_BUSYBOX_H

#include "guest/cpio.h"

#include <stdbool.h>

/* NULL if the host has none. */
const char *busybox_find(void);

/* Adds /usr/bin/busybox and a link for each applet that has no file yet. *install is set when the table was not found: then
 * the guest has to run `busybox --install -s`. */
bool busybox_add(struct cpio *c, const char *path, bool *install);

/* For the tests: the names in busybox's bytes, each with its NUL; NULL if there is no such table. */
const char *busybox_table(const char *bytes, size_t n, size_t *table_size);

#endif
