// SPDX-License-Identifier: MIT
/* Puts the generated initramfs together: see include/guest/initramfs.h. The order decides who wins: the house first, then the
 * command and what it needs, busybox's links only where no file is, and what the user added last, over all of it. */
#include "guest/initramfs.h"

#include "guest/busybox.h"
#include "guest/command_file.h"
#include "guest/elfdyn.h"
#include "guest/identity.h"
#include "guest/modules.h"
#include "guest/needs.h"
#include "kvm/host/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fail(struct initramfs_error *error, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static bool fail(struct initramfs_error *error, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error->status = status;
    vsnprintf(error->text, sizeof error->text, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- the house ---- */

static void add_house(struct cpio *c)
{
    static const struct {
        const char *name, *target; /* target NULL: a folder */
    } entries[] = {
        {"/usr/bin",         NULL                 },
        {"/usr/lib",         NULL                 },
        {"/usr/lib64",       NULL                 },
        {"/bin",             "usr/bin"            },
        {"/sbin",            "usr/bin"            },
        {"/usr/sbin",        "bin"                },
        {"/lib",             "usr/lib"            },
        {"/lib64",           "usr/lib64"          },
        {"/proc",            NULL                 },
        {"/sys",             NULL                 },
        {"/dev",             NULL                 },
        {"/run",             NULL                 },
        {"/root",            NULL                 },
        {"/mnt",             NULL                 },
        {"/var/tmp",         NULL                 },
        {"/var/run",         "../run"             },
        {"/etc/mtab",        "../proc/self/mounts"},
        {"/etc/resolv.conf",
         "../proc/net/pnp"                        }, /* ip=dhcp writes the servers there; init puts a file in its place */
    };
    static const struct {
        const char *name, *text;
    } files[] = {
        {"/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
        {"/etc/group",  "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"                                  },
        {"/etc/hosts",  "127.0.0.1 localhost\n::1 localhost\n"                                     },
    };
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        if (entries[i].target)
            cpio_symlink(c, entries[i].name, entries[i].target);
        else
            cpio_dir(c, entries[i].name, 0755);
    cpio_dir(c, "/tmp", 01777);
    cpio_node(c, "/dev/console", S_IFCHR | 0600, 5, 1);
    cpio_node(c, "/dev/null", S_IFCHR | 0666, 1, 3);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        cpio_static(c, files[i].name, 0644, files[i].text, strlen(files[i].text));
    cpio_static(c, "/init", 0755, init_blob, (size_t)(init_blob_end - init_blob));
}

/* ---- the command ---- */

/* A file at its real place, and a link to it under the name that it is called by. */
static void add_program(struct cpio *c, const char *path)
{
    char *real = realpath(path, NULL);
    cpio_file(c, real ? real : path, real ? real : path);
    if (real && !cpio_has(c, path))
        cpio_symlink(c, path, real);
    free(real);
}

static bool add_needs(struct cpio *c, const char *path, struct initramfs_error *error)
{
    struct needs needs;
    if (!needs_find(path, &needs))
        return fail(error, 125, "initramfs: out of memory");
    for (size_t i = 0; i < needs.n_programs; i++)
        add_program(c, needs.programs[i]);
    for (size_t i = 0; i < needs.n_libraries; i++)
        cpio_file(c, needs.libraries[i], needs.libraries[i]);
    if (needs.by_cache)
        cpio_file(c, "/etc/ld.so.cache", "/etc/ld.so.cache");
    for (size_t i = 0; i < needs.n_missing; i++)
        warn("initramfs: %s: needs %s, which is not on the host (--add it if the guest has it elsewhere)",
             path, needs.missing[i]);
    needs_free(&needs);
    return true;
}

static const char *machine_name(uint16_t machine)
{
    static const struct {
        uint16_t machine;
        const char *name;
    } names[] = {
        {EM_AARCH64, "arm64"  },
        {EM_ARM,     "arm"    },
        {EM_RISCV,   "RISC-V" },
        {EM_PPC64,   "ppc64"  },
        {EM_S390,    "s390"   },
        {EM_MIPS,    "MIPS"   },
        {EM_PPC,     "ppc"    },
        {EM_SPARCV9, "sparc64"}
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].machine == machine)
            return names[i].name;
    return "another architecture";
}

static bool add_command(struct cpio *c, const char *path, bool with_needs, struct initramfs_error *error)
{
    struct elfdyn elf;
    if (elfdyn_read(path, &elf)) {
        uint16_t machine = elf.machine;
        elfdyn_free(&elf);
        if (machine != EM_X86_64 && machine != EM_386)
            return fail(error, 126, "%s: is a program for %s, and the guest is x86-64", path,
                        machine_name(machine));
    }
    return !with_needs || add_needs(c, path, error);
}

/* The command's place on the host, NULL if it has none; *program is what init is to execute, NULL for argv[0]. */
static char *locate(const struct initramfs_spec *spec, const char **program)
{
    const char *name = spec->argv ? spec->argv[0] : "/bin/sh", *path = getenv("PATH");
    char *found = needs_which(name, path && *path ? path : IDENTITY_PATH);
    *program = found && spec->argv && (spec->cwd || !strchr(name, '/')) ? found : NULL;
    return found;
}

/* ---- modules and added files ---- */

static char *const *add_modules(struct cpio *c, struct modules *m)
{
    char **list = calloc(2 * m->count + 1, sizeof *list);
    for (size_t i = 0; list && i < m->count; i++) {
        const struct modules_item *item = &m->items[i];
        if (asprintf(&list[2 * i], "%s/.vmlet/modules/%s.ko", item->optional ? "?" : "", item->name) < 0)
            break;
        list[2 * i + 1] = item->params;
        if (item->unpacked)
            cpio_bytes(c, list[2 * i] + item->optional, 0644, item->unpacked, item->size);
        else
            cpio_file(c, list[2 * i] + item->optional, item->host_path);
    }
    return list;
}

static bool find_modules(const struct initramfs_spec *spec, struct modules *m, struct initramfs_error *error)
{
    char *found = NULL;
    const char *dir = spec->modules_dir;
    struct stat st;
    if (dir && (stat(dir, &st) || !S_ISDIR(st.st_mode)))
        return fail(error, 125, "--modules-dir %s: %s", dir,
                    errno && stat(dir, &st) ? strerror(errno) : "is no folder");
    if (!dir)
        dir = found = modules_find_dir(spec->kernel_path, spec->kernel_release);
    modules_init(m, dir, spec->kernel_release);
    free(found);
    for (size_t i = 0; spec->modules && spec->modules[i]; i++)
        if (!modules_add(m, spec->modules[i]))
            return fail(error, 125, "%s", m->error);
    for (size_t i = 0; spec->wanted && spec->wanted[i]; i++)
        modules_want(m, spec->wanted[i]);
    return true;
}

/* Into the layer above the host's root, under the folder's real name; folders that the host has keep their modes. */
static bool add_layer(struct cpio *c, const char *inside, const char *host)
{
    char path[PATH_MAX], real[PATH_MAX], name[PATH_MAX + sizeof SHARE_ADDED];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s", inside);
    char *slash = n > 0 && (size_t)n < sizeof path ? strrchr(path, '/') : NULL;
    if (slash) {
        *slash = 0;
        if (realpath(*path ? path : "/", real))
            snprintf(path, sizeof path, "%s%s", strcmp(real, "/") ? real : "", inside + (slash - path));
        else
            *slash = '/';
    }
    for (char *p = path; (p = strchr(p + 1, '/'));) {
        *p = 0;
        snprintf(name, sizeof name, SHARE_ADDED "%s", path);
        if (!stat(path, &st) && S_ISDIR(st.st_mode) && !cpio_dir(c, name, st.st_mode & 07777))
            return false;
        *p = '/';
    }
    snprintf(name, sizeof name, SHARE_ADDED "%s", path);
    return cpio_tree(c, name, host);
}

/* FILE[:PATH]: without PATH it goes where it is on the host. */
static bool add_named(struct cpio *c, const char *spec, bool host_root, struct initramfs_error *error)
{
    char host[PATH_MAX], *real = NULL;
    const char *colon = strrchr(spec, ':'), *inside = NULL;
    size_t n = strlen(spec);
    if (colon && colon[1] == '/' && access(spec, F_OK)) { /* a file's own name may hold a colon */
        n = (size_t)(colon - spec);
        inside = colon + 1;
    }
    if (!n || n >= sizeof host)
        return fail(error, 125, "--add %s: no file is named", spec);
    memcpy(host, spec, n);
    host[n] = 0;
    if (access(host, R_OK))
        return fail(error, 125, "--add %s: %s", host, strerror(errno));
    if (!inside) {
        /* The folder's links are resolved, the name is kept. */
        char *slash = strrchr(host, '/'), folder[PATH_MAX];
        bool whole = !strcmp(host, "/") || !strcmp(host, ".") || !strcmp(host, "..") ||
                     (slash && !slash[1]) || (slash && (!strcmp(slash, "/.") || !strcmp(slash, "/..")));
        snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - host) : 1, slash ? host : ".");
        real = realpath(whole ? host : *folder ? folder : "/", NULL);
        char *name = NULL;
        if (!real || asprintf(&name, "%s%s%s", strcmp(real, "/") ? real : "", whole ? "" : "/",
                              whole   ? ""
                              : slash ? slash + 1
                                      : host) < 0)
            name = NULL;
        free(real);
        inside = real = name;
    }
    bool ok = inside && (host_root ? add_layer(c, inside, host) : cpio_tree(c, inside, host));
    free(real);
    return ok || fail(error, 125, "--add: %s", *cpio_error(c) ? cpio_error(c) : "out of memory");
}

/* ---- all together ---- */

/* Folders that init mounts something over: what the archive has there cannot be seen. */
static bool is_mounted_over(const char *folder)
{
    static const char *const tops[] = {"/proc", "/sys", "/dev"};
    for (size_t i = 0; i < sizeof tops / sizeof tops[0]; i++) {
        size_t n = strlen(tops[i]);
        if (!strncmp(folder, tops[i], n) && (folder[n] == '/' || !folder[n]))
            return true;
    }
    return false;
}

static bool write_command_file(struct cpio *c, const struct initramfs_spec *spec, const char *program,
                               bool install, char *const *modules)
{
    char *here = spec->cwd ? NULL : getcwd(NULL, 0);
    const char *folder = spec->cwd ? spec->cwd : here && !is_mounted_over(here) ? here : "/";
    struct command_file f = {
        .flags = (spec->pty ? COMMAND_PTY : 0) | (spec->pty && spec->pty_stderr ? COMMAND_PTY_STDERR : 0) |
                 (install ? COMMAND_BUSYBOX_INSTALL : 0) | (spec->dhcp ? COMMAND_DHCP : 0) |
                 (spec->cards ? COMMAND_CARDS : 0),
        .uid = spec->uid,
        .gid = spec->gid,
        .winsize = {.rows = spec->rows, .cols = spec->cols},
        .folder = spec->argv || spec->host_root ? folder : "/root",
        .hostname = spec->hostname ? spec->hostname : HOSTNAME_DEFAULT,
        .program = program,
        .argv = spec->argv,
        .envp = spec->env,
        .modules = (const char *const *)modules,
        .shares = spec->shares,
    };
    size_t size;
    void *bytes = command_file_make(&f, &size);
    bool ok = bytes && (spec->host_root || cpio_dir(c, folder, !strcmp(folder, "/tmp") ? 01777 : 0755)) &&
              cpio_bytes(c, COMMAND_FILE, 0400, bytes, size);
    free(bytes);
    free(here);
    return ok;
}

static bool build(struct cpio *c, const struct initramfs_spec *spec, struct modules *m,
                  struct initramfs_error *error)
{
    const char *program, *busybox = spec->no_busybox || spec->host_root ? NULL : busybox_find();
    bool install = false;
    add_house(c);
    char *path = locate(spec, &program);
    if (!spec->argv && spec->shell)
        program = spec->shell;
    if (path && (spec->argv || !busybox) && !add_command(c, path, !spec->host_root, error)) {
        free(path);
        return false;
    }
    if (busybox)
        busybox_add(c, busybox, &install);
    char *const *modules = add_modules(c, m);
    bool ok = modules && write_command_file(c, spec, program, install, modules);
    for (size_t i = 0; modules && i < m->count; i++)
        free(modules[2 * i]);
    free((void *)(uintptr_t)modules);
    free(path);
    for (size_t i = 0; ok && spec->add && spec->add[i]; i++)
        if (!add_named(c, spec->add[i], spec->host_root, error))
            return false;
    if (*cpio_error(c))
        return fail(error, 125, "%s", cpio_error(c));
    return ok || fail(error, 125, "initramfs: out of memory");
}

struct cpio *initramfs_build(const struct initramfs_spec *spec, struct initramfs_error *error)
{
    struct cpio *c = cpio_new();
    struct modules m = {0};
    *error = (struct initramfs_error){.status = 125};
    bool ok = c ? find_modules(spec, &m, error) && build(c, spec, &m, error)
                : fail(error, 125, "initramfs: out of memory");
    modules_free(&m);
    if (ok)
        return c;
    cpio_free(c);
    return NULL;
}
