/* SPDX-License-Identifier: MIT
 *
 * --share DIR[,tag=NAME][,ro][,cache=none]: folders of the host in the guest, each by a virtio-fs device of its own.
 *
 * With the generated initramfs a share is mounted where it is on the host, before the command starts, so that the command's folder
 * is the host's when it lies in a share. The share of `/` is the guest's root: read-only, below an overlay in guest memory. With a
 * user's own initrd the guest mounts what it wants by the tag (`share0`, `share1`… in the order of the command line).
 *
 * Set-up thread.
 */
#ifndef GUEST_SHARE_H
#define GUEST_SHARE_H

#include <stdbool.h>
#include <stddef.h>

struct board;
struct drivers;
struct machine_options;
struct opt_list;

struct share {
    const char *dir; /* absolute, without links */
    const char *tag;
    bool ro;
    int cache; /* enum fs_cache */
};

/* Reads and checks the values of --share: folders that can be read, tags and folders each once. NULL, or a sentence. */
const char *share_parse(const struct opt_list *values, struct share **shares, unsigned *n)
    __attribute__((warn_unused_result));

/* Is the guest's root to be the host's? */
bool share_has_root(const struct machine_options *o);

/* The devices; false: err says why. */
bool share_build(const struct machine_options *o, struct board *board, char *err, size_t err_size)
    __attribute__((warn_unused_result));
void share_drivers(const struct machine_options *o, struct drivers *d);

/* For the command file (include/guest/init_proto.h): tag, folder, words for each, NULL-ended, a folder before what lies below
 * it. malloc()ed, the caller frees the list. NULL: out of memory. */
const char **share_list(const struct machine_options *o);

/* The shell that somebody gets who gave no command and has the host's root. */
const char *share_shell(void);

#endif
