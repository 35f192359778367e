// SPDX-License-Identifier: MIT
/* A host without memory in the middle of a run (X7): each allocation of a change of the map fails once; the map is then
 * the old one or the new one, whole, and the next commit puts all right. And what debug builds refuse. */
#include "test.h"

#include "kvm/host/lock.h"
#include "kvm/host/log.h"
#include "mem/access.h"
#include "mem/ram.h"
#include "mem/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SANITIZED
/* glibc's own, under the names that it keeps for those who replace malloc */
extern void *__libc_malloc(size_t n);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_calloc(size_t n, size_t size);

static int fail_in; /* 1: the next one */

static bool fails(void)
{
    if (fail_in == 0 || --fail_in > 0)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n)
{
    return fails() ? NULL : __libc_malloc(n);
}
void *realloc(void *p, size_t n)
{
    return fails() ? NULL : __libc_realloc(p, n);
}
void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

static uint64_t slot_gpa[64], slot_size[64];
static int set(void *ctx, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *host)
{
    (void)ctx;
    (void)flags;
    (void)host;
    slot_gpa[slot] = gpa;
    slot_size[slot] = size;
    return 0;
}
static int dirty_get(void *ctx, uint32_t slot, uint64_t *bitmap)
{
    (void)ctx;
    memset(bitmap, 0, (slot_size[slot] / RAM_PAGE + 63) / 64 * 8);
    return 0;
}
static const struct slots_ops slots_ops = {.set = set, .dirty_get = dirty_get};
static const struct region_ops io_ops = {.sizes = 1 | 2 | 4 | 8};

TEST(X7_no_memory_for_a_change_of_the_map)
{
    unsigned refused = 0;
    char err[256];
    log_set_level(LOG_LEVEL_ERROR);
    for (int nth = 1; nth <= 12; nth++) {
        struct region root, bars[40];
        struct space memory;
        struct ram *ram = ram_new(&(struct ram_opts){.size = 256 * RAM_PAGE}, err, sizeof err);
        CHECK(ram);
        memset(slot_size, 0, sizeof slot_size);
        region_init_container(&root, "system", REGION_ALL);
        space_init(&memory, &root, "memory");
        for (unsigned i = 0; i < 40; i++) {
            region_init_io(&bars[i], "bar", RAM_PAGE, &io_ops, NULL, NULL, NULL);
            region_enable(&bars[i], false);
            region_add(&root, &bars[i], i * 3 * RAM_PAGE, 1);
        }
        ram_map(ram, &root);
        struct slots *slots = slots_new(&memory, &slots_ops, NULL, &(struct slots_limits){64, 0, true});
        const struct view *old = atomic_load(&memory.view);

        fail_in = nth;
        transaction_begin(); /* cuts RAM into 40 pieces */
        for (unsigned i = 0; i < 40; i++)
            region_enable(&bars[i], true);
        transaction_commit();
        fail_in = 0;
        const struct view *v = atomic_load(&memory.view);
        refused += v == old;
        CHECK(v == old || v->n == 80);
        for (uint64_t page = 0; page < 256; page++) { /* with a slot or without, RAM is RAM */
            const struct range *r = view_find(v, page * RAM_PAGE);
            CHECK(r && space_write(&memory, page * RAM_PAGE, 8, "12345678"));
            for (unsigned i = 0; i < 64; i++) /* and no slot lies where there is none */
                if (slot_size[i] && page * RAM_PAGE - slot_gpa[i] < slot_size[i])
                    CHECK(r->region->host);
        }
        region_move(&bars[39], 0x10000000); /* what was not done is done now */
        v = atomic_load(&memory.view);
        CHECK_EQ(v->n, 79);
        for (uint32_t i = 0; i < v->n; i++)
            CHECK((slots_find(slots, v->ranges[i].first) >= 0) == (v->ranges[i].region->host != NULL));
        slots_free(slots);
        space_free(&memory);
        ram_free(ram);
        for (unsigned i = 0; i < 40; i++)
            region_free(&bars[i]);
        region_free(&root);
    }
    CHECK(refused >= 1);
    log_set_level(LOG_LEVEL_WARNING);
}
#endif

#ifdef DEBUG
static struct lock device;
static struct region root_region, child;

static bool aborts(void (*fn)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        fn();
        _exit(0);
    }
    return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void move_from_device_code(void)
{
    lock_take(&device);
    region_move(&child, 0x1000);
}

/* Already while it is told what stands. */
static void move_from_a_listener(struct listener *l, const struct range *r)
{
    (void)l;
    (void)r;
    static unsigned n;
    if (n++ == 0) /* were it let through, it would be told again */
        region_move(&child, 0x2000);
}
static const struct listener_ops bad_listener = {.region_add = move_from_a_listener};

static void listen_badly(void)
{
    static struct space s;
    static struct listener l = {.ops = &bad_listener};
    space_init(&s, &root_region, "space");
    listener_register(&s, &l);
}
#endif

TEST(map_is_not_changed_from_device_code_or_listeners)
{
#ifndef DEBUG
    SKIP("only debug builds assert it");
#else
    static const struct region_ops ops = {.sizes = 1};
    lock_init(&device, LOCK_DEVICE, "device");
    region_init_container(&root_region, "root", REGION_ALL);
    region_init_io(&child, "child", 0x1000, &ops, NULL, NULL, NULL);
    region_add(&root_region, &child, 0, 0);
    CHECK(aborts(move_from_device_code));
    CHECK(aborts(listen_badly));
    region_free(&child);
    region_free(&root_region);
#endif
}
