// SPDX-License-Identifier: MIT
/* What a userspace expects to find: file systems, a few device names, the loopback interface, and for init
 * itself the line to vmlet. A kernel may lack any of it (no devtmpfs, no proc, no network): what cannot be
 * had is left out, and the command says what it misses. */
#include "sys.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <linux/if.h>
#include <linux/reboot.h>
#include <linux/serial.h>
#include <linux/serial_core.h>

enum {
    MOUNT_NOSUID = 2,
    MOUNT_NODEV = 4,
    MOUNT_NOEXEC = 8,
    MODE_CHAR = 0020000,
    NET_INET = 2,
    NET_DGRAM = 2,
};
/* <linux/sockios.h> */
#define SIOC_GIFFLAGS 0x8913
#define SIOC_SIFFLAGS 0x8914

static void mount_at(const char *type, const char *folder, unsigned mode, unsigned long flags,
                     const char *data)
{
    SYS(mkdir, folder, mode);
    SYS(mount, type, folder, type, flags, data);
}

/* A folder that the initramfs brought something in (a command or an added file below /tmp, say) is left as it
 * is: it lies in memory as well. */
static bool is_empty(const char *folder)
{
    long fd = SYS(open, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint64_t entries[512];
    if (fd < 0)
        return true;
    long n = SYS(getdents64, fd, entries, sizeof entries);
    SYS(close, fd);
    return n <= 48; /* two entries of 24 bytes: `.` and `..` */
}

static void tmpfs_at(const char *folder, unsigned mode, const char *data)
{
    SYS(mkdir, folder, mode);
    if (is_empty(folder))
        mount_at("tmpfs", folder, mode, MOUNT_NOSUID | MOUNT_NODEV, data);
}

/* For kernels without devtmpfs; where there is one these exist already. */
static void make_nodes(void)
{
    static const struct {
        const char *name;
        unsigned mode, major, minor;
    } nodes[] = {
        {"/dev/console", 0600, 5, 1 },
        {"/dev/tty",     0666, 5, 0 },
        {"/dev/ptmx",    0666, 5, 2 },
        {"/dev/null",    0666, 1, 3 },
        {"/dev/zero",    0666, 1, 5 },
        {"/dev/full",    0666, 1, 7 },
        {"/dev/random",  0666, 1, 8 },
        {"/dev/urandom", 0666, 1, 9 },
        {"/dev/kmsg",    0644, 1, 11},
        {"/dev/ttyS0",   0600, 4, 64},
        {"/dev/ttyS1",   0600, 4, 65},
        {"/dev/ttyS2",   0600, 4, 66},
        {"/dev/ttyS3",   0600, 4, 67},
    };
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++)
        SYS(mknod, nodes[i].name, MODE_CHAR | nodes[i].mode, nodes[i].major << 8 | nodes[i].minor);
}

static void lo_up(void)
{
    long fd = SYS(socket, NET_INET, NET_DGRAM | O_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo"};
    if (fd < 0)
        return;
    if (SYS(ioctl, fd, SIOC_GIFFLAGS, &request) >= 0) {
        request.ifr_flags |= IFF_UP;
        SYS(ioctl, fd, SIOC_SIFFLAGS, &request);
    }
    SYS(close, fd);
}

void setup_system(void)
{
    SYS(umask, 0);
    SYS(chmod, "/", 0755); /* a tmpfs as root comes with 01777 */
    mount_at("proc", "/proc", 0555, MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC, NULL);
    mount_at("sysfs", "/sys", 0555, MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC, NULL);
    mount_at("devtmpfs", "/dev", 0755, MOUNT_NOSUID, NULL); /* EBUSY where the kernel did it itself */
    make_nodes();
    mount_at("devpts", "/dev/pts", 0755, MOUNT_NOSUID | MOUNT_NOEXEC, "mode=620,ptmxmode=666");
    tmpfs_at("/dev/shm", 01777, "mode=1777");
    tmpfs_at("/run", 0755, "mode=755");
    tmpfs_at("/tmp", 01777, "mode=1777");
    SYS(symlink, "/proc/self/fd", "/dev/fd");
    SYS(symlink, "/proc/self/fd/0", "/dev/stdin");
    SYS(symlink, "/proc/self/fd/1", "/dev/stdout");
    SYS(symlink, "/proc/self/fd/2", "/dev/stderr");
    SYS(umask, 022);
    lo_up();
}

void setup_hostname(const char *name)
{
    SYS(sethostname, name, strlen(name));
}

int setup_line(const char **why)
{
    /* O_NONBLOCK: do not wait for a carrier. */
    long fd = SYS(open, "/dev/ttyS1", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    struct termios raw = {
        .c_iflag = IGNBRK | IGNPAR,
        .c_cflag = B115200 | CS8 | CREAD | CLOCAL,
    };
    raw.c_cc[VMIN] = 1;
    struct serial_struct port = {.type = PORT_16550A};
    if (fd < 0) {
        *why = text_error(fd);
        return -1;
    }
    /* A name without a port behind it can be opened too, and swallows all. */
    if (SYS(ioctl, fd, TIOCGSERIAL, &port) >= 0 && port.type == PORT_UNKNOWN) {
        *why = "there is no second serial port";
        return -1;
    }
    long error = SYS(ioctl, fd, TCSETS, &raw);
    if (error < 0) {
        *why = text_error(error);
        return -1;
    }
    return (int)fd;
}

_Noreturn void setup_end(enum ending how)
{
    static const unsigned commands[] = {
        [END_POWER_OFF] = LINUX_REBOOT_CMD_POWER_OFF,
        [END_RESTART] = LINUX_REBOOT_CMD_RESTART,
        [END_HALT] = LINUX_REBOOT_CMD_HALT,
    };
    SYS(sync);
    SYS(reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, commands[how], 0);
    SYS(reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_RESTART, 0);
    for (;;)
        SYS(pause);
}
