// SPDX-License-Identifier: MIT
/* The search of ld.so, done on the host: see include/guest/needs.h. Objects are taken from a growing list, breadth first as
 * ld.so does; each remembers who brought it in, since an RPATH counts for all below it. */
#include "guest/needs.h"

#include "guest/elfdyn.h"

#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SCRIPT_DEPTH = 5,
    CONF_DEPTH = 4,
    OBJECTS_MAX = 4096,
};

struct object {
    char *path, *origin;
    char *rpath;   /* NULL when a RUNPATH stands in its place */
    size_t parent; /* SIZE_MAX: none */
};

struct search {
    struct needs *needs;
    struct object *objects;
    size_t n_objects;
    uint8_t bits;
    uint16_t machine;
    char *conf;         /* folders of ld.so.conf, with colons between */
    const char *loader; /* last part of the interpreter: ld.so is there already when a library asks for it */
};

static bool list_add(char ***list, size_t *n, char *text)
{
    char **grown = text ? reallocarray(*list, *n + 1, sizeof **list) : NULL;
    if (!grown) {
        free(text);
        return false;
    }
    *list = grown;
    grown[(*n)++] = text;
    return true;
}

static bool list_has(char *const *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i], text))
            return true;
    return false;
}

static void list_free(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

void needs_free(struct needs *needs)
{
    list_free(needs->programs, needs->n_programs);
    list_free(needs->libraries, needs->n_libraries);
    list_free(needs->missing, needs->n_missing);
    *needs = (struct needs){0};
}

static const char *leaf(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The folder of a path, links in it resolved; malloc()ed. */
static char *folder_of(const char *path)
{
    char text[PATH_MAX];
    size_t n = (size_t)(leaf(path) - path);
    if (n >= sizeof text)
        return NULL;
    memcpy(text, path, n);
    text[n] = 0;
    return realpath(n ? text : "/", NULL);
}

char *needs_which(const char *name, const char *dirs)
{
    char path[PATH_MAX];
    struct stat st;
    bool direct = strchr(name, '/');
    if (!*name)
        return NULL;
    for (const char *at = direct ? "" : dirs;; at++) {
        size_t n = strcspn(at, ":");
        int length = snprintf(path, sizeof path, "%.*s%s%s", (int)n, at, direct ? "" : n ? "/" : "./", name);
        if (length > 0 && (size_t)length < sizeof path && !stat(path, &st) && S_ISREG(st.st_mode) &&
            (direct || !access(path, X_OK))) {
            char *folder = folder_of(path), *whole = NULL;
            if (folder && asprintf(&whole, "%s/%s", strcmp(folder, "/") ? folder : "", leaf(path)) < 0)
                whole = NULL;
            free(folder);
            return whole;
        }
        at += n;
        if (!*at)
            return NULL;
    }
}

/* ---- /etc/ld.so.conf ---- */

static bool conf_append(char **conf, const char *folder)
{
    char *longer;
    if (asprintf(&longer, "%s%s%s", *conf ? *conf : "", *conf ? ":" : "", folder) < 0)
        return false;
    free(*conf);
    *conf = longer;
    return true;
}

static void conf_read(char **conf, const char *path, int depth)
{
    char *line = NULL;
    size_t room = 0;
    FILE *f = depth < CONF_DEPTH ? fopen(path, "re") : NULL;
    if (!f)
        return;
    while (getline(&line, &room, f) > 0) {
        char *text = line + strspn(line, " \t");
        text[strcspn(text, "#\n")] = 0;
        for (size_t n = strlen(text); n && strchr(" \t\r", text[n - 1]); n--)
            text[n - 1] = 0;
        if (*text == '/') {
            conf_append(conf, text);
        } else if (!strncmp(text, "include", 7) && strchr(" \t", text[7])) {
            char pattern[PATH_MAX];
            glob_t found = {0};
            const char *what = text + 7 + strspn(text + 7, " \t");
            int n = snprintf(pattern, sizeof pattern, "%s%s", *what == '/' ? "" : "/etc/", what);
            if (n > 0 && (size_t)n < sizeof pattern && !glob(pattern, 0, NULL, &found))
                for (size_t i = 0; i < found.gl_pathc; i++)
                    conf_read(conf, found.gl_pathv[i], depth + 1);
            globfree(&found);
        }
    }
    free(line);
    fclose(f);
}

/* ---- the search ---- */

/* $ORIGIN and $PLATFORM of a search path's element; false: something else is in it, or it is too long. */
static bool expand(const char *text, size_t n, const char *origin, char out[PATH_MAX])
{
    static const struct {
        const char *name;
        const char *value; /* NULL: the origin */
    } words[] = {
        {"$ORIGIN",     NULL    },
        {"${ORIGIN}",   NULL    },
        {"$PLATFORM",   "x86_64"},
        {"${PLATFORM}", "x86_64"}
    };
    size_t at = 0;
    for (size_t i = 0; i < n;) {
        const char *put = text + i;
        size_t put_n = 1, step = 1;
        for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
            size_t length = strlen(words[w].name);
            if (length <= n - i && !memcmp(text + i, words[w].name, length)) {
                put = words[w].value ? words[w].value : origin;
                put_n = strlen(put);
                step = length;
                break;
            }
        }
        if ((step == 1 && *put == '$') || put_n >= PATH_MAX - at)
            return false;
        memcpy(out + at, put, put_n);
        at += put_n;
        i += step;
    }
    out[at] = 0;
    return at > 0;
}

/* Is the library there, and of the right kind? The path, plain and absolute, malloc()ed. */
static char *library_at(const struct search *s, const char *path)
{
    struct elfdyn elf;
    char *folder, *whole = NULL;
    if (!elfdyn_read(path, &elf))
        return NULL;
    bool fits = elf.bits == s->bits && elf.machine == s->machine && elf.type == ET_DYN;
    elfdyn_free(&elf);
    if (!fits)
        return NULL;
    if (*path == '/' && !strstr(path, "/../") && !strstr(path, "/./"))
        return strdup(path);
    folder = folder_of(path);
    if (folder && asprintf(&whole, "%s/%s", folder, leaf(path)) < 0)
        whole = NULL;
    free(folder);
    return whole;
}

static char *library_in(const struct search *s, const char *dirs, const char *origin, const char *name)
{
    for (const char *at = dirs; dirs && *at;) {
        char folder[PATH_MAX], path[PATH_MAX];
        size_t n = strcspn(at, ":");
        if (expand(at, n, origin, folder)) {
            int length = snprintf(path, sizeof path, "%s/%s", folder, name);
            char *found = length > 0 && (size_t)length < sizeof path ? library_at(s, path) : NULL;
            if (found)
                return found;
        }
        at += n;
        at += *at == ':';
    }
    return NULL;
}

static char *library_find(struct search *s, size_t by, const struct elfdyn *elf, const char *name)
{
    static const char defaults[] =
        "/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib64:/usr/lib64:/lib:/usr/lib";
    static const char defaults32[] =
        "/lib/i386-linux-gnu:/usr/lib/i386-linux-gnu:/lib32:/usr/lib32:/lib:/usr/lib";
    const char *origin = s->objects[by].origin;
    char *found = NULL;
    if (strchr(name, '/'))
        return library_at(s, name);
    for (size_t i = by; !elf->runpath && !found && i != SIZE_MAX; i = s->objects[i].parent)
        found = library_in(s, s->objects[i].rpath, s->objects[i].origin, name);
    if (!found)
        found = library_in(s, elf->runpath, origin, name);
    if (!found)
        found = library_in(s, s->bits == 64 ? defaults : defaults32, origin, name);
    if (!found && (found = library_in(s, s->conf, origin, name)))
        s->needs->by_cache = true;
    return found;
}

static bool object_add(struct search *s, const char *path, const struct elfdyn *elf, size_t parent)
{
    struct object *grown =
        s->n_objects < OBJECTS_MAX ? reallocarray(s->objects, s->n_objects + 1, sizeof *grown) : NULL;
    if (!grown)
        return false;
    s->objects = grown;
    struct object *o = &grown[s->n_objects++];
    *o = (struct object){.path = strdup(path), .parent = parent};
    /* ld.so asks /proc/self/exe for the program's folder, and takes a library's from the name that it found. */
    char *real = parent == SIZE_MAX ? realpath(path, NULL) : NULL;
    o->origin = folder_of(real ? real : path);
    free(real);
    if (elf->rpath && !elf->runpath)
        o->rpath = strdup(elf->rpath);
    return o->path && o->origin;
}

static bool object_needs(struct search *s, size_t i)
{
    struct elfdyn elf;
    bool ok = true;
    if (!elfdyn_read(s->objects[i].path, &elf))
        return true;
    for (unsigned k = 0; ok && k < elf.count; k++) {
        struct needs *n = s->needs;
        const char *name = elf.needed[k];
        if (!strcmp(leaf(name), s->loader))
            continue;
        char *path = library_find(s, i, &elf, name);
        if (!path) {
            if (!list_has(n->missing, n->n_missing, name))
                ok = list_add(&n->missing, &n->n_missing, strdup(name));
            continue;
        }
        if (list_has(n->libraries, n->n_libraries, path)) {
            free(path);
            continue;
        }
        struct elfdyn library;
        ok = list_add(&n->libraries, &n->n_libraries, path);
        if (ok && elfdyn_read(path, &library)) {
            ok = object_add(s, path, &library, i);
            elfdyn_free(&library);
        }
    }
    elfdyn_free(&elf);
    return ok;
}

static bool find_libraries(const char *path, const struct elfdyn *elf, struct needs *needs)
{
    struct search s = {
        .needs = needs, .bits = elf->bits, .machine = elf->machine, .loader = leaf(elf->interp)};
    bool ok = object_add(&s, path, elf, SIZE_MAX);
    if (*elf->interp == '/' && !list_has(needs->libraries, needs->n_libraries, elf->interp)) {
        if (access(elf->interp, R_OK))
            ok = ok && list_add(&needs->missing, &needs->n_missing, strdup(elf->interp));
        else
            ok = ok && list_add(&needs->libraries, &needs->n_libraries, strdup(elf->interp));
    }
    conf_read(&s.conf, "/etc/ld.so.conf", 0);
    for (size_t i = 0; ok && i < s.n_objects; i++)
        ok = object_needs(&s, i);
    for (size_t i = 0; i < s.n_objects; i++) {
        free(s.objects[i].path);
        free(s.objects[i].origin);
        free(s.objects[i].rpath);
    }
    free(s.objects);
    free(s.conf);
    return ok;
}

/* ---- scripts ---- */

static bool find(const char *path, struct needs *needs, int depth);

/* `#!/usr/bin/env -S NAME=value program`: the program is needed too. */
static bool find_env_word(char *words, struct needs *needs, int depth)
{
    const char *dirs = getenv("PATH");
    for (char *save, *word = strtok_r(words, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
        if (*word == '-' || strchr(word, '='))
            continue;
        char *path = needs_which(word, dirs ? dirs : "/usr/bin:/bin");
        bool ok = !path || find(path, needs, depth);
        free(path);
        return ok;
    }
    return true;
}

static bool find_interpreter(const char *path, struct needs *needs, int depth)
{
    char line[256] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : pread(fd, line, sizeof line - 1, 0);
    if (fd >= 0)
        close(fd);
    if (n < 2 || line[0] != '#' || line[1] != '!' || depth >= SCRIPT_DEPTH)
        return true;
    line[strcspn(line, "\n")] = 0;
    char *name = line + 2 + strspn(line + 2, " \t"), *rest = name + strcspn(name, " \t");
    if (*rest)
        *rest++ = 0;
    if (*name != '/' || access(name, R_OK))
        return true;
    char *whole = needs_which(name, "");
    bool ok = !whole || find(whole, needs, depth + 1);
    if (ok && !strcmp(leaf(name), "env"))
        ok = find_env_word(rest, needs, depth + 1);
    free(whole);
    return ok;
}

static bool find(const char *path, struct needs *needs, int depth)
{
    struct elfdyn elf;
    if (list_has(needs->programs, needs->n_programs, path))
        return true;
    if (!list_add(&needs->programs, &needs->n_programs, strdup(path)))
        return false;
    if (!elfdyn_read(path, &elf))
        return find_interpreter(path, needs, depth);
    bool ok = find_libraries(path, &elf, needs);
    elfdyn_free(&elf);
    return ok;
}

bool needs_find(const char *path, struct needs *needs)
{
    *needs = (struct needs){0};
    if (find(path, needs, 0))
        return true;
    needs_free(needs);
    return false;
}
