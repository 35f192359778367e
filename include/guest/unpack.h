/* SPDX-License-Identifier: MIT
 *
 * A compressed file's content, by way of the host's own xz, zstd or gzip: distributions ship their modules so, and a
 * decompressor of our own for each would be more code than all that reads modules.
 *
 * The content is untrusted, and bounded: UNPACK_MAX bytes, UNPACK_SECONDS. It comes to lie in memory, in no file. Set-up only.
 */
#ifndef GUEST_UNPACK_H
#define GUEST_UNPACK_H

#include <stdbool.h>
#include <stddef.h>

enum {
    UNPACK_MAX = 256 << 20,
    UNPACK_SECONDS = 30,
    UNPACK_NAME_BYTES = 32,
};

struct unpacked {
    void *data; /* malloc()ed; NULL: the file is in no known way compressed */
    size_t size;
    int fd; /* of the name */
};

/* False: why. name is a path under which the content can be read until unpack_free(). */
bool unpack(const char *path, struct unpacked *out, char name[UNPACK_NAME_BYTES], char *why, size_t size)
    __attribute__((warn_unused_result));
/* data can be taken over: set it to NULL. */
void unpack_free(struct unpacked *out);

#endif
