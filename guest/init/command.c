// SPDX-License-Identifier: MIT
/* Reads the command file: the layout is in include/guest/init_proto.h. It was written by the same vmlet, but
 * a user's own initrd may have put anything there, so all of it is checked before it is used. The strings are
 * used where they lie. */
#include "sys.h"

#include <linux/mman.h>

#define MMAP_FAILED(p) ((unsigned long)(p) > -4096ul)

static void *pages(size_t n, int fd)
{
    int flags = fd >= 0 ? MAP_PRIVATE : MAP_PRIVATE | MAP_ANONYMOUS;
    long p = SYS(mmap, NULL, n, PROT_READ | PROT_WRITE, flags, fd, 0);
    return MMAP_FAILED(p) ? NULL : (void *)p;
}

struct reader {
    const char *bytes;
    size_t size, at;
};

static const char *take(struct reader *r)
{
    uint32_t n;
    if (r->size - r->at < sizeof n)
        return NULL;
    memcpy(&n, r->bytes + r->at, sizeof n);
    r->at += sizeof n;
    if (n >= r->size - r->at || r->bytes[r->at + n] || strlen(r->bytes + r->at) != n)
        return NULL;
    const char *s = r->bytes + r->at;
    r->at += n + 1;
    return s;
}

static bool take_list(struct reader *r, const char **list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!(list[i] = take(r)))
            return false;
    return true;
}

static bool parse(const char *bytes, size_t size, struct command *cmd)
{
    struct command_head head;
    struct reader r = {bytes, size, sizeof head};
    if (size < sizeof head)
        return false;
    memcpy(&head, bytes, sizeof head);
    if (memcmp(head.magic, COMMAND_MAGIC, sizeof head.magic) || head.version != INIT_PROTO_VERSION ||
        head.size != size || head.flags & ~(uint32_t)COMMAND_FLAGS_ALL || head.argc > COMMAND_STRINGS_MAX ||
        head.envc > COMMAND_STRINGS_MAX || head.modules > COMMAND_STRINGS_MAX ||
        head.shares > COMMAND_STRINGS_MAX)
        return false;

    size_t pointers =
        (size_t)head.argc + 1 + head.envc + 1 + 2 * (size_t)head.modules + SHARE_WORDS * (size_t)head.shares;
    const char **list = pages(pointers * sizeof *list, -1); /* zeroed: the lists end with NULL */
    if (!list)
        return false;
    cmd->flags = head.flags;
    cmd->uid = head.uid;
    cmd->gid = head.gid;
    cmd->argc = head.argc;
    cmd->modules = head.modules;
    cmd->shares = head.shares;
    cmd->winsize = head.winsize;
    cmd->argv = (char **)(uintptr_t)list;
    cmd->envp = cmd->argv + head.argc + 1;
    cmd->module = list + head.argc + 1 + head.envc + 1;
    cmd->share = cmd->module + 2 * (size_t)head.modules;
    return (cmd->folder = take(&r)) && (cmd->hostname = take(&r)) && (cmd->program = take(&r)) &&
           take_list(&r, list, head.argc) && take_list(&r, list + head.argc + 1, head.envc) &&
           take_list(&r, cmd->module, 2 * head.modules) &&
           take_list(&r, cmd->share, SHARE_WORDS * head.shares) && r.at == size;
}

bool command_read(const char *path, struct command *cmd, const char **why)
{
    long fd = SYS(open, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        *why = text_error(fd);
        return false;
    }
    long size = SYS(lseek, fd, 0, 2 /* SEEK_END */);
    char *bytes = size > 0 ? pages((size_t)size, (int)fd) : NULL;
    SYS(close, fd);
    if (!bytes || !parse(bytes, (size_t)size, cmd)) {
        *why = "it is damaged";
        return false;
    }
    return true;
}
