// SPDX-License-Identifier: MIT
/* The folder of control sockets. It is ours alone or it is refused: another user who could put a socket or a symbolic link
 * into it would be talked to as if he were a guest. Everything is looked at through one descriptor of the folder, and
 * sockets are never followed through links. */
#include "ctl_path.h"
#include "kvm/host/ctl.h"
#include "kvm/host/opts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

const char *ctl_name_error(const char *name)
{
    size_t n = strlen(name);
    bool good = n > 0 && n <= CTL_NAME && name[0] != '.' && name[0] != '-';
    for (size_t i = 0; i < n && good; i++)
        good = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
               (name[i] >= '0' && name[i] <= '9') || strchr("_.-+@", name[i]);
    return good ? NULL
                : opts_say("name \"%.*s%s\": must be 1 to %d letters, digits and _ . - + @, not first a dot "
                           "or a dash",
                           CTL_NAME, name, n > CTL_NAME ? "..." : "", CTL_NAME);
}

/* XDG_RUNTIME_DIR as sudo and su leave it may be another user's: both ends skip it then. */
static const char *runtime_dir(void)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    struct stat st;
    if (!dir || dir[0] != '/' || stat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return NULL;
    return dir;
}

int ctl_dir_open(bool create, const char **path, const char **error)
{
    const char *base = runtime_dir();
    *error = NULL;
    *path = base ? opts_say("%s/vmlet", base) : opts_say("/tmp/vmlet-%u", (unsigned)geteuid());
    bool made = create && mkdir(*path, 0700) == 0;
    if (create && !made && errno != EEXIST) {
        *error = opts_say("control folder %s: mkdir: %s (set XDG_RUNTIME_DIR)", *path, strerror(errno));
        return -1;
    }
    int dir = open(*path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (dir < 0) {
        if (errno == ENOENT && !create)
            return -1;
        *error = errno == ENOTDIR || errno == ELOOP
                     ? opts_say("control folder %s: is no folder, or a symbolic link (remove it)", *path)
                     : opts_say("control folder %s: open: %s", *path, strerror(errno));
        return -1;
    }
    if (fstat(dir, &st) < 0 || st.st_uid != geteuid())
        *error =
            opts_say("control folder %s: belongs to another user (remove it, or set XDG_RUNTIME_DIR)", *path);
    else if (made && fchmod(dir, 0700) < 0) /* a umask may have taken our own bits away */
        *error = opts_say("control folder %s: chmod: %s", *path, strerror(errno));
    else if (!made && (st.st_mode & 0077))
        *error = opts_say("control folder %s: is open to other users (chmod 700 it)", *path);
    if (*error) {
        close(dir);
        return -1;
    }
    return dir;
}

const char *ctl_beside(const char *name, const char *suffix, const char **error)
{
    const char *path;
    if ((*error = ctl_name_error(name)))
        return NULL;
    int dir = ctl_dir_open(true, &path, error);
    if (dir < 0)
        return NULL;
    close(dir);
    return opts_say("%s/%s%s", path, name, suffix);
}

const char *ctl_address(const char *dir_path, const char *name, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(address->sun_path, sizeof address->sun_path, "%s/%s.sock", dir_path, name);
    if (n > 0 && (size_t)n < sizeof address->sun_path)
        return NULL;
    return opts_say("control socket %s/%s.sock: is longer than the %zu bytes of a socket's path "
                    "(use a shorter --name, or set XDG_RUNTIME_DIR)",
                    dir_path, name, sizeof address->sun_path - 1);
}

int ctl_connect(int dir, const char *name, const struct sockaddr_un *address, bool block)
{
    char file[CTL_NAME + 8];
    struct stat st;
    snprintf(file, sizeof file, "%s.sock", name);
    if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (!S_ISSOCK(st.st_mode)) {
        errno = ENOTSOCK;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (block ? 0 : SOCK_NONBLOCK), 0);
    if (fd < 0)
        return -1;
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* connect() too: a full queue */
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}
