// SPDX-License-Identifier: MIT
#include "test.h"
#include "kvm/host/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static int saved_stderr, out;

static void redirect(int pipe_size)
{
    int p[2];
    CHECK(!pipe(p));
    saved_stderr = dup(2);
    fcntl(p[1], F_SETPIPE_SZ, pipe_size);
    dup2(p[1], 2);
    close(p[1]);
    out = p[0];
    fcntl(out, F_SETFL, O_NONBLOCK);
}

static const char *said(void)
{
    static char text[8192];
    ssize_t n = read(out, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    return text;
}

static void put_back(void)
{
    dup2(saved_stderr, 2);
    close(saved_stderr);
    close(out);
}

TEST(log_lines)
{
    char longer[3000];
    memset(longer, 'y', sizeof longer);
    longer[sizeof longer - 1] = 0;
    redirect(65536);
    errno = EBUSY;
    warn("net0: %s\x1b[2J\n", "tap");
    CHECK_EQ(errno, EBUSY);
    CHECK_STR(said(), "vmlet: net0: tap?[2J?\n"); /* a guest's string does not clear the screen */
    warn("%s", longer);
    const char *s = said();
    CHECK_EQ(strlen(s), 1023);
    CHECK(s[1022] == '\n');
    info("not at this level");
    CHECK_STR(said(), "");
    put_back();
}

TEST(S3_log_does_not_wait_for_a_full_pipe)
{
    redirect(4096);
    for (int i = 0; i < 1000; i++)
        warn("message %04d", i);
    const char *s = said();
    CHECK(!strncmp(s, "vmlet: message 0000\n", 20));
    CHECK(strlen(s) <= 4096);
    warn("again");
    s = said();
    CHECK(strstr(s, " messages lost: nobody read standard error\nvmlet: again\n"));
    warn("and again");
    CHECK_STR(said(), "vmlet: and again\n");
    put_back();
}

TEST(X8_what_a_guest_says_is_rate_limited_and_harmless)
{
    redirect(65536);
    uint64_t before = log_guest_bugs();
    for (int i = 0; i < 1000; i++)
        guest_note(LOG_LEVEL_WARNING, "init: %s", "\x1b]0;x\x07");
    const char *s = said();
    int lines = 0;
    for (const char *c = s; *c; c++)
        lines += *c == '\n';
    CHECK_EQ(lines, 10);
    CHECK(!strncmp(s, "vmlet: guest: init: ?]0;x?\n", 27));
    CHECK_EQ(log_guest_bugs(), before);
    guest_note(LOG_LEVEL_INFO, "not at this level");
    CHECK_STR(said(), "");
    /* C1 controls, as bytes and as UTF-8; characters stay */
    warn("\x9b"
         "2J \xc2\x9b"
         "2J \xc3\x9b \xe2\x82\xac \x90\x90 \xc2");
    CHECK_STR(said(), "vmlet: ?2J ??2J \xc3\x9b \xe2\x82\xac ?? \xc2\n");
    put_back();
}

TEST(X8_guest_bugs_are_rate_limited)
{
    redirect(65536);
    uint64_t before = log_guest_bugs();
    for (int i = 0; i < 1000; i++)
        guest_bug("edu0: write of %d", i);
    const char *s = said();
    int lines = 0;
    for (const char *c = s; *c; c++)
        lines += *c == '\n';
    CHECK_EQ(lines, 10);
    CHECK_EQ(log_guest_bugs() - before, 1000);
    guest_bug("edu0: another place");
    CHECK_STR(said(), "vmlet: guest: edu0: another place\n");
    put_back();
}
