// SPDX-License-Identifier: MIT
/* --env and --user: what the command finds, and what is refused. */
#include "test.h"

#include "guest/identity.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static char err[256], passwd[] = "/tmp/identity.XXXXXX", group[] = "/tmp/identity.XXXXXX";

static void fill(char *path, const char *text)
{
    strcpy(path, "/tmp/identity.XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* What was made before is freed. */
static bool make(struct identity *id, const char *const *env, const char *user)
{
    static struct identity last;
    identity_free(&last);
    fill(passwd, "root:x:0:0::/root:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\n");
    fill(group, "root:x:0:\nkvm:x:105:ada\n");
    bool ok = identity_make(id, env, user, passwd, group, err, sizeof err);
    unlink(passwd);
    unlink(group);
    last = *id;
    return ok;
}

/* The variable's value; NULL: not there, or there twice. */
static const char *value(const struct identity *id, const char *name)
{
    const char *found = NULL;
    size_t n = strlen(name);
    unsigned times = 0;
    for (char *const *v = id->env; *v; v++)
        if (!strncmp(*v, name, n) && (*v)[n] == '=') {
            found = *v + n + 1;
            times++;
        }
    return times == 1 ? found : NULL;
}

TEST(identity_is_root_unless_said)
{
    struct identity id;
    CHECK(make(&id, NULL, NULL));
    CHECK_EQ(id.uid, 0);
    CHECK(!strcmp(value(&id, "PATH"), IDENTITY_PATH));
    CHECK(!strcmp(value(&id, "HOME"), "/root"));
    CHECK(!strcmp(value(&id, "USER"), "root"));
}

TEST(identity_env_replaces_adds_and_passes_on)
{
    struct identity id;
    setenv("FROM_HERE", "x=y", 1);
    CHECK(make(&id, LIST("HOME=/a", "EMPTY=", "FROM_HERE", "A=1", "A=2=3", "HOMELY=no"), NULL));
    CHECK(!strcmp(value(&id, "HOME"), "/a"));
    CHECK(!strcmp(value(&id, "EMPTY"), ""));
    CHECK(!strcmp(value(&id, "FROM_HERE"), "x=y"));
    CHECK(!strcmp(value(&id, "A"), "2=3"));
    CHECK(!strcmp(value(&id, "HOMELY"), "no"));
}

TEST(identity_env_that_cannot_be)
{
    struct identity id;
    unsetenv("NOT_HERE");
    CHECK(!make(&id, LIST("=x"), NULL) && strstr(err, "--env =x"));
    CHECK(!make(&id, LIST(""), NULL));
    CHECK(!make(&id, LIST("NOT_HERE"), NULL) && strstr(err, "NOT_HERE=VALUE"));
}

TEST(identity_users)
{
    static const struct {
        const char *text;
        uint32_t uid, gid;
        const char *user;
    } cases[] = {
        {"ada",        1000,        1001,        "ada"       },
        {"1000",       1000,        1001,        "ada"       },
        {"1000:5",     1000,        5,           "ada"       },
        {"ada:kvm",    1000,        105,         "ada"       },
        {"77",         77,          77,          "77"        },
        {"77:kvm",     77,          105,         "77"        },
        {"4294967294", 4294967294u, 4294967294u, "4294967294"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct identity id;
        CHECK(make(&id, NULL, cases[i].text));
        CHECK_EQ(id.uid, cases[i].uid);
        CHECK_EQ(id.gid, cases[i].gid);
        CHECK(!strcmp(value(&id, "USER"), cases[i].user));
        CHECK(!strcmp(value(&id, "HOME"), "/"));
    }
}

TEST(identity_users_that_cannot_be)
{
    struct identity id;
    CHECK(!make(&id, NULL, "nobody-here") && strstr(err, "no such user"));
    CHECK(!make(&id, NULL, "ada:nothing") && strstr(err, "no such group"));
    CHECK(!make(&id, NULL, "ada:") && !make(&id, NULL, ":kvm") && !make(&id, NULL, ""));
    CHECK(!make(&id, NULL, "4294967295")); /* -1: setuid() would change nothing */
    CHECK(!make(&id, NULL, "-1") && !make(&id, NULL, "1000x"));
}
