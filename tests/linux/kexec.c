// SPDX-License-Identifier: MIT
/* kexec KERNEL INITRD CMDLINE: the next kernel, at once, with devices as they are. Runs in a guest, so static; Debian's kexec needs
 * libraries that no guest has. */
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int kernel = argc == 4 ? open(argv[1], O_RDONLY) : -1, initrd = argc == 4 ? open(argv[2], O_RDONLY) : -1;
    if (kernel < 0 || initrd < 0 ||
        syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[3]) + 1, argv[3], 0UL)) {
        perror("kexec");
        return 1;
    }
    syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
    perror("reboot");
    return 1;
}
