// SPDX-License-Identifier: MIT
#include "guest/result.h"
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

static int status_of(enum end_reason reason, int status, bool command)
{
    struct result r = {.command = command};
    result_end(&r, reason, status, NULL);
    return result_status(&r);
}

TEST(result_statuses_are_the_contract)
{
    CHECK_EQ(status_of(END_EXITED, 7, true), 7);
    CHECK_EQ(status_of(END_EXITED, 0x1ff, false), 0xff);
    CHECK_EQ(status_of(END_SIGNALED, 128 + 9, true), 137);
    CHECK_EQ(status_of(END_POWEROFF, 0, false), 0);
    CHECK_EQ(status_of(END_REBOOT, 0, false), 0);
    CHECK_EQ(status_of(END_POWEROFF, 0, true), 123);
    CHECK_EQ(status_of(END_REBOOT, 0, true), 123);
    for (enum end_reason e = END_HALTED; e <= END_KVM_ERROR; e++)
        CHECK_EQ(status_of(e, 0, false), 123);
    CHECK_EQ(status_of(END_TIMEOUT, 0, true), 124);
    CHECK_EQ(status_of(END_STOPPED, 0, true), 123);
    CHECK_EQ(status_of(END_GATE, 0, true), 123);
    CHECK_EQ(status_of(END_SETUP, 0, false), 125);
    CHECK_EQ(status_of(END_SIGNAL, 15, false), 143);
}

TEST(result_first_end_wins_but_a_panic_is_not_overwritten)
{
    struct result r = {.command = true};
    CHECK(result_end(&r, END_EXITED, 3, NULL));
    CHECK(!result_end(&r, END_POWEROFF, 0, NULL));
    CHECK_EQ(result_status(&r), 3);

    struct result p = {0};
    result_panic(&p, "Kernel panic - not syncing: x\ny");
    CHECK(result_end(&p, END_REBOOT, 0, "reset"));
    CHECK_EQ(p.reason, END_PANIC);
    CHECK_EQ(result_status(&p), 123);
    CHECK_STR(p.detail, "Kernel panic - not syncing: x?y");

    struct result k = {0};
    CHECK(result_panic(&k, "Kernel panic - not syncing: \x1b[2J"));
    CHECK(!result_panic(&k, "again"));
    CHECK(result_end(&k, END_KVM_ERROR, 0, "vCPU 0: KVM cannot go on"));
    CHECK_EQ(k.reason, END_PANIC);
    CHECK_STR(k.detail, "Kernel panic - not syncing: ?[2J");
    CHECK(!result_panic(&k, "too late"));

    struct result t = {0};
    result_panic(&t, "Kernel panic - not syncing: x");
    CHECK(result_end(&t, END_TIMEOUT, 0, "3 s"));
    CHECK_EQ(result_status(&t), 124);
}

TEST(result_of_a_guest_that_was_asked_to_end)
{
    struct result r = {.command = true};
    result_asked(&r);
    CHECK(result_end(&r, END_EXITED, 0, "done"));
    CHECK_EQ(r.reason, END_STOPPED);
    CHECK_EQ(result_status(&r), 123);
    CHECK_STR(r.detail, "vmlet stop: the guest reported 0");

    struct result k = {.command = true};
    result_asked(&k);
    CHECK(result_end(&k, END_SIGNALED, 128 + 15, NULL));
    CHECK_STR(k.detail, "vmlet stop: the command died, which counts as 143");

    struct result o = {0};
    result_asked(&o);
    CHECK(result_end(&o, END_POWEROFF, 0, NULL));
    CHECK_EQ(result_status(&o), 123);

    struct result p = {0}; /* not all that happens then was asked for */
    result_asked(&p);
    result_panic(&p, "Kernel panic");
    CHECK(result_end(&p, END_REBOOT, 0, NULL));
    CHECK_EQ(p.reason, END_PANIC);
    struct result t = {0};
    result_asked(&t);
    CHECK(result_end(&t, END_TIMEOUT, 0, "3 s"));
    CHECK_EQ(result_status(&t), 124);
}

TEST(result_file_says_it_without_ambiguity)
{
    char dir[] = "/tmp/result-XXXXXX", path[64], text[1024] = "";
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/r", dir);
    struct result r = {.command = true, .time_ms = 12, .boot_ms = 5};
    result_end(&r, END_SIGNALED, 137, "signal 9");
    CHECK(!result_file_check(path));
    for (int i = 0; i < 2; i++) { /* the second time over the first */
        CHECK(!result_file_write(path, &r, 0));
        FILE *f = fopen(path, "r");
        CHECK(f);
        text[fread(text, 1, sizeof text - 1, f)] = 0;
        fclose(f);
        CHECK_STR(text, "source=guest\nstatus=137\nreason=signaled\ndetail=signal "
                        "9\ntime_ms=12\nboot_ms=5\nlast_line=\nwarnings=0\n");
    }
    CHECK(!unlink(path) && !rmdir(dir)); /* and no temporary file was left */
}

TEST(result_file_that_cannot_be_written_is_known_before)
{
    CHECK(result_file_check("/nonexistent-folder/r"));
    CHECK(result_file_check("/tmp"));
    CHECK(!result_file_check("/dev/null"));
    CHECK(result_file_write("/nonexistent-folder/r", &(struct result){0}, 0));
}

TEST(X5_result_does_not_follow_a_link_laid_in_its_way)
{
    char dir[] = "/tmp/result-XXXXXX", path[64], tmp[96], victim[64];
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/r", dir);
    snprintf(victim, sizeof victim, "%s/victim", dir);
    snprintf(tmp, sizeof tmp, "%s.tmp-%ld", path, (long)getpid());
    CHECK(!symlink(victim, tmp));
    CHECK(result_file_write(path, &(struct result){0}, 0));
    CHECK(access(victim, F_OK) < 0);
    unlink(tmp);
    rmdir(dir);
}
