/* SPDX-License-Identifier: MIT
 *
 * The generated initramfs: all that a bare kernel needs to run one command. It holds /dev/console, the
 * in-guest init, the command file (include/guest/init_proto.h), the command with its libraries or its
 * interpreter, a static busybox with links for its applets when the host has one, the modules with what they
 * depend on, and what was added by name. Nothing of the host gets in otherwise. /bin, /sbin and /usr/sbin are
 * links to /usr/bin, /lib and /lib64 to /usr/lib…, as on the hosts of today.
 *
 * The command is looked for on the host as a shell would, and lies in the guest under the same path. When the
 * host does not have it that is no error here: it may be an applet of busybox, or in an added folder; init
 * says 127 otherwise.
 *
 * Owner: main or machine, at set-up. Any thread, one at a time.
 */
#ifndef GUEST_INITRAMFS_H
#define GUEST_INITRAMFS_H

#include "guest/cpio.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct initramfs_spec {
    /* The command, NULL-terminated; NULL: none, a shell on the console. */
    char *const *argv;
    char *const *env;     /* K=V, NULL-terminated; NULL: none. As uid and gid from guest/identity.h */
    const char *cwd;      /* folder of the command, made if needed; NULL: the current one */
    const char *hostname; /* NULL: "vmlet" */
    uint32_t uid, gid;
    bool pty;        /* vmlet's stdin and stdout are both terminals */
    bool pty_stderr; /* and its stderr too */
    uint16_t rows, cols;

    const char *const *add; /* FILE[:PATH], NULL-terminated, or NULL */

    /* NAME|FILE[,param=value…] as given with --module: must load. NULL-terminated, or NULL. */
    const char *const *modules;
    /* Names that the machine's devices would like: left out when built in or not there. Or NULL. */
    const char *const *wanted;
    const char *modules_dir; /* --modules-dir, or NULL */
    const char *kernel_path; /* of the image; NULL: not known */
    /* first word of the image's version string; NULL: not known, nothing is checked */
    const char *kernel_release;

    const char *const *shares; /* as in the command file, or NULL */
    bool host_root;            /* the guest's root is the host's: no programs or libraries are brought */
    const char *shell;         /* without argv: what is run on the console; NULL: /bin/sh */

    bool no_busybox;
    bool dhcp;  /* cards have somebody to ask at their other end */
    bool cards; /* the user asked for them */
};

struct initramfs_error {
    int status;     /* 125, or 126: what `run` should end with */
    char text[512]; /* one sentence: object: operation: reason (remedy) */
};

/* Returns the archive, to be written with cpio_write() and freed with cpio_free(); NULL and *error filled
 * otherwise. */
struct cpio *initramfs_build(const struct initramfs_spec *spec, struct initramfs_error *error);

#endif
