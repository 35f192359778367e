// SPDX-License-Identifier: MIT
/* The command file: a header and strings, each with its length, so that an argument may hold any byte and any
 * number of them; the first pass counts, the second writes. */
#include "guest/command_file.h"

#include <stdlib.h>
#include <string.h>

struct writer {
    uint8_t *out; /* NULL: only count */
    uint64_t at;
};

static void put(struct writer *w, const char *s)
{
    size_t n = s ? strlen(s) : 0;
    uint32_t length = (uint32_t)n;
    if (w->out) {
        memcpy(w->out + w->at, &length, sizeof length);
        memcpy(w->out + w->at + sizeof length, s ? s : "", n + 1);
    }
    w->at += sizeof length + n + 1;
}

static uint32_t put_list(struct writer *w, const char *const *list)
{
    uint32_t n = 0;
    for (; list && list[n]; n++)
        put(w, list[n]);
    return n;
}

static void write_all(struct writer *w, const struct command_file *f)
{
    struct command_head head = {
        .magic = COMMAND_MAGIC, /* eight bytes, its NUL is cut */
        .version = INIT_PROTO_VERSION,
        .flags = f->flags,
        .uid = f->uid,
        .gid = f->gid,
        .winsize = f->winsize,
    };
    w->at = sizeof head;
    put(w, f->folder);
    put(w, f->hostname);
    put(w, f->program);
    head.argc = put_list(w, (const char *const *)f->argv);
    head.envc = put_list(w, (const char *const *)f->envp);
    head.modules = put_list(w, f->modules) / 2;
    head.shares = put_list(w, f->shares) / SHARE_WORDS;
    head.size = (uint32_t)w->at;
    if (w->out)
        memcpy(w->out, &head, sizeof head);
}

void *command_file_make(const struct command_file *f, size_t *size)
{
    struct writer w = {0};
    write_all(&w, f);
    if (w.at > UINT32_MAX || !(w.out = malloc(w.at)))
        return NULL;
    write_all(&w, f);
    *size = w.at;
    return w.out;
}
