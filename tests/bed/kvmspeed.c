// SPDX-License-Identifier: MIT
// kvmspeed: does /dev/kvm run ring 0 at the speed of a processor? No KVM call tells a software KVM, whose
// ring 0 goes through KVM's instruction emulator, from one on hardware: so time a loop of twenty million
// turns, which takes the processor 20 ms, TCG's SVM a quarter of a second, and the emulator half a minute.
// The cut-off is one second.
//
//   kvmspeed          says what it found in one line; status 0 fast, 1 too slow for Linux, 2 no usable KVM
//   kvmspeed --hold   keeps two idle VMs until killed
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <linux/kvm.h>

enum {
    FAST = 0,
    SLOW = 1,
    NONE = 2
};
enum {
    LOAD = 0x1000,
    MEMORY = 0x10000,
    PORT = 0xf8
};

static const uint8_t loop[] = {
    0x66, 0xb9, 0x00, 0x2d, 0x31, 0x01, // mov ecx, 20000000
    0x66, 0x49,                         // 1: dec ecx
    0x75, 0xfc,                         // jnz 1b
    0xe6, PORT,                         // out PORT, al
    0xf4,                               // hlt
};

__attribute__((format(printf, 2, 3), noreturn)) static void end(int status, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    putchar('\n');
    exit(status);
}

static int must(int r, const char *what)
{
    if (r < 0)
        end(NONE, "%s: %s", what, strerror(errno));
    return r;
}

static void on_alarm(int sig)
{
    (void)sig;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    int kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    int vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "/dev/kvm: KVM_CREATE_VM");
    struct itimerval second = {.it_value = {.tv_sec = 1}, .it_interval = {.tv_usec = 100000}};
    struct kvm_userspace_memory_region slot = {.memory_size = MEMORY};
    struct sigaction action = {.sa_handler = on_alarm};
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = LOAD, .rflags = 2};
    struct kvm_run *run;
    uint8_t *ram;
    double start;
    int cpu, size;

    if (argc > 1 && !strcmp(argv[1], "--hold")) {
        must(ioctl(kvm, KVM_CREATE_VM, 0), "/dev/kvm: KVM_CREATE_VM");
        for (;;)
            pause();
    }
    ram = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ram == MAP_FAILED)
        end(NONE, "memory: %s", strerror(errno));
    memcpy(ram + LOAD, loop, sizeof(loop));
    slot.userspace_addr = (uintptr_t)ram;
    must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "/dev/kvm: KVM_SET_USER_MEMORY_REGION");
    cpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "/dev/kvm: KVM_CREATE_VCPU");
    size = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "/dev/kvm: KVM_GET_VCPU_MMAP_SIZE");
    run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    if (run == MAP_FAILED)
        end(NONE, "/dev/kvm: mmap of a vCPU: %s", strerror(errno));
    must(ioctl(cpu, KVM_GET_SREGS, &sregs), "/dev/kvm: KVM_GET_SREGS");
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    must(ioctl(cpu, KVM_SET_SREGS, &sregs), "/dev/kvm: KVM_SET_SREGS");
    must(ioctl(cpu, KVM_SET_REGS, &regs), "/dev/kvm: KVM_SET_REGS");

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &second, NULL); // repeated: the first could come just before KVM_RUN
    start = now();
    while (ioctl(cpu, KVM_RUN, 0) < 0) {
        if (errno != EINTR && errno != EAGAIN)
            end(NONE, "/dev/kvm: KVM_RUN: %s", strerror(errno));
        if (now() - start >= 1)
            end(SLOW, "/dev/kvm emulates ring 0 (no twenty million turns of a loop in a second)");
    }
    if (run->exit_reason != KVM_EXIT_IO || run->io.port != PORT)
        end(NONE, "/dev/kvm: a loop ended in exit reason %u", run->exit_reason);
    end(FAST, "/dev/kvm runs ring 0 (twenty million turns of a loop in %.0f ms)", (now() - start) * 1e3);
}
