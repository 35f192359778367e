// SPDX-License-Identifier: MIT
/* A root of the user's own: with root=/dev/… on the kernel's command line and no command to run, init waits for the device,
 * mounts it, moves the system's file systems over and becomes that system's init. What the kernel itself does with these
 * words it does only without an initramfs, and then it lacks the drivers that are modules.
 *
 * root=FOLDER is a folder that is shared: then it is that, as it was mounted (ro or rw, the share decides).
 *
 * root=DEVICE, rootfstype=TYPE[,TYPE…] (else each that the kernel has), rootflags=…, ro (default) or rw, init=PATH; what comes
 * after `--` goes to that init, as do `single` and the runlevels. */
#include "sys.h"

enum {
    WAIT_STEPS = 500, /* of 10 ms: for a device that is slow to appear */
    MOUNT_RDONLY = 1,
    MOUNT_BIND = 4096,
    MOUNT_MOVE = 8192,
    ARGS_MAX = 32,
    WORDS_MAX = 4096,
};

static char words[WORDS_MAX];

struct root {
    const char *device, *types, *flags, *init;
    bool writable;
    char *args[ARGS_MAX + 1];
    unsigned n_args;
};

static size_t slurp(const char *path, char *buf, size_t size)
{
    long fd = SYS(open, path, O_RDONLY | O_CLOEXEC), n;
    size_t at = 0;
    if (fd < 0)
        return 0;
    while (at < size - 1 && (n = SYS(read, fd, buf + at, size - 1 - at)) > 0)
        at += (size_t)n;
    SYS(close, fd);
    buf[at] = 0;
    return at;
}

static bool is(const char *word, const char *name)
{
    size_t n = strlen(name);
    return strlen(word) == n && !memcmp(word, name, n);
}

static const char *value_of(const char *word, const char *key)
{
    size_t n = strlen(key);
    return strlen(word) > n && !memcmp(word, key, n) ? word + n : NULL;
}

static void take_word(struct root *r, char *word, bool own)
{
    const char *v;
    if (own || is(word, "single") || is(word, "-s") || (word[0] >= '1' && word[0] <= '6' && !word[1])) {
        if (r->n_args < ARGS_MAX)
            r->args[r->n_args++] = word;
    } else if ((v = value_of(word, "root="))) {
        r->device = v;
    } else if ((v = value_of(word, "rootfstype="))) {
        r->types = v;
    } else if ((v = value_of(word, "rootflags="))) {
        r->flags = v;
    } else if ((v = value_of(word, "init="))) {
        r->init = v;
    } else if (is(word, "rw") || is(word, "ro")) {
        r->writable = word[1] == 'w';
    }
}

static void read_words(struct root *r)
{
    bool own = false;
    slurp("/proc/cmdline", words, sizeof words);
    r->args[r->n_args++] = NULL; /* the program's name */
    for (char *p = words; *p;) {
        bool quoted = false;
        char *word = p;
        for (; *p && (quoted || (*p != ' ' && *p != '\n')); p++)
            quoted ^= *p == '"';
        if (*p)
            *p++ = 0;
        if (is(word, "--"))
            own = true;
        else if (*word)
            take_word(r, word, own);
    }
}

static long try_type(const struct root *r, const char *type)
{
    long error = SYS(mount, r->device, "/newroot", type, r->writable ? 0 : MOUNT_RDONLY, r->flags);
    if ((error == -EROFS || error == -EACCES) && r->writable) /* a read-only disk */
        error = SYS(mount, r->device, "/newroot", type, MOUNT_RDONLY, r->flags);
    return error;
}

/* Each word of the list, which ends at 0; `lines`: each line of /proc/filesystems that is no `nodev`. */
static long try_types(const struct root *r, char *list, bool lines)
{
    long error = -ENODEV;
    for (char *p = list; *p;) {
        char *word = p;
        while (*p && *p != (lines ? '\n' : ','))
            p++;
        if (*p)
            *p++ = 0;
        if (lines && *word != '\t')
            continue;
        long e = try_type(r, word + lines);
        if (!e)
            return 0;
        if (e != -EINVAL || error == -ENODEV)
            error = e;
    }
    return error;
}

static long mount_root(const struct root *r)
{
    static char types[WORDS_MAX];
    SYS(mkdir, "/newroot", 0755);
    if (!value_of(r->device, "/dev/")) /* a shared folder */
        return SYS(mount, r->device, "/newroot", NULL, MOUNT_BIND, NULL);
    for (unsigned i = 0; SYS(access, r->device, 0) < 0; i++) {
        struct {
            long s, ns;
        } step = {0, 10000000};
        if (i == WAIT_STEPS)
            return -ENXIO;
        SYS(nanosleep, &step, NULL);
    }
    if (r->types) {
        text_join(types, sizeof types, r->types, NULL);
        return try_types(r, types, false);
    }
    slurp("/proc/filesystems", types, sizeof types);
    return try_types(r, types, true);
}

/* Where something of ours goes on in the new root, unless it has no folder for it. */
static void move_mount(const char *from, const char *to)
{
    if (SYS(mount, from, to, NULL, MOUNT_MOVE, NULL) < 0)
        SYS(umount2, from, 2 /* MNT_DETACH */);
}

long root_switch(const char *const *moved)
{
    char to[64];
    for (; *moved; moved++) {
        text_join(to, sizeof to, "/newroot", *moved, NULL);
        move_mount(*moved, to);
    }
    long error = SYS(chdir, "/newroot");
    if (!error)
        error = SYS(mount, ".", "/", NULL, MOUNT_MOVE, NULL);
    if (!error)
        error = SYS(chroot, ".");
    if (!error)
        SYS(chdir, "/");
    return error;
}

static long become(struct root *r, char **envp)
{
    static const char *const moved[] = {"/dev", "/proc", "/sys", "/run", NULL};
    static const char *const inits[] = {"/sbin/init", "/etc/init", "/bin/init", "/bin/sh", NULL};
    uint64_t none = 0;
    struct {
        long handler, flags, restorer;
        uint64_t mask;
    } reset = {0};
    long error = root_switch(moved);
    if (error)
        return error;
    SYS(rt_sigaction, SIG_PIPE, &reset, NULL, sizeof reset.mask);
    SYS(rt_sigprocmask, 2 /* SIG_SETMASK */, &none, NULL, sizeof none);
    long fd = SYS(open, "/dev/console", O_RDWR);
    for (int i = 0; fd > 2 && i < 3; i++)
        SYS(dup2, fd, i);
    if (fd > 2)
        SYS(close, fd);
    for (unsigned i = 0; inits[i]; i++) {
        r->args[0] = (char *)(r->init ? r->init : inits[i]);
        error = SYS(execve, r->args[0], r->args, envp);
        if (r->init)
            break;
    }
    return error;
}

bool root_start(char **envp, char *text, size_t size)
{
    static struct root root;
    struct root *r = &root;
    read_words(r);
    if (!r->device)
        return true;
    if (r->device[0] != '/') {
        text_join(text, size, "root=", r->device, ": a device by its name, please (root=/dev/vda1)", NULL);
        return false;
    }
    long error = mount_root(r);
    if (error) {
        text_join(text, size, "root=", r->device, ": mount: ",
                  error == -ENXIO ? "there is no such device (a disk without partitions is root=/dev/vda)"
                  : error == -ENODEV || error == -EINVAL
                      ? "no file system on it that this kernel knows (--module TYPE)"
                      : text_error(error),
                  NULL);
        return false;
    }
    error = become(r, envp);
    text_join(text, size, "root=", r->device, ": ", r->init ? r->init : "its init", ": ", text_error(error),
              NULL);
    return false;
}
