/* SPDX-License-Identifier: MIT
 *
 * Root folders, lkvm's `setup NAME` and `run -d NAME`: a small system in a folder of the user's, which a guest has as its
 * root by virtio-fs, and keeps what it writes there.
 *
 * NAME's folder is $XDG_DATA_HOME/vmlet/NAME, else ~/.local/share/vmlet/NAME. setup fills it with the host's static busybox,
 * a link for each applet, an /etc and an init that starts a shell; programs may be put beside them. -d takes any folder with
 * an init or a shell.
 *
 * Set-up thread.
 */
#ifndef GUEST_ROOTFS_H
#define GUEST_ROOTFS_H

#include <stdio.h>

struct machine_options;

/* Makes it, and says so on out. NULL, or a sentence; then there is no such folder. */
const char *rootfs_setup(const char *name, FILE *out) __attribute__((warn_unused_result));

/* Takes the folder out of the disks: it becomes a share and the root in the kernel's parameters. NULL, or a sentence. */
const char *rootfs_options(struct machine_options *o) __attribute__((warn_unused_result));

#endif
