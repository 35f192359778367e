// SPDX-License-Identifier: MIT
/* RAM blocks: see include/mem/ram.h. Here host memory is taken, and guest addresses of the machine's RAM become
 * pointers. What pages were written is in mem/dirty.c. */
#include "mem/ram.h"

#include "kvm/host/log.h"
#include "kvm/host/term.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

enum {
    HUGETLBFS_ID = 0x958458f6, /* statfs(2) */
};
#define ADDRESSES_MAX (UINT64_C(1) << 46) /* half of what a process has */

static _Atomic(struct ram *) blocks; /* grows at set-up; readers are anywhere */
static void (*_Atomic bus_hook)(const char *sentence);

struct ram *ram_first(void)
{
    return atomic_load_explicit(&blocks, memory_order_acquire);
}

struct ram *ram_of(const void *host, uint64_t *offset)
{
    for (struct ram *ram = ram_first(); ram; ram = ram->next) {
        uint64_t at = (uint64_t)((uintptr_t)host - (uintptr_t)ram->host);
        if (at < ram->size) {
            *offset = at;
            return ram;
        }
    }
    return NULL;
}

/* --- truncated files */

static bool too_short(const struct ram *ram)
{
    struct stat st;
    return ram->fd >= 0 && fstat(ram->fd, &st) == 0 && (uint64_t)st.st_size < ram->size;
}

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        /* the status still says it */
    }
}

/* Async-signal-safe calls only. */
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
    uint64_t offset;
    struct ram *ram = ram_of(info->si_addr, &offset);
    (void)context;
    term_restore();
    if (!ram || ram->fd < 0) { /* not ours: it happens again on return, and ends the process */
        signal(sig, SIG_DFL);
        return;
    }
    const char *sentence = too_short(ram) ? ram->truncated : ram->no_room;
    say("vmlet: ");
    say(sentence);
    say("\n");
    void (*hook)(const char *) = atomic_load(&bus_hook);
    if (hook)
        hook(sentence);
    _exit(125);
}

void ram_set_bus_hook(void (*hook)(const char *sentence))
{
    atomic_store(&bus_hook, hook);
}

const char *ram_truncated(void)
{
    for (struct ram *ram = ram_first(); ram; ram = ram->next)
        if (too_short(ram))
            return ram->truncated;
    return NULL;
}

static void catch_bus_errors(void)
{
    struct sigaction sa = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGBUS, &sa, NULL);
}

/* --- what the host has */

/* "512 MiB", or bytes when that is not whole. */
static const char *in_words(uint64_t size, char text[32])
{
    if (size % (1 << 20))
        snprintf(text, 32, "%llu bytes", (unsigned long long)size);
    else
        snprintf(text, 32, "%llu MiB", (unsigned long long)(size >> 20));
    return text;
}

/* Bytes of memory that can be had now, swap included; 0 when the kernel does not say. */
static uint64_t available(void)
{
    char line[128];
    unsigned long long kib, sum = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu", &kib) == 1 || sscanf(line, "SwapFree: %llu", &kib) == 1)
            sum += kib;
    fclose(f);
    return (uint64_t)sum << 10;
}

/* Memory that is promised lazily must at least exist; what is wanted at once must be free. */
static bool enough(const struct ram_opts *o, const char *name, char *err, size_t err_size)
{
    char want[32], have[32];
    struct sysinfo si;
    if (o->kind != RAM_ANON && o->kind != RAM_MEMFD)
        return true;
    uint64_t total = sysinfo(&si) == 0 ? ((uint64_t)si.totalram + si.totalswap) * si.mem_unit : UINT64_MAX;
    if (o->size > total) {
        snprintf(err, err_size,
                 "%s: %s are more than the %s of memory and swap that the host has (use a smaller -m)", name,
                 in_words(o->size, want), in_words(total >> 20 << 20, have));
        return false;
    }
    uint64_t now = o->prealloc ? available() : 0;
    if (now && o->size > now) {
        snprintf(err, err_size,
                 "%s: %s cannot be preallocated: the host has %s available (use a smaller -m, or do not "
                 "preallocate)",
                 name, in_words(o->size, want), in_words(now >> 20 << 20, have));
        return false;
    }
    return true;
}

/* --- the four kinds: each gives a file descriptor (-1: anonymous), or false and a sentence */

static bool open_memfd(struct ram *ram, char *err, size_t err_size)
{
    ram->fd = memfd_create(ram->name, MFD_CLOEXEC);
    if (ram->fd < 0 || ftruncate(ram->fd, (off_t)ram->size) < 0) {
        snprintf(err, err_size, "%s: shared memory: %s", ram->name, strerror(errno));
        return false;
    }
    return true;
}

static bool open_file(struct ram *ram, const char *path, bool prealloc, char *err, size_t err_size)
{
    struct stat st;
    /* not blocking: a FIFO must not hang us before it is refused */
    ram->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    if (ram->fd < 0 || fstat(ram->fd, &st) < 0) {
        snprintf(err, err_size, "%s: file %s: %s", ram->name, path, strerror(errno));
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        snprintf(err, err_size, "%s: file %s: not a regular file", ram->name, path);
        return false;
    }
    if ((uint64_t)st.st_size < ram->size && ftruncate(ram->fd, (off_t)ram->size) < 0) {
        snprintf(err, err_size, "%s: file %s: cannot be made as large as the RAM: %s", ram->name, path,
                 strerror(errno));
        return false;
    }
    int e = prealloc ? posix_fallocate(ram->fd, 0, (off_t)ram->size) : 0;
    if (e) {
        snprintf(err, err_size, "%s: file %s: cannot be preallocated: %s", ram->name, path, strerror(e));
        return false;
    }
    return true;
}

static bool open_hugetlbfs(struct ram *ram, const char *path, char *err, size_t err_size)
{
    char name[4096], size[32], page[32];
    struct statfs fs;
    if (statfs(path, &fs) < 0) {
        snprintf(err, err_size, "%s: hugetlbfs %s: %s", ram->name, path, strerror(errno));
        return false;
    }
    if ((uint32_t)fs.f_type != HUGETLBFS_ID) {
        snprintf(err, err_size, "%s: hugetlbfs %s: no hugetlbfs is mounted there", ram->name, path);
        return false;
    }
    ram->page_size = (uint64_t)fs.f_bsize;
    if (ram->size % ram->page_size) {
        snprintf(err, err_size, "%s: hugetlbfs %s: %s are no multiple of its pages of %s", ram->name, path,
                 in_words(ram->size, size), in_words(ram->page_size, page));
        return false;
    }
    snprintf(name, sizeof name, "%s/vmlet-XXXXXX", path);
    ram->fd = mkostemp(name, O_CLOEXEC);
    if (ram->fd >= 0)
        unlink(name);
    if (ram->fd < 0 || ftruncate(ram->fd, (off_t)ram->size) < 0) {
        snprintf(err, err_size, "%s: hugetlbfs %s: %s", ram->name, path, strerror(errno));
        return false;
    }
    return true;
}

static bool open_kind(struct ram *ram, const struct ram_opts *o, char *err, size_t err_size)
{
    switch (o->kind) {
    case RAM_MEMFD:
        return open_memfd(ram, err, err_size);
    case RAM_FILE:
        return open_file(ram, o->path, o->prealloc, err, err_size);
    case RAM_HUGETLBFS:
        return open_hugetlbfs(ram, o->path, err, err_size);
    default:
        return true;
    }
}

/* --- mapping */

static void too_little(const struct ram *ram, char *err, size_t err_size)
{
    char want[32], page[32], path[96];
    unsigned long long free_pages = 0;
    if (ram->kind != RAM_HUGETLBFS) {
        snprintf(err, err_size, "%s: %s: %s (the host has too little memory free: use a smaller -m)",
                 ram->name, in_words(ram->size, want), strerror(ENOMEM));
        return;
    }
    snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/hugepages-%llukB/free_hugepages",
             (unsigned long long)(ram->page_size >> 10));
    FILE *f = fopen(path, "re");
    if (f) {
        if (fscanf(f, "%llu", &free_pages) != 1)
            free_pages = 0;
        fclose(f);
    }
    snprintf(err, err_size,
             "%s: hugetlbfs: %llu pages of %s are needed, and %llu are free (raise vm.nr_hugepages, or use a "
             "smaller -m)",
             ram->name, (unsigned long long)(ram->size / ram->page_size), in_words(ram->page_size, page),
             free_pages);
}

/* Addresses are reserved first, with room to align and for the guards, and the block is mapped into the middle. */
static bool map(struct ram *ram, char *err, size_t err_size)
{
    char want[32];
    uint64_t align = ram->page_size > RAM_HUGE ? ram->page_size : RAM_HUGE;
    ram->reserved_size = ram->size + align + 2 * RAM_PAGE;
    ram->reserved =
        mmap(NULL, ram->reserved_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ram->reserved == MAP_FAILED) {
        ram->reserved = NULL;
        snprintf(err, err_size, "%s: %s of addresses: %s", ram->name, in_words(ram->size, want),
                 strerror(errno));
        return false;
    }
    uint64_t at = ((uintptr_t)ram->reserved + RAM_PAGE + align - 1) & ~(align - 1);
    int flags = MAP_FIXED | (ram->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    void *host = mmap((void *)at, ram->size, PROT_READ | PROT_WRITE, flags, ram->fd, 0);
    if (host == MAP_FAILED) {
        if (errno == ENOMEM)
            too_little(ram, err, err_size);
        else
            snprintf(err, err_size, "%s: %s: %s", ram->name, in_words(ram->size, want), strerror(errno));
        return false;
    }
    ram->host = host;
    /* advice: where a kernel does not know it, nothing is lost */
    madvise(host, ram->size, MADV_HUGEPAGE);
    madvise(host, ram->size, MADV_DONTDUMP);
    return true;
}

static bool populate(struct ram *ram, char *err, size_t err_size)
{
    char want[32];
    if (madvise(ram->host, ram->size, MADV_POPULATE_WRITE) == 0)
        return true;
    if (errno != EINVAL) {
        snprintf(err, err_size, "%s: %s cannot be preallocated: %s", ram->name, in_words(ram->size, want),
                 errno == EFAULT ? "no room left" : strerror(errno));
        return false;
    }
    for (uint64_t at = 0; at < ram->size; at += RAM_PAGE) { /* before Linux 5.14 */
        volatile uint8_t *byte = ram->host + at;
        *byte = *byte;
    }
    return true;
}

static bool check(const struct ram_opts *o, const char *name, char *err, size_t err_size)
{
    char want[32];
    if (o->size == 0 || o->size % RAM_PAGE)
        snprintf(err, err_size, "%s: a size of %s cannot be (a multiple of 4 KiB, not 0)", name,
                 in_words(o->size, want));
    else if (o->size > ADDRESSES_MAX)
        snprintf(err, err_size, "%s: %s are more than a process can address (use a smaller -m)", name,
                 in_words(o->size, want));
    else if ((o->kind == RAM_FILE || o->kind == RAM_HUGETLBFS) && (!o->path || !*o->path))
        snprintf(err, err_size, "%s: a file needs a path", name);
    else
        return enough(o, name, err, err_size);
    return false;
}

struct ram *ram_new(const struct ram_opts *o, char *err, size_t err_size)
{
    const char *name = o->name ? o->name : "memory";
    char size[32];
    if (!check(o, name, err, err_size))
        return NULL;
    struct ram *ram = calloc(1, sizeof *ram);
    if (!ram) {
        snprintf(err, err_size, "%s: %s", name, strerror(ENOMEM));
        return NULL;
    }
    ram->name = name;
    ram->size = o->size;
    ram->kind = o->kind;
    ram->page_size = RAM_PAGE;
    ram->fd = -1;
    if (!open_kind(ram, o, err, err_size) || !map(ram, err, err_size) ||
        (o->prealloc && !populate(ram, err, err_size))) {
        ram_free(ram);
        return NULL;
    }
    snprintf(ram->truncated, sizeof ram->truncated,
             "%s: file %s has become shorter than the RAM of %s that it holds (leave it alone while the "
             "guest runs)",
             name, o->path ? o->path : "of shared memory", in_words(ram->size, size));
    snprintf(ram->no_room, sizeof ram->no_room, "%s: no room left for the RAM of %s%s%s (preallocate it)",
             name, in_words(ram->size, size), o->path ? " in " : "", o->path ? o->path : "");
    region_init_ram(&ram->region, name, ram, 0, ram->size);
    ram->next = ram_first();
    atomic_store_explicit(&blocks, ram, memory_order_release);
    catch_bus_errors();
    return ram;
}

void ram_free(struct ram *ram)
{
    if (!ram)
        return;
    if (ram_first() == ram) {
        atomic_store_explicit(&blocks, ram->next, memory_order_release);
    } else {
        for (struct ram *before = ram_first(); before; before = before->next)
            if (before->next == ram)
                before->next = ram->next;
    }
    if (ram->low.target)
        region_free(&ram->low);
    if (ram->high.target)
        region_free(&ram->high);
    if (ram->region.ram)
        region_free(&ram->region);
    if (ram->reserved)
        munmap(ram->reserved, ram->reserved_size);
    if (ram->fd >= 0)
        close(ram->fd);
    for (unsigned i = 0; i < REGION_LOG_CLIENTS; i++)
        free((void *)atomic_load(&ram->dirty[i]));
    free(ram);
}

/* --- by guest address */

static uint64_t low_size(const struct ram *ram)
{
    return ram->size < RAM_LOW_END ? ram->size : RAM_LOW_END;
}

void ram_map(struct ram *ram, struct region *memory_root)
{
    uint64_t low = low_size(ram);
    transaction_begin();
    region_init_alias(&ram->low, "ram-below-3g", &ram->region, 0, low);
    region_add(memory_root, &ram->low, 0, 0);
    if (ram->size > low) {
        region_init_alias(&ram->high, "ram-above-4g", &ram->region, low, ram->size - low);
        region_add(memory_root, &ram->high, RAM_HIGH_START, 0);
    }
    transaction_commit();
}

void *ram_host(const struct ram *ram, uint64_t gpa, uint64_t len)
{
    uint64_t low = low_size(ram);
    if (gpa <= low && len <= low - gpa)
        return ram->host + gpa;
    if (gpa < RAM_HIGH_START)
        return NULL;
    uint64_t at = gpa - RAM_HIGH_START, high = ram->size - low;
    return at <= high && len <= high - at && high > 0 ? ram->host + low + at : NULL;
}

bool ram_read(const struct ram *ram, uint64_t gpa, void *buf, uint64_t len)
{
    const void *host = ram_host(ram, gpa, len);
    if (host && len)
        memcpy(buf, host, len);
    return host != NULL;
}

bool ram_write(struct ram *ram, uint64_t gpa, const void *buf, uint64_t len)
{
    void *host = ram_host(ram, gpa, len);
    if (host && len)
        memcpy(host, buf, len);
    return host != NULL;
}
