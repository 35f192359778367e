// SPDX-License-Identifier: MIT
/* Compressed files: see include/guest/unpack.h. The tool writes to a memory file that was given its largest size and may not
 * grow: what is more cannot be written. How much there is, is where the shared offset stands afterwards. */
#include "guest/unpack.h"

#include "kvm/host/ns.h"
#include "kvm/host/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct kind {
    uint8_t magic[4], n;
    const char *argv[3];
};

static const struct kind kinds[] = {
    {{0xfd, '7', 'z', 'X'},    4, {"xz", "-dc"}   },
    {{0x28, 0xb5, 0x2f, 0xfd}, 4, {"zstd", "-dcq"}},
    {{0x1f, 0x8b},             2, {"gzip", "-dc"} },
};

static const struct kind *kind_of(int fd)
{
    uint8_t head[4] = {0};
    ssize_t n = pread(fd, head, sizeof head, 0);
    for (size_t i = 0; n == sizeof head && i < sizeof kinds / sizeof kinds[0]; i++)
        if (!memcmp(head, kinds[i].magic, kinds[i].n))
            return &kinds[i];
    return NULL;
}

static bool failed(char *why, size_t size, const char *tool, const char *reason)
{
    snprintf(why, size, "is compressed, and cannot be unpacked: %s: %s (give the unpacked file)", tool,
             reason);
    return false;
}

/* The bytes of fd up to its offset, and the file cut to that length. */
static bool take(struct unpacked *out)
{
    off_t n = lseek(out->fd, 0, SEEK_CUR);
    size_t at = 0;
    if (n < 0 || ftruncate(out->fd, n) || !(out->data = malloc((size_t)n + 1)))
        return false;
    while (at < (size_t)n) {
        ssize_t got = pread(out->fd, (char *)out->data + at, (size_t)n - at, (off_t)at);
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    out->size = at;
    return true;
}

static bool run(const struct kind *k, int in, struct unpacked *out, char *why, size_t size)
{
    char reason[128];
    out->fd = memfd_create("vmlet-unpacked", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (out->fd < 0 || ftruncate(out->fd, UNPACK_MAX) || fcntl(out->fd, F_ADD_SEALS, F_SEAL_GROW))
        return failed(why, size, k->argv[0], strerror(errno));
    if (!program_filter(k->argv, in, out->fd, UNPACK_SECONDS * SECOND, reason, sizeof reason))
        return failed(why, size, k->argv[0], reason);
    return take(out) || failed(why, size, k->argv[0], strerror(errno));
}

bool unpack(const char *path, struct unpacked *out, char name[UNPACK_NAME_BYTES], char *why, size_t size)
{
    *out = (struct unpacked){.fd = -1};
    int in = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    const struct kind *k = in < 0 ? NULL : kind_of(in);
    bool ok = !k || run(k, in, out, why, size);
    if (in >= 0)
        close(in);
    if (!ok)
        unpack_free(out);
    snprintf(name, UNPACK_NAME_BYTES, "/proc/self/fd/%d", out->fd);
    return ok;
}

void unpack_free(struct unpacked *out)
{
    free(out->data);
    if (out->fd >= 0)
        close(out->fd);
    *out = (struct unpacked){.fd = -1};
}
