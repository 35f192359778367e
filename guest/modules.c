// SPDX-License-Identifier: MIT
/* Modules in topological order: a walk down `depends=` that adds a module when all below it are there. Names are compared as
 * the kernel does it, `-` and `_` being the same. The index of the module folder is made when the first name is looked up. */
#include "guest/modules.h"

#include "guest/elfdyn.h"
#include "guest/unpack.h"
#include "kvm/host/log.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DEPTH_MAX = 64,
    ITEMS_MAX = 1024,
    FILES_MAX = 65536,
    MODINFO_MAX = 1 << 20,
    NAME_BYTES = 64, /* MODULE_NAME_LEN is 56 */
};

struct known {
    char name[NAME_BYTES];
    char *path; /* NULL: built in */
};

struct modules_index {
    char *dir, *release;
    bool made;
    struct known *files;
    size_t count;
    char **given; /* paths of --module FILE: found by name too */
    size_t n_given;
};

static bool fail(struct modules *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct modules *m, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(m->error, sizeof m->error, fmt, ap);
    va_end(ap);
    return false;
}

/* "drivers/net/foo-bar.ko.xz" -> "foo_bar"; false: no module's name. */
static bool name_of(const char *path, char out[NAME_BYTES])
{
    const char *slash = strrchr(path, '/'), *from = slash ? slash + 1 : path, *end = strstr(from, ".ko");
    size_t n = end ? (size_t)(end - from) : strlen(from);
    if (!n || n >= NAME_BYTES)
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = from[i] == '-' ? '_' : from[i];
    out[n] = 0;
    return true;
}

static bool is_module_file(const char *path)
{
    static const char *const ends[] = {".ko", ".ko.xz", ".ko.zst", ".ko.gz"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (n > strlen(ends[i]) && !strcmp(path + n - strlen(ends[i]), ends[i]))
            return true;
    return false;
}

/* ---- the module folder ---- */

static void index_add(struct modules_index *ix, const char *dir, const char *path, bool builtin)
{
    struct known k = {0};
    if (ix->count >= FILES_MAX || !name_of(path, k.name))
        return;
    if (!(ix->count & (ix->count - 1))) {
        struct known *grown = reallocarray(ix->files, ix->count ? 2 * ix->count : 1, sizeof *grown);
        if (!grown)
            return;
        ix->files = grown;
    }
    if (!builtin && (*path == '/' ? !(k.path = strdup(path)) : asprintf(&k.path, "%s/%s", dir, path) < 0))
        return;
    ix->files[ix->count++] = k;
}

/* modules.dep: `path: paths`; modules.builtin: `path`. false: there is no such list. */
static bool index_list(struct modules_index *ix, const char *list, bool builtin)
{
    char path[PATH_MAX], *line = NULL;
    size_t room = 0;
    snprintf(path, sizeof path, "%s/%s", ix->dir, list);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    while (getline(&line, &room, f) > 0) {
        line[strcspn(line, builtin ? "\n" : ":\n")] = 0;
        if (is_module_file(line))
            index_add(ix, ix->dir, line, builtin);
    }
    free(line);
    fclose(f);
    return true;
}

static struct modules_index *walk_index; /* nftw() hands no argument through; set-up is one thread */

static int walk_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type == FTW_F && is_module_file(path))
        index_add(walk_index, ".", path, false); /* a relative folder is one of the current one */
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct known *)a)->name, ((const struct known *)b)->name);
}

static void index_make(struct modules_index *ix)
{
    ix->made = true;
    if (!ix->dir)
        return;
    index_list(ix, "modules.builtin", true);
    if (!index_list(ix, "modules.dep", false)) {
        walk_index = ix;
        nftw(ix->dir, walk_file, 16, FTW_PHYS);
    }
    if (ix->count)
        qsort(ix->files, ix->count, sizeof *ix->files, by_name);
}

static const struct known *index_find(struct modules_index *ix, const char *name)
{
    struct known key = {0};
    if (!ix->made)
        index_make(ix);
    return name_of(name, key.name) && ix->count ? bsearch(&key, ix->files, ix->count, sizeof key, by_name)
                                                : NULL;
}

/* ---- one module ---- */

/* The value of key in .modinfo ("key=value\0key=value\0…"); NULL if it is not there. */
static const char *info_get(const char *info, size_t size, const char *key)
{
    size_t n = strlen(key);
    for (size_t at = 0; at < size; at += strlen(info + at) + 1)
        if (!strncmp(info + at, key, n) && info[at + n] == '=')
            return info + at + n + 1;
    return NULL;
}

static const struct modules_item *item_find(const struct modules *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (!strcmp(m->items[i].name, name))
            return &m->items[i];
    return NULL;
}

/* What all the functions from add_path() down hand on of one file. */
struct source {
    const char *path;
    struct unpacked *unpacked; /* taken over by append(); data NULL: the file itself is the module */
};

static bool append(struct modules *m, const char *name, const struct source *from, const char *params,
                   bool optional)
{
    if (m->count >= ITEMS_MAX)
        return fail(m, "module %s: more than %d modules", name, ITEMS_MAX);
    struct modules_item *grown = reallocarray(m->items, m->count + 1, sizeof *grown);
    if (!grown)
        return fail(m, "module %s: out of memory", name);
    m->items = grown;
    struct modules_item item = {strdup(name),         strdup(from->path), from->unpacked->data,
                                from->unpacked->size, strdup(params),     optional};
    from->unpacked->data = NULL;
    grown[m->count++] = item;
    return (item.name && item.host_path && item.params) || fail(m, "module %s: out of memory", name);
}

static bool add_path(struct modules *m, const char *path, const char *params, bool optional, int depth);

static bool add_depended(struct modules *m, const char *name, const char *by, bool optional, int depth)
{
    struct modules_index *ix = m->index;
    char plain[NAME_BYTES], given[NAME_BYTES];
    if (!name_of(name, plain))
        return fail(m, "module %s: needs a module with a name that is none", by);
    if (item_find(m, plain)) /* spares the unpacking; a name that its file denies is met below */
        return true;
    for (size_t i = 0; i < ix->n_given; i++)
        if (name_of(ix->given[i], given) && !strcmp(given, plain))
            return add_path(m, ix->given[i], "", optional, depth);
    const struct known *k = index_find(ix, plain);
    if (!k)
        return fail(m,
                    "module %s: needs %s, which is not in %s (--modules-dir DIR, or --module FILE before it)",
                    by, plain, ix->dir ? ix->dir : "any module folder of this kernel");
    return !k->path || add_path(m, k->path, "", optional, depth);
}

static bool check_release(struct modules *m, const char *path, const char *info, size_t size)
{
    const char *release = m->index->release, *magic = info_get(info, size, "vermagic");
    size_t n = magic ? strcspn(magic, " ") : 0;
    if (!release || (n == strlen(release) && !memcmp(magic, release, n)))
        return true;
    return fail(m, "module %s: is for kernel %.*s, and the guest's is %s (build it for that one)", path,
                magic ? (int)n : 7, magic ? magic : "unknown", release);
}

static bool add_info(struct modules *m, const struct source *from, const char *params, bool optional,
                     int depth, const char *info, size_t size)
{
    const char *path = from->path;
    char name[NAME_BYTES];
    const char *own = info_get(info, size, "name"), *depends = info_get(info, size, "depends");
    if (!name_of(own ? own : path, name))
        return fail(m, "module %s: its name is none", path);
    const struct modules_item *there = item_find(m, name);
    if (there) {
        if (optional || !*params || !strcmp(there->params, params))
            return true;
        return fail(m, "module %s: given twice, or needed by one before it: its parameters come too late",
                    name);
    }
    if (depth > DEPTH_MAX)
        return fail(m, "module %s: depends on itself, or on too long a chain", name);
    if (!check_release(m, path, info, size))
        return false;
    for (const char *at = depends; at && *at;) {
        char below[NAME_BYTES];
        size_t n = strcspn(at, ",");
        if (n >= sizeof below)
            return fail(m, "module %s: needs a module with a name that is none", name);
        memcpy(below, at, n);
        below[n] = 0;
        if (n && !add_depended(m, below, name, optional, depth + 1))
            return false;
        at += n;
        at += *at == ',';
    }
    return append(m, name, from, params, optional);
}

/* elf: where the module's bytes can be read by name. */
static bool add_elf(struct modules *m, const struct source *from, const char *elf_path, const char *params,
                    bool optional, int depth)
{
    struct elfdyn elf;
    size_t size;
    if (!elfdyn_read(elf_path, &elf))
        return fail(m, "module %s: is no ELF file", from->path);
    bool fits = elf.type == ET_REL && elf.bits == 64 && elf.machine == EM_X86_64;
    elfdyn_free(&elf);
    if (!fits)
        return fail(m, "module %s: is no kernel module for x86-64", from->path);
    char *info = elfdyn_section(elf_path, ".modinfo", MODINFO_MAX, &size);
    if (!info)
        return fail(m, "module %s: has no .modinfo section", from->path);
    bool ok = add_info(m, from, params, optional, depth, info, size);
    free(info);
    return ok;
}

static bool add_path(struct modules *m, const char *path, const char *params, bool optional, int depth)
{
    struct unpacked unpacked;
    char why[256], name[UNPACK_NAME_BYTES];
    if (access(path, R_OK))
        return fail(m, "module %s: %s", path, strerror(errno));
    if (!unpack(path, &unpacked, name, why, sizeof why))
        return fail(m, "module %s: %s", path, why);
    struct source from = {path, &unpacked};
    bool ok = add_elf(m, &from, unpacked.data ? name : path, params, optional, depth);
    unpack_free(&unpacked);
    return ok;
}

/* ---- what is asked for ---- */

void modules_init(struct modules *m, const char *dir, const char *release)
{
    *m = (struct modules){.index = calloc(1, sizeof *m->index)};
    if (m->index && dir)
        m->index->dir = strdup(dir);
    if (m->index && release)
        m->index->release = strdup(release);
}

static void items_free(struct modules *m, size_t from)
{
    while (m->count > from) {
        struct modules_item *item = &m->items[--m->count];
        free(item->name);
        free(item->host_path);
        free(item->unpacked);
        free(item->params);
    }
}

void modules_free(struct modules *m)
{
    struct modules_index *ix = m->index;
    items_free(m, 0);
    free(m->items);
    for (size_t i = 0; ix && i < ix->count; i++)
        free(ix->files[i].path);
    for (size_t i = 0; ix && i < ix->n_given; i++)
        free(ix->given[i]);
    if (ix) {
        free(ix->files);
        free(ix->given);
        free(ix->dir);
        free(ix->release);
    }
    free(ix);
    *m = (struct modules){0};
}

/* "FILE,a=1,2,b=3" -> name "FILE" and params "a=1,2 b=3", both inside text. */
static char *split(char *text)
{
    char *params = text + strcspn(text, ",");
    if (!*params)
        return params;
    *params++ = 0;
    for (char *comma = params; (comma = strchr(comma, ',')); comma++) {
        size_t n = strcspn(comma + 1, ",=");
        if (comma[1 + n] == '=')
            *comma = ' ';
    }
    return params;
}

bool modules_add(struct modules *m, const char *spec)
{
    struct modules_index *ix = m->index;
    char *text = ix ? strdup(spec) : NULL, **given;
    if (!text)
        return fail(m, "module %s: out of memory", spec);
    char *params = split(text);
    bool ok = false;
    if (!*text) {
        fail(m, "--module %s: no name", spec);
    } else if (strchr(text, '/') || is_module_file(text)) {
        given = reallocarray(ix->given, ix->n_given + 1, sizeof *given);
        if (given) {
            ix->given = given;
            given[ix->n_given] = strdup(text);
            ix->n_given += given[ix->n_given] != NULL;
        }
        ok = add_path(m, text, params, false, 0);
    } else {
        const struct known *k = index_find(ix, text);
        if (!k)
            fail(m, "module %s: not in %s (--modules-dir DIR, or --module ./FILE.ko)", text,
                 ix->dir ? ix->dir : "any module folder of this kernel: none was found");
        else
            ok = !k->path || add_path(m, k->path, params, false, 0);
    }
    free(text);
    return ok;
}

void modules_want(struct modules *m, const char *name)
{
    size_t before = m->count;
    const struct known *k = m->index ? index_find(m->index, name) : NULL;
    if (k && k->path && !add_path(m, k->path, "", true, 0)) {
        warn("%s: left out", m->error);
        items_free(m, before);
        *m->error = 0;
    }
}

/* The folder dir + below, if dir + below + mark is there. */
static char *folder_if(const char *dir, const char *below, const char *mark)
{
    char *path, *found = NULL;
    if (asprintf(&path, "%s/%s/%s", dir, below, mark) < 0)
        return NULL;
    if (!access(path, R_OK)) {
        path[strlen(path) - strlen(mark)] = 0;
        found = realpath(path, NULL);
    }
    free(path);
    return found;
}

char *modules_find_dir(const char *kernel_path, const char *release)
{
    char *image = kernel_path ? realpath(kernel_path, NULL) : NULL, *below = NULL, *found = NULL;
    if (image)
        *strrchr(image, '/') = 0;
    if (release && *release && !strchr(release, '/') && asprintf(&below, "lib/modules/%s", release) < 0)
        below = NULL;
    if (image && below) {
        char *parent = NULL;
        if (asprintf(&parent, "%s/..", image) >= 0) {
            found = folder_if(parent, below, "");
            free(parent);
        }
        if (!found)
            found = folder_if(image, below, "");
    }
    if (!found && image)
        found = folder_if(image, "../../..", "modules.order");
    if (!found && below)
        found = folder_if("", below, "");
    free(image);
    free(below);
    return found;
}
