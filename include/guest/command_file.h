/* SPDX-License-Identifier: MIT
 *
 * Writes the command file that travels in the initramfs (layout: include/guest/init_proto.h) and gives access
 * to the in-guest init's bytes. Set-up only, any thread.
 */
#ifndef GUEST_COMMAND_FILE_H
#define GUEST_COMMAND_FILE_H

#include "guest/init_proto.h"

#include <stdint.h>

struct command_file {
    uint32_t flags; /* enum command_flags */
    uint32_t uid, gid;
    struct frame_winsize winsize;
    const char *folder, *hostname, *program; /* NULL is "" */
    char *const *argv;                       /* NULL-terminated; NULL: no command */
    char *const *envp;                       /* NULL-terminated; NULL: empty */
    const char *const *modules;              /* path, parameters, path, parameters, … NULL; or NULL */
    const char *const *shares;               /* tag, folder, words, tag, … NULL; or NULL */
};

/* malloc()ed, the caller frees it; NULL: out of memory, or larger than the file may be (4 GiB). */
void *command_file_make(const struct command_file *f, size_t *size);

/* guest/init_blob.S */
extern const uint8_t init_blob[], init_blob_end[];

#endif
