// SPDX-License-Identifier: MIT
/* RAM blocks of all kinds, what is refused, where they lie; dirty pages; a file that somebody truncates. */
#include "test.h"

#include "kvm/host/log.h"
#include "mem/access.h"
#include "mem/ram.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static char err[512];

static struct ram *make(enum ram_kind kind, uint64_t size, const char *path, bool prealloc)
{
    err[0] = 0;
    return ram_new(&(struct ram_opts){.size = size, .kind = kind, .path = path, .prealloc = prealloc}, err,
                   sizeof err);
}

static const char *temp_path(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/vmlet-ram-%d", (int)getpid());
    return path;
}

TEST(ram_is_aligned_for_huge_pages)
{
    struct ram *a = make(RAM_ANON, 5 * MIB, NULL, false), *b = make(RAM_MEMFD, 3 * MIB, NULL, true);
    CHECK(a && b);
    CHECK_EQ((uintptr_t)a->host % RAM_HUGE, 0);
    CHECK_EQ((uintptr_t)b->host % RAM_HUGE, 0);
    CHECK(a->fd < 0 && b->fd >= 0);
    memset(a->host, 1, a->size);
    memset(b->host, 2, b->size);
    uint8_t byte = 0;
    CHECK(pread(b->fd, &byte, 1, 3 * MIB - 1) == 1 && byte == 2); /* shared with whoever has the fd */
    ram_free(a);
    ram_free(b);
}

TEST(ram_has_guards)
{
    struct ram *ram = make(RAM_ANON, 2 * MIB, NULL, false);
    CHECK(ram);
    uint8_t *around[] = {ram->host - 1, ram->host + ram->size};
    for (unsigned i = 0; i < 2; i++) {
        int fds[2]; /* the kernel says EFAULT where we would die */
        CHECK(pipe(fds) == 0);
        CHECK(write(fds[1], around[i], 1) < 0);
        close(fds[0]);
        close(fds[1]);
    }
    ram_free(ram);
}

TEST(ram_is_split_at_3_gib)
{
    struct region root;
    struct space memory;
    struct ram *ram = make(RAM_ANON, 5 * GIB, NULL, false);
    if (!ram)
        SKIP(err);
    region_init_container(&root, "system", REGION_ALL);
    space_init(&memory, &root, "memory");
    ram_map(ram, &root);
    const struct view *v = atomic_load(&memory.view);
    CHECK_EQ(v->n, 2);
    CHECK(v->ranges[0].region == &ram->region && v->ranges[1].region == &ram->region);
    CHECK_EQ(v->ranges[0].last, RAM_LOW_END - 1);
    CHECK_EQ(v->ranges[1].first, 4 * GIB);
    CHECK_EQ(v->ranges[1].offset, RAM_LOW_END);
    CHECK_EQ(v->ranges[1].last, 6 * GIB - 1);

    CHECK(ram_host(ram, 0, RAM_LOW_END) == ram->host);
    CHECK(ram_host(ram, 0, RAM_LOW_END + 1) == NULL);
    CHECK(ram_host(ram, RAM_LOW_END - 1, 2) == NULL);
    CHECK(ram_host(ram, RAM_LOW_END, 1) == NULL);
    CHECK(ram_host(ram, 4 * GIB - 1, 2) == NULL);
    CHECK(ram_host(ram, 4 * GIB, 2 * GIB) == ram->host + RAM_LOW_END);
    CHECK(ram_host(ram, 4 * GIB, 2 * GIB + 1) == NULL);
    CHECK(ram_host(ram, 6 * GIB - 1, 1) == ram->host + 5 * GIB - 1);
    CHECK(ram_host(ram, 6 * GIB, 1) == NULL);
    CHECK(ram_host(ram, UINT64_MAX, 2) == NULL);
    CHECK(ram_host(ram, 1, UINT64_MAX) == NULL);
    /* both halves keep host and guest address the same modulo 2 MiB */
    CHECK_EQ((uintptr_t)ram_host(ram, 4 * GIB, 1) % RAM_HUGE, 0);

    uint64_t v64 = 0x0123456789abcdef, got = 0;
    CHECK(ram_write(ram, 4 * GIB + 16, &v64, 8));
    CHECK(ram_read(ram, 4 * GIB + 16, &got, 8));
    CHECK_EQ(got, v64);
    got = 0;
    CHECK(dma_read(&memory, 4 * GIB + 16, &got, 8));
    CHECK_EQ(got, v64);
    CHECK(!dma_read(&memory, RAM_LOW_END - 4, &got, 8));
    CHECK(!ram_write(ram, RAM_LOW_END - 4, &v64, 8));
    space_free(&memory);
    ram_free(ram);
    region_free(&root);
}

TEST(L7_sizes_that_cannot_be)
{
    static const uint64_t sizes[] = {0,
                                     1,
                                     4095,
                                     4097,
                                     UINT64_MAX,
                                     UINT64_MAX - 4095,
                                     UINT64_C(1) << 63,
                                     UINT64_C(1) << 50,
                                     UINT64_C(1) << 46};
    for (unsigned kind = RAM_ANON; kind <= RAM_MEMFD; kind++)
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct ram *ram = make((enum ram_kind)kind, sizes[i], NULL, false);
            CHECK(!ram);
            CHECK(strncmp(err, "memory: ", 8) == 0 && !strchr(err, '\n'));
        }
}

TEST(ram_more_than_the_host_has)
{
    CHECK(!make(RAM_ANON, 1024 * 1024 * MIB, NULL, false)); /* 1 TiB */
    CHECK(strstr(err, "1048576 MiB") && strstr(err, "use a smaller -m"));
    CHECK(!make(RAM_MEMFD, 1024 * 1024 * MIB, NULL, false));
    CHECK(strstr(err, "1048576 MiB") && strstr(err, "use a smaller -m"));
}

TEST(ram_on_a_file)
{
    const char *path = temp_path();
    unlink(path);
    struct ram *ram = make(RAM_FILE, 2 * MIB, path, true);
    CHECK(ram);
    memcpy(ram->host + 4096, "hello", 5);
    ram_free(ram);
    struct stat st;
    CHECK(stat(path, &st) == 0 && (uint64_t)st.st_size == 2 * MIB);
    ram = make(RAM_FILE, 4 * MIB, path, false); /* it grows, and keeps what it holds */
    CHECK(ram);
    CHECK(!memcmp(ram->host + 4096, "hello", 5));
    ram_free(ram);
    unlink(path);
}

TEST(L6_ram_path_that_is_no_file)
{
    const char *path = temp_path();
    CHECK(!make(RAM_FILE, MIB, "/tmp", false) && strstr(err, "/tmp"));
    CHECK(!make(RAM_FILE, MIB, "/dev/zero", false) && strstr(err, "not a regular file"));
    CHECK(!make(RAM_FILE, MIB, "/nonexistent/ram", false) && strstr(err, "No such file"));
    CHECK(!make(RAM_FILE, MIB, NULL, false));
    unlink(path);
    CHECK(mkfifo(path, 0600) == 0);
    CHECK(!make(RAM_FILE, MIB, path, false) && strstr(err, "not a regular file"));
    unlink(path);
    CHECK(!make(RAM_HUGETLBFS, 2 * MIB, "/tmp", false) && strstr(err, "no hugetlbfs is mounted there"));
    CHECK(!make(RAM_HUGETLBFS, 2 * MIB, "/nonexistent", false));
}

/* Where a hugetlbfs is mounted and has pages free; NULL: nowhere. */
static const char *hugetlbfs(uint64_t *page)
{
    static char path[256];
    char line[1024];
    FILE *f = fopen("/proc/mounts", "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f))
        found = sscanf(line, "%*s %255s hugetlbfs", path) == 1 && strstr(line, " hugetlbfs ");
    if (f)
        fclose(f);
    struct stat st;
    *page = found && stat(path, &st) == 0 ? (uint64_t)st.st_blksize : 0;
    return *page ? path : NULL;
}

TEST(ram_on_hugetlbfs)
{
    uint64_t page;
    const char *path = hugetlbfs(&page);
    if (!path)
        SKIP("no hugetlbfs is mounted");
    struct ram *ram = make(RAM_HUGETLBFS, page, path, true);
    if (!ram) {
        CHECK(strstr(err, "are free"));
        SKIP("hugetlbfs has no page free");
    }
    CHECK_EQ(ram->page_size, page);
    CHECK_EQ((uintptr_t)ram->host % page, 0);
    memset(ram->host, 1, page);
    ram_free(ram);
    CHECK(!make(RAM_HUGETLBFS, page + RAM_PAGE, path, false) && strstr(err, "no multiple"));
    CHECK(!make(RAM_HUGETLBFS, page << 20, path, false) && strstr(err, "are free"));
}

/* --- a truncated file ends the process with 125 and a sentence */

static int hook_fd;
static void hook(const char *sentence)
{
    if (write(hook_fd, sentence, strlen(sentence)) < 0)
        _exit(1);
}

TEST(ram_file_truncated_ends_with_125)
{
    const char *path = temp_path();
    int fds[2];
    char said[512];
    CHECK(pipe(fds) == 0);
    unlink(path);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct ram *ram = make(RAM_FILE, 2 * MIB, path, false);
        if (!ram || ram_truncated())
            _exit(1);
        hook_fd = fds[1];
        ram_set_bus_hook(hook);
        if (truncate(path, 4096) < 0 || !ram_truncated() || !strstr(ram_truncated(), path))
            _exit(2);
        close(STDERR_FILENO);
        *(volatile uint8_t *)(ram->host + MIB) = 1;
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    close(fds[1]);
    ssize_t n = read(fds[0], said, sizeof said - 1);
    close(fds[0]);
    unlink(path);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 125);
    CHECK(n > 0);
    said[n] = 0;
    CHECK(strstr(said, path) && strstr(said, "shorter"));
}

TEST(ram_bus_error_elsewhere_ends_as_ever)
{
#ifdef SANITIZED
    SKIP("the sanitizer reports the signal instead");
#else
    const char *path = temp_path();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct ram *ram = make(RAM_ANON, 2 * MIB, NULL, false);
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        volatile uint8_t *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (!ram || p == MAP_FAILED)
            _exit(1);
        *p = 1;
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    unlink(path);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGBUS);
#endif
}

/* --- dirty pages */

TEST(dirty_bits_of_ranges)
{
    /* against a plain array, at all alignments of words */
    enum {
        PAGES = 300,
    };
    uint64_t seed = 7, bitmap[(PAGES + 63) / 64 + 1];
    struct ram *ram = make(RAM_ANON, PAGES * RAM_PAGE, NULL, false);
    bool model[2][PAGES] = {0};
    CHECK(ram);
    ram_dirty(ram, 0, ram->size); /* nobody asks: nothing is kept */
    CHECK(ram_log(ram, REGION_LOG_DISPLAY, true) && ram_log(ram, REGION_LOG_USER, true));
    for (unsigned round = 0; round < 2000; round++) {
        unsigned first = (unsigned)(test_rand(&seed) % PAGES),
                 n = 1 + (unsigned)(test_rand(&seed) % (PAGES - first));
        unsigned client = (unsigned)(test_rand(&seed) & 1);
        switch (test_rand(&seed) % 3) {
        case 0: { /* bytes */
            uint64_t offset = first * RAM_PAGE + test_rand(&seed) % RAM_PAGE;
            uint64_t len = 1 + test_rand(&seed) % 9000;
            if (len > ram->size - offset)
                len = ram->size - offset;
            ram_dirty(ram, offset, len);
            for (uint64_t p = offset / RAM_PAGE; p <= (offset + len - 1) / RAM_PAGE; p++)
                model[0][p] = model[1][p] = true;
            break;
        }
        case 1: /* what KVM says */
            for (unsigned i = 0; i < (n + 63) / 64; i++)
                bitmap[i] = test_rand(&seed) & test_rand(&seed) & test_rand(&seed);
            ram_dirty_merge(ram, (uint64_t)first * RAM_PAGE, bitmap, n);
            for (unsigned i = 0; i < n; i++)
                if (bitmap[i / 64] >> i % 64 & 1)
                    model[0][first + i] = model[1][first + i] = true;
            break;
        default: {
            uint64_t count = 0;
            memset(bitmap, 0xff, sizeof bitmap);
            uint64_t got = ram_dirty_take(ram, client ? REGION_LOG_USER : REGION_LOG_DISPLAY,
                                          (uint64_t)first * RAM_PAGE, n, bitmap);
            for (unsigned i = 0; i < (n + 63) / 64 * 64; i++) {
                bool want = i < n && model[client][first + i];
                CHECK((bitmap[i / 64] >> i % 64 & 1) == want);
                count += want;
                if (i < n)
                    model[client][first + i] = false;
            }
            CHECK_EQ(got, count);
            CHECK(bitmap[(n + 63) / 64] == UINT64_MAX); /* and not a word further */
        }
        }
    }
    ram_log(ram, REGION_LOG_USER, false);
    ram_log(ram, REGION_LOG_DISPLAY, false);
    ram_free(ram);
}

TEST(dirty_log_has_what_devices_wrote)
{
    struct region root;
    struct space memory;
    struct iovec iov[4];
    uint64_t bits[2];
    struct ram *ram = make(RAM_ANON, 64 * RAM_PAGE, NULL, false);
    CHECK(ram);
    region_init_container(&root, "system", REGION_ALL);
    space_init(&memory, &root, "memory");
    ram_map(ram, &root);
    CHECK(region_log(&ram->region, REGION_LOG_USER, true));
    CHECK_EQ(atomic_load(&memory.view)->ranges[0].log, 1 << REGION_LOG_USER);

    CHECK(dma_write(&memory, 0x1ffe, "abcd", 4)); /* pages 1 and 2 */
    CHECK(space_write(&memory, 0x5000, 4, "abcd"));
    int n = dma_iov(&memory, 0x8000, 0x3000, true, iov, 4);
    CHECK_EQ(n, 1);
    dma_written(iov, n, 0x1001);                 /* pages 8 and 9 of the three */
    CHECK(dma_read(&memory, 0x20000, bits, 16)); /* reading makes nothing dirty */
    CHECK_EQ(region_log_fetch(&ram->region, REGION_LOG_USER, 0, 64 * RAM_PAGE, bits), 5);
    CHECK_EQ(bits[0], 1 << 1 | 1 << 2 | 1 << 5 | 1 << 8 | 1 << 9);
    CHECK_EQ(region_log_fetch(&ram->region, REGION_LOG_USER, 0, 64 * RAM_PAGE, bits), 0);
    CHECK_EQ(region_log_fetch(&ram->region, REGION_LOG_GLOBAL, 0, 64 * RAM_PAGE, bits), 0);

    CHECK(log_global_start());
    CHECK(dma_write(&memory, 0x3000, "x", 1));
    CHECK_EQ(region_log_fetch(&ram->region, REGION_LOG_GLOBAL, 0x1000, 0x4000, bits), 1);
    CHECK_EQ(bits[0], 1 << 2); /* counted from the offset that was asked for */
    CHECK_EQ(region_log_fetch(&ram->region, REGION_LOG_USER, 0, 64 * RAM_PAGE, bits),
             1); /* each has its own */
    log_global_stop();
    CHECK(region_log(&ram->region, REGION_LOG_USER, false));
    CHECK(dma_write(&memory, 0x3000, "x", 1));
    CHECK(region_log(&ram->region, REGION_LOG_USER, true)); /* starts with all clean */
    CHECK_EQ(region_log_fetch(&ram->region, REGION_LOG_USER, 0, 64 * RAM_PAGE, bits), 0);
    CHECK(region_log(&ram->region, REGION_LOG_USER, false));
    space_free(&memory);
    ram_free(ram);
    region_free(&root);
}
