// SPDX-License-Identifier: MIT
/* Folders of the host (virtio-fs), each where it is on the host. The one that is shared as `/` becomes the root:
 * read-only, under an overlay whose upper side is a tmpfs of its own, so that whatever the guest writes is gone with it.
 * What the guest has for itself goes along: /proc, /sys, /dev, /run and /tmp; the last two not where the command's
 * folder, the command itself or an added file lies there: then it is the host's. Files that were added by name lie in a
 * layer of their own between the two. */
#include "sys.h"

enum {
    MOUNT_RDONLY = 1,
    MOUNT_NOSUID = 2,
    MOUNT_NODEV = 4,
};

#define OVER   "/.vmlet/over"
#define LOWER  "/.vmlet/host"
#define LAYERS "lowerdir=" SHARE_ADDED ":" LOWER ",upperdir=" OVER "/upper,workdir=" OVER "/work"
#define ROOT   "/newroot"

static bool fail(char *text, size_t size, const char *folder, const char *what, const char *why)
{
    text_join(text, size, "--share ", folder, ": ", what, why, NULL);
    return false;
}

/* The folder with all above it. */
static void make_folders(const char *path)
{
    char part[4096];
    size_t n = text_join(part, sizeof part, path, NULL);
    for (size_t i = 1; i <= n; i++)
        if (part[i] == '/' || !part[i]) {
            char c = part[i];
            part[i] = 0;
            SYS(mkdir, part, 0755);
            part[i] = c;
        }
}

static bool mount_share(const char *tag, const char *folder, const char *at, bool ro, char *text, size_t size)
{
    make_folders(at);
    long error = SYS(mount, tag, at, "virtiofs", ro ? MOUNT_RDONLY : 0, NULL);
    if (!error)
        return true;
    return fail(text, size, folder,
                error == -ENODEV   ? "this kernel has no virtio-fs"
                : error == -EINVAL ? "this kernel has virtio-fs, but no driver for virtio over PCI"
                                   : "mount: ",
                error == -ENODEV || error == -EINVAL
                    ? " (CONFIG_VIRTIO_FS, CONFIG_VIRTIO_PCI, or their modules)"
                    : text_error(error));
}

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strlen(path) >= n && !memcmp(path, folder, n) && (path[n] == '/' || !path[n]);
}

/* The mounts that go along; a folder that is fresh in a guest is the host's where something in it is asked for. */
static void choose(const struct command *cmd, const char **moved)
{
    static const char *const mounts[] = {"/dev", "/proc", "/sys", "/run", "/tmp"};
    char path[128];
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        const char *m = mounts[i];
        text_join(path, sizeof path, SHARE_ADDED, m, NULL);
        if (i > 2 && (is_below(cmd->folder, m) || is_below(cmd->program, m) || SYS(access, path, 0) >= 0))
            continue;
        *moved++ = m;
        text_join(path, sizeof path, ROOT, m, NULL);
        SYS(mkdir, path, 0755);
    }
    *moved = NULL;
}

static bool mount_root(const struct command *cmd, const char *tag, char *text, size_t size)
{
    const char *moved[8];
    if (!mount_share(tag, "/", LOWER, true, text, size))
        return false;
    make_folders(OVER);
    make_folders(SHARE_ADDED);
    SYS(mkdir, ROOT, 0755);
    SYS(mount, "overlay", OVER, "tmpfs", MOUNT_NOSUID | MOUNT_NODEV, "mode=755");
    SYS(mkdir, OVER "/upper", 0755);
    SYS(mkdir, OVER "/work", 0755);
    /* redirect_dir: folders can be renamed, as everywhere */
    long error = SYS(mount, "vmlet", ROOT, "overlay", 0, LAYERS ",redirect_dir=on");
    if (error == -EINVAL)
        error = SYS(mount, "vmlet", ROOT, "overlay", 0, LAYERS);
    if (error)
        return fail(text, size, "/", "mount: ",
                    error == -ENODEV
                        ? "this kernel has no overlay file system (CONFIG_OVERLAY_FS, or its module)"
                        : text_error(error));
    choose(cmd, moved);
    error = root_switch(moved);
    return !error || fail(text, size, "/", "chroot: ", text_error(error));
}

bool share_start(const struct command *cmd, char *text, size_t size)
{
    for (uint32_t i = 0; i < cmd->shares; i++) {
        const char *const *word = &cmd->share[(size_t)SHARE_WORDS * i];
        const char *tag = word[0], *folder = word[1];
        bool ro = word[2][0] == 'r';
        if (folder[0] == '/' && !folder[1] ? !mount_root(cmd, tag, text, size)
                                           : !mount_share(tag, folder, folder, ro, text, size))
            return false;
    }
    return true;
}

bool share_has_root(const struct command *cmd)
{
    return cmd->shares && cmd->share[1][0] == '/' && !cmd->share[1][1];
}
