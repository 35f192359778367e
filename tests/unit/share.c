// SPDX-License-Identifier: MIT
/* --share: what is taken, what is refused, and what the guest's init is told. */
#include "test.h"

#include "guest/machine.h"
#include "guest/share.h"
#include "virtio/fs.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct machine_options o;

static const char *parse(const char *const *values)
{
    size_t n = 0;
    while (values[n])
        n++;
    free(o.shares);
    o = (struct machine_options){
        .share_words = {(const char **)(uintptr_t)values, n}
    };
    const char *error = share_parse(&o.share_words, &o.shares, &o.n_shares);
    if (error)
        printf("%s\n", error);
    return error;
}
#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})
#define REFUSED(text_, ...)                                                                                  \
    do {                                                                                                     \
        const char *e_ = PARSE(__VA_ARGS__);                                                                 \
        CHECK(e_ && !strncmp(e_, "--share", 7) && strstr(e_, text_));                                        \
    } while (0)

TEST(share_words)
{
    CHECK(!PARSE("/usr"));
    CHECK_EQ(o.n_shares, 1);
    CHECK(!strcmp(o.shares[0].dir, "/usr") && !strcmp(o.shares[0].tag, "share0") && !o.shares[0].ro);
    CHECK_EQ(o.shares[0].cache, FS_CACHE_AUTO);
    CHECK(!share_has_root(&o));
    CHECK(!PARSE("/usr,ro,tag=my tag,cache=none", "/etc/../var"));
    CHECK_EQ(o.n_shares, 2);
    CHECK(o.shares[0].ro && !strcmp(o.shares[0].tag, "my tag") && o.shares[0].cache == FS_CACHE_NONE);
    CHECK(!strcmp(o.shares[1].dir, "/var") && !strcmp(o.shares[1].tag, "share1"));
    CHECK(!PARSE("/tmp/..", "."));
    CHECK(share_has_root(&o));
    CHECK(o.shares[0].ro); /* what is written stays in the guest */
    char *here = getcwd(NULL, 0);
    CHECK(!strcmp(o.shares[1].dir, here));
    free(here);
}

TEST(share_of_odd_names)
{
    char dir[] = "/tmp/vmlet-share-XXXXXX", path[200], word[200];
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a, b\n=c", dir);
    CHECK(!mkdir(path, 0700));
    snprintf(word, sizeof word, "%s/a,, b\n=c,ro", dir);
    CHECK(!PARSE(word));
    CHECK(!strcmp(o.shares[0].dir, path) && o.shares[0].ro);
    snprintf(word, sizeof word, "%s/link", dir);
    CHECK(!symlink(path, word));
    CHECK(!PARSE(word));
    CHECK(!strcmp(o.shares[0].dir, path));
    REFUSED("already", word, dir, word);
    unlink(word);
    rmdir(path);
    rmdir(dir);
}

TEST(share_refused)
{
    char file[] = "/tmp/vmlet-share-XXXXXX";
    int fd = mkstemp(file);
    CHECK(fd >= 0);
    REFUSED("No such file", "/no/such/folder");
    REFUSED("is no folder", file);
    CHECK(PARSE(""));
    REFUSED("1 to 36 bytes", "/usr,tag=");
    REFUSED("1 to 36 bytes", "/usr,tag=1234567890123456789012345678901234567");
    REFUSED("has it already", "/usr,tag=x", "/var,tag=x");
    REFUSED("has it already", "/usr", "/var,tag=share0");
    REFUSED("shared already", "/usr", "/usr/,ro");
    REFUSED("of its own", "/proc");
    REFUSED("of its own", "/sys/kernel");
    REFUSED("of its own", "/dev");
    REFUSED("cache", "/usr,cache=some");
    REFUSED("nonsense", "/usr,nonsense");
    close(fd);
    unlink(file);
    if (geteuid()) { /* root may read everything */
        char dir[] = "/tmp/vmlet-share-XXXXXX";
        CHECK(mkdtemp(dir) && !chmod(dir, 0));
        REFUSED("Permission denied", dir);
        rmdir(dir);
    }
}

TEST(share_a_folder_before_what_lies_below_it)
{
    CHECK(!PARSE("/usr/lib", "/usr,ro", "/"));
    const char **list = share_list(&o);
    static const char *const wanted[] = {"share2", "/",      "ro",       "share1", "/usr",
                                         "ro",     "share0", "/usr/lib", ""};
    for (size_t i = 0; i < 9; i++)
        CHECK(!strcmp(list[i], wanted[i]));
    CHECK(!list[9]);
    free(list);
    free(o.shares);
    o = (struct machine_options){0};
    CHECK((list = share_list(&o)) && !*list);
    free(list);
}

TEST(share_shell_is_one_that_is_there)
{
    setenv("SHELL", "/bin/sh", 1);
    CHECK(!strcmp(share_shell(), "/bin/sh"));
    setenv("SHELL", "/no/such/shell", 1);
    CHECK(!access(share_shell(), X_OK));
    setenv("SHELL", "relative", 1);
    CHECK(*share_shell() == '/');
    unsetenv("SHELL");
    CHECK(!access(share_shell(), X_OK));
}
