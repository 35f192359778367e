// SPDX-License-Identifier: MIT
/* Folders of the host: see include/guest/share.h. */
#include "guest/share.h"

#include "guest/drivers.h"
#include "guest/init_proto.h"
#include "guest/machine.h"
#include "virtio/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the options */

static const struct opt_word caches[] = {
    {"auto", FS_CACHE_AUTO, NULL},
    {"none",  FS_CACHE_NONE, NULL},
    {0},
};

static const struct opt keys[] = {
    OPT_STRING(struct share, dir, "dir", 0, "DIR", "the folder", .flags = OPT_FIRST | OPT_NEEDED),
    OPT_STRING(struct share, tag, "tag", 0, "NAME", "what the guest mounts it by"),
    OPT_FLAG(struct share, ro, "ro", 0, "the guest cannot write to it"),
    OPT_ENUM(struct share, cache, "cache", 0, caches, "none: a change on the host is seen at once"),
    OPT_END,
};

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return !strncmp(path, folder, n) && (path[n] == '/' || !path[n]);
}

/* What the guest has of its own, and what no share is mounted over. */
static const char *is_guests_own(const char *dir)
{
    static const char *const own[] = {"/proc", "/sys", "/dev"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (is_below(dir, own[i]))
            return own[i];
    return NULL;
}

static const char *check_folder(struct share *s)
{
    struct stat st;
    char real[4096];
    if (!realpath(s->dir, real) || stat(real, &st) < 0)
        return opts_say("--share %s: %s", s->dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return opts_say("--share %s: is no folder (--add FILE[:PATH] copies a file into the guest)", s->dir);
    if (access(real, R_OK | X_OK) < 0)
        return opts_say("--share %s: %s", s->dir, strerror(errno));
    const char *own = is_guests_own(real);
    if (own)
        return opts_say("--share %s: the guest has a %s of its own", s->dir, own);
    s->dir = opts_say("%s", real);
    return NULL;
}

static const char *check_tag(struct share *s, unsigned index)
{
    if (!s->tag)
        s->tag = opts_say("share%u", index);
    size_t n = strlen(s->tag);
    if (!n || n > FS_TAG_BYTES)
        return opts_say("--share %s: tag=%s: 1 to %d bytes", s->dir, s->tag, FS_TAG_BYTES);
    return NULL;
}

const char *share_parse(const struct opt_list *values, struct share **shares, unsigned *n)
{
    const char *error;
    *n = 0;
    *shares = values->n ? calloc(values->n, sizeof **shares) : NULL;
    if (values->n && !*shares)
        return "out of memory";
    for (unsigned i = 0; i < values->n; i++) {
        struct share *s = &(*shares)[i];
        if ((error = opts_sub(keys, "--share", values->v[i], s)) || (error = check_folder(s)) ||
            (error = check_tag(s, i)))
            return error;
        for (const struct share *before = *shares; before < s; before++) {
            if (!strcmp(before->tag, s->tag))
                return opts_say("--share %s: tag=%s: %s has it already", s->dir, s->tag, before->dir);
            if (!strcmp(before->dir, s->dir))
                return opts_say("--share %s: it is shared already", s->dir);
        }
        if (!strcmp(s->dir, "/")) /* what is written stays in the guest */
            s->ro = true;
    }
    *n = (unsigned)values->n;
    return NULL;
}

bool share_has_root(const struct machine_options *o)
{
    for (unsigned i = 0; i < o->n_shares; i++)
        if (!o->shares[i].dir[1])
            return true;
    return false;
}

/* --- the devices */

/* A comma in a value is written twice. */
static const char *escaped(const char *text)
{
    char *out = malloc(2 * strlen(text) + 1), *p = out;
    if (!out)
        return "";
    for (; *text; text++) {
        *p++ = *text;
        if (*text == ',')
            *p++ = ',';
    }
    *p = 0;
    const char *kept = opts_say("%s", out);
    free(out);
    return kept;
}

bool share_build(const struct machine_options *o, struct board *board, char *err, size_t err_size)
{
    for (unsigned i = 0; i < o->n_shares; i++) {
        const struct share *s = &o->shares[i];
        const char *spec = opts_say("dir=%s,tag=%s%s%s", escaped(s->dir), escaped(s->tag), s->ro ? ",ro" : "",
                                    s->cache == FS_CACHE_NONE ? ",cache=none" : "");
        if (!device_new(board, &fs_class, NULL, spec, err, err_size))
            return false;
    }
    return true;
}

void share_drivers(const struct machine_options *o, struct drivers *d)
{
    if (o->n_shares)
        drivers_add(d, fs_class.name);
    if (share_has_root(o))
        drivers_add_module(d, "overlay");
}

/* --- the guest */

static int by_length(const void *a, const void *b)
{
    size_t x = strlen((*(const struct share *const *)a)->dir),
           y = strlen((*(const struct share *const *)b)->dir);
    return x < y ? -1 : x > y;
}

const char **share_list(const struct machine_options *o)
{
    const char **list = calloc(SHARE_WORDS * (size_t)o->n_shares + 1, sizeof *list);
    const struct share **sorted = calloc(o->n_shares + 1u, sizeof *sorted);
    if (!list || !sorted) {
        free(list);
        free(sorted);
        return NULL;
    }
    for (unsigned i = 0; i < o->n_shares; i++)
        sorted[i] = &o->shares[i];
    qsort(sorted, o->n_shares, sizeof *sorted, by_length);
    for (unsigned i = 0; i < o->n_shares; i++) {
        list[SHARE_WORDS * i] = sorted[i]->tag;
        list[SHARE_WORDS * i + 1] = sorted[i]->dir;
        list[SHARE_WORDS * i + 2] = sorted[i]->ro ? "ro" : "";
    }
    free(sorted);
    return list;
}

const char *share_shell(void)
{
    const char *own = getenv("SHELL");
    const char *const shells[] = {own && *own == '/' ? own : "/bin/bash", "/bin/bash", "/bin/sh"};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (access(shells[i], X_OK) == 0)
            return shells[i];
    return "/bin/sh";
}
