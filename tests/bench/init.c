// SPDX-License-Identifier: MIT
/* init: process 1 of the guests that are measured: ends the machine at once by a write to port 0xf4, which every VMM here
 * takes as its end (bare, vmlet and QEMU by isa-debug-exit), so that no power-off is in the time. Static, no libc. */
#include <linux/reboot.h>
#include <sys/syscall.h>

static long call(long nr, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    long r;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return r;
}

__attribute__((noreturn)) void _start(void)
{
    if (call(SYS_ioperm, 0xf4, 1, 1, 0) == 0)
        __asm__ volatile("outb %0, %1" : : "a"((unsigned char)42), "Nd"((unsigned short)0xf4));
    for (;;) // a VMM without the port
        call(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, (long)LINUX_REBOOT_CMD_POWER_OFF, 0);
}
