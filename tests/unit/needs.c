// SPDX-License-Identifier: MIT
/* Libraries of programs: of the host's own, against ldd, and of damaged ones, against nothing but survival. */
#include "test.h"

#include "guest/elfdyn.h"
#include "guest/needs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has(char *const *list, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i], path))
            return true;
    return false;
}

static void check_like_ldd(const char *program)
{
    char command[256], line[1024];
    struct needs needs;
    snprintf(command, sizeof command, "ldd %s 2>/dev/null", program);
    FILE *f = popen(command, "r");
    CHECK(f && needs_find(program, &needs));
    size_t libraries = 0;
    while (fgets(line, sizeof line, f)) {
        char *path = strstr(line, "=> /");
        path = path ? path + 3 : strchr(line, '/');
        if (!path)
            continue;
        path[strcspn(path, " \n")] = 0;
        libraries++;
        if (!has(needs.libraries, needs.n_libraries, path)) {
            printf("%s: %s is not found\n", program, path);
            CHECK(false);
        }
    }
    pclose(f);
    CHECK(libraries > 0);
    CHECK_EQ(needs.n_libraries, libraries);
    CHECK_EQ(needs.n_missing, 0);
    CHECK_EQ(needs.n_programs, 1);
    needs_free(&needs);
}

TEST(needs_agree_with_ldd)
{
    static const char *const programs[] = {"/usr/bin/ls", "/usr/bin/bash", "/usr/bin/perl",
                                           "/usr/bin/apt-get", "/usr/bin/gcc"};
    if (access("/usr/bin/ldd", X_OK) || access(programs[0], X_OK))
        SKIP("no ldd, or no /usr/bin/ls");
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
        if (!access(programs[i], X_OK))
            check_like_ldd(programs[i]);
}

static void put(const char *dir, const char *name, const void *bytes, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || fchmod(fd, 0755))
        abort();
    close(fd);
}

static char *new_dir(void)
{
    static char dir[40];
    strcpy(dir, "/tmp/vmlet-needs-XXXXXX");
    if (!mkdtemp(dir))
        abort();
    return dir;
}

static void remove_dir(const char *dir)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", dir);
    if (system(command))
        abort();
}

TEST(needs_of_scripts)
{
    char path[256], *dir = new_dir();
    struct needs needs;
    static const char sh[] = "#! /bin/sh -e\nexit\n", env[] = "#!/usr/bin/env -S A=b cat -\n",
                      own[] = "#!/no/such\n", chain[] = "#!/tmp/own";
    put(dir, "sh", sh, sizeof sh - 1);
    put(dir, "env", env, sizeof env - 1);
    put(dir, "own", own, sizeof own - 1);
    put(dir, "chain", chain, sizeof chain - 1);
    snprintf(path, sizeof path, "%s/sh", dir);
    CHECK(needs_find(path, &needs));
    CHECK_EQ(needs.n_programs, 2);
    CHECK_STR(needs.programs[0], path);
    CHECK(strstr(needs.programs[1], "bin/sh"));
    needs_free(&needs);

    snprintf(path, sizeof path, "%s/env", dir);
    CHECK(needs_find(path, &needs));
    CHECK_EQ(needs.n_programs, 3);
    CHECK(strstr(needs.programs[1], "bin/env"));
    CHECK(strstr(needs.programs[2], "bin/cat"));
    needs_free(&needs);

    snprintf(path, sizeof path, "%s/own", dir);
    CHECK(needs_find(path, &needs));
    CHECK_EQ(needs.n_programs, 1);
    needs_free(&needs);
    remove_dir(dir);
}

TEST(needs_script_that_is_its_own_interpreter)
{
    char path[256], text[300], *dir = new_dir();
    struct needs needs;
    snprintf(path, sizeof path, "%s/me", dir);
    int n = snprintf(text, sizeof text, "#!%s\n", path);
    put(dir, "me", text, (size_t)n);
    CHECK(needs_find(path, &needs));
    CHECK_EQ(needs.n_programs, 1);
    needs_free(&needs);
    remove_dir(dir);
}

TEST(needs_which_as_a_shell)
{
    char *dir = new_dir(), dirs[100], *found;
    put(dir, "tool", "x", 1);
    snprintf(dirs, sizeof dirs, "/no/such::%s", dir);
    found = needs_which("tool", dirs);
    CHECK(found && !strncmp(found, dir, strlen(dir)));
    free(found);
    CHECK(!needs_which("tool", "/no/such"));
    CHECK(!needs_which("", dirs));
    CHECK(!needs_which("/no/such/tool", dirs));
    found = needs_which("/bin/sh", "");
    CHECK(found && *found == '/');
    free(found);
    CHECK(!chmod(strcat(strcpy(dirs, dir), "/tool"), 0644));
    CHECK(!needs_which("tool", dir));
    remove_dir(dir);
}

/* Two libraries found over $ORIGIN, one by RPATH of the program for a library below it, one by RUNPATH. Needs a compiler. */
TEST(needs_rpath_runpath_origin)
{
    if (access("/usr/bin/gcc", X_OK))
        SKIP("no gcc");
    char *dir = new_dir(), command[2048], path[256];
    struct needs needs;
    snprintf(
        command, sizeof command,
        "cd %s && mkdir bin lib deep && echo 'int f(void){return 1;}' > f.c && echo 'int f(void);int "
        "g(void){return f();}' > g.c && "
        "echo 'int g(void);int main(void){return g();}' > m.c && gcc -shared -fPIC -o deep/libvf.so f.c && "
        "gcc -shared -fPIC -o lib/libvg.so g.c -Ldeep -lvf && "
        "gcc -o bin/old m.c -Llib -lvg -Wl,-rpath-link,deep "
        "-Wl,--disable-new-dtags,-rpath,'$ORIGIN/../lib:${ORIGIN}/../deep' && "
        "gcc -o bin/new m.c -Llib -lvg -Wl,-rpath-link,deep "
        "-Wl,--enable-new-dtags,-rpath,'$ORIGIN/../lib:$ORIGIN/../deep' 2>&1",
        dir);
    if (system(command))
        SKIP("gcc makes no shared libraries here");
    snprintf(path, sizeof path, "%s/bin/old", dir);
    CHECK(needs_find(path, &needs));
    snprintf(path, sizeof path, "%s/lib/libvg.so", dir);
    CHECK(has(needs.libraries, needs.n_libraries, path));
    snprintf(path, sizeof path, "%s/deep/libvf.so", dir); /* an RPATH counts for what is below */
    CHECK(has(needs.libraries, needs.n_libraries, path));
    CHECK_EQ(needs.n_missing, 0);
    needs_free(&needs);
    snprintf(path, sizeof path, "%s/bin/new", dir);
    CHECK(needs_find(path, &needs));
    snprintf(path, sizeof path, "%s/lib/libvg.so", dir);
    CHECK(has(needs.libraries, needs.n_libraries, path));
    CHECK_EQ(needs.n_missing, 1); /* a RUNPATH does not */
    CHECK_STR(needs.missing[0], "libvf.so");
    needs_free(&needs);
    remove_dir(dir);
}

static size_t load(const char *path, uint8_t *bytes, size_t room)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, room);
    close(fd);
    return n < 0 ? 0 : (size_t)n;
}

/* Every field of the headers with every bad value, and noise: nothing but an answer may come of it. */
TEST(needs_damaged_elf)
{
    static uint8_t good[1 << 20], bad[sizeof good];
    static const uint64_t values[] = {0, 1, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, UINT64_MAX, 64};
    char *dir = new_dir(), path[256];
    struct elfdyn elf;
    size_t n = load("/bin/sh", good, sizeof good), size;
    snprintf(path, sizeof path, "%s/e", dir);
    if (n < 4096) {
        remove_dir(dir);
        SKIP("no /bin/sh to damage");
    }
    put(dir, "e", good, n);
    CHECK(elfdyn_read(path, &elf));
    CHECK_EQ(elf.bits, 64);
    CHECK(elf.count > 0 && *elf.interp == '/');
    elfdyn_free(&elf);
    for (size_t field = 16; field < 64 + 14 * 56; field += field < 48 ? 8 : 4)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            memcpy(bad, good, 4096);
            memcpy(bad + field, &values[v], field < 48 || field >= 64 ? 8 : 2);
            int fd = open(path, O_WRONLY);
            CHECK(pwrite(fd, bad, 4096, 0) == 4096);
            close(fd);
            if (elfdyn_read(path, &elf))
                elfdyn_free(&elf);
            free(elfdyn_section(path, ".interp", 4096, &size));
        }
    uint64_t seed = 7;
    for (unsigned long i = 0; i < test_scale(300); i++) {
        memcpy(bad, good, n);
        for (int k = 0; k < 20; k++)
            bad[test_rand(&seed) % (k < 10 ? 1024 : n)] = (uint8_t)test_rand(&seed);
        put(dir, "e", bad, i % 3 ? n : test_rand(&seed) % n);
        if (elfdyn_read(path, &elf))
            elfdyn_free(&elf);
        free(elfdyn_section(path, ".interp", 4096, &size));
        if (i % 10 == 0) {
            struct needs needs;
            CHECK(needs_find(path, &needs));
            needs_free(&needs);
        }
    }
    remove_dir(dir);
}

TEST(needs_not_a_file)
{
    struct elfdyn elf;
    CHECK(!elfdyn_read("/dev/zero", &elf));
    CHECK(!elfdyn_read("/tmp", &elf));
    CHECK(!elfdyn_read("/no/such", &elf));
}
