// SPDX-License-Identifier: MIT
/* The gdb stub without gdb and without KVM: a scripted client of the remote serial protocol over a machine of two CPUs and
 * 64 KiB of RAM that are mapped twice. What a stock gdb makes of it is in tests/cli/gdb.sh. */
#include "gdb_client.h"

#include <pthread.h>

/* --- bytes and packets */

TEST(gdb_touches_nothing_before_a_good_packet)
{
    static const char *const junk[] = {"GET / HTTP/1.1\r\n", "\177ELF", "-", "+++x"};
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++) {
        start(true);
        CHECK(!feed(junk[i], strlen(junk[i])));
        gdb_close(gdb);
        CHECK_EQ(f.stops + f.resumes, 0);
    }
    start(true);
    CHECK(feed("+$?#00\3", 7)); /* a wrong sum is asked for again; Ctrl-C stops nothing that gdb has not */
    CHECK_STR(reply, "-");
    CHECK_EQ(f.stops, 0);
    SAYS("?", "T05thread:1;");
    CHECK(f.stopped);
}

TEST(gdb_acknowledges_until_told_not_to)
{
    start(true);
    SAYS("qAttached", "1");
    CHECK_EQ(reply[0], '+');
    SAYS("QStartNoAckMode", "OK");
    CHECK_EQ(reply[0], '+');
    SAYS("qAttached", "1");
    CHECK_EQ(reply[0], '$');
    CHECK(!feed("$?#00", 5)); /* nobody loses bytes now: no gdb */
}

TEST(gdb_packets_are_bounded)
{
    static char big[3 * GDB_PACKET];
    start(true);
    memset(big, 'm', sizeof big);
    big[0] = '$';
    memcpy(big + sizeof big - 3, "#00", 3);
    CHECK(feed(big, sizeof big));
    CHECK_STR(reply, "-");
    SAYS("QStartNoAckMode", "OK");
    CHECK_EQ(strlen(ask("m0,ffffffffffffffff")), GDB_PACKET); /* not more than that at once */
}

TEST(gdb_asks_what_it_does_not_know)
{
    start_talking(true);
    SAYS("vMustReplyEmpty", "");
    SAYS("qTStatus", "");
    SAYS("!", "");
    SAYS("bs", "");
    SAYS("Z9,0,1", "");
    SAYS("qXfer:auxv:read::0,10", "");
    CHECK(send_bytes("", 0));
    CHECK_STR(reply, "$#00");
    CHECK(send_bytes("qC\0x", 4));
    CHECK_STR(reply, "$#00");
}

/* --- the description and the registers */

static char xml[65536];

static void read_xml(unsigned step)
{
    char text[64];
    const char *part;
    size_t n = 0;
    do {
        snprintf(text, sizeof text, "qXfer:features:read:target.xml:%zx,%x", n, step);
        part = ask(text);
        CHECK(*part == 'm' || *part == 'l');
        CHECK(n + strlen(part) < sizeof xml);
        strcpy(xml + n, part + 1);
        n += strlen(part + 1);
    } while (*part == 'm');
}

/* Bytes of all registers together, and of those before `name`. */
static unsigned xml_bytes(const char *name, unsigned *number)
{
    unsigned bits = 0, n = 0;
    char want[64];
    snprintf(want, sizeof want, "<reg name=\"%s\"", name ? name : "(none)");
    for (const char *p = xml; (p = strstr(p, "<reg ")); p++, n++) {
        if (!strncmp(p, want, strlen(want)))
            break;
        bits += (unsigned)atoi(strstr(p, "bitsize=\"") + 9);
    }
    if (number)
        *number = n;
    return bits / 8;
}

TEST(gdb_description_agrees_with_registers)
{
    static const char *const first[2] = {"eax", "rax"};
    for (int wide = 0; wide < 2; wide++) {
        start_talking(wide);
        read_xml(100);
        unsigned n = (unsigned)strlen(xml);
        read_xml(GDB_PACKET);
        CHECK_EQ(n, strlen(xml));
        CHECK(strstr(xml, wide ? "<architecture>i386:x86-64<" : "<architecture>i386<"));
        CHECK_EQ(strlen(ask("g")), 2 * xml_bytes(NULL, NULL));
        CHECK_EQ(xml_bytes(first[wide], NULL), 0);
        CHECK_EQ(xml_bytes(wide ? "eflags" : "eip", &n), wide ? 17 * 8 : 8 * 4);
        SAYS("qXfer:features:read:target.xml:ffffffffffffffff,ffffffffffffffff", "l");
        SAYS("qXfer:features:read:other.xml:0,100", "E00");
        SAYS("qXfer:features:read:target.xml:0", "E16");
    }
}

TEST(gdb_description_follows_long_mode)
{
    start(false);
    f.regs[1].efer = 1 << 10;
    read_xml(GDB_PACKET);
    CHECK(strstr(xml, "i386:x86-64"));
}

TEST(gdb_registers)
{
    char text[64];
    unsigned n;
    start_talking(true);
    read_xml(GDB_PACKET);
    f.regs[0].rax = 0x1122334455667788;
    f.regs[0].r15 = 0xffff;
    memset(f.regs[0].st[7], 0x5a, 16);
    f.regs[0].xmm[15][15] = 0x77;
    SAYS("p0", "8877665544332211");
    const char *all = ask("g");
    CHECK(!strncmp(all, "8877665544332211", 16));
    CHECK(!strncmp(all + 2 * xml_bytes("r15", NULL), "ffff000000000000", 16));
    CHECK(!strncmp(all + 2 * xml_bytes("st7", NULL), "5a5a5a5a5a5a5a5a5a5a", 20));
    CHECK(!strncmp(all + 2 * xml_bytes("xmm15", NULL) + 30, "77", 2));
    CHECK(!strncmp(all + 2 * xml_bytes("mxcsr", NULL), "801f0000", 8));

    SAYS("P0=0100000000000080", "OK");
    CHECK_EQ(f.regs[0].rax, 0x8000000000000001);
    xml_bytes("cr3", &n);
    snprintf(text, sizeof text, "P%x=00f0000000000000", n);
    SAYS(text, "OK");
    CHECK_EQ(f.regs[0].cr3, 0xf000);
    xml_bytes("cr0", &n);
    snprintf(text, sizeof text, "P%x=0000000001000000", n); /* KVM says no */
    SAYS(text, "E16");
    xml_bytes("cs", &n);
    snprintf(text, sizeof text, "P%x=08000000", n);
    SAYS(text, "E16");
    snprintf(text, sizeof text, "P%x=10000000", n); /* what it is anyway */
    SAYS(text, "OK");

    char whole[4096];
    snprintf(whole, sizeof whole, "G%s", ask("g"));
    memcpy(whole + 1, "0200000000000000", 16);
    memcpy(whole + 1 + 2 * xml_bytes("cs", NULL), "08000000", 8); /* not taken */
    SAYS(whole, "OK");
    CHECK_EQ(f.regs[0].rax, 2);
    CHECK_EQ(f.regs[0].cs, 0x10);
    SAYS("G0300000000000000", "OK"); /* the first ones alone */
    CHECK_EQ(f.regs[0].rax, 3);
    SAYS("Hg2", "OK");
    SAYS("p10", "0020000000000000");
    static const char *const bad[] = {"p",
                                      "pz",
                                      "pffff",
                                      "P",
                                      "P0",
                                      "P0=",
                                      "P0=00",
                                      "P0=zz00000000000000",
                                      "Gz",
                                      "G0",
                                      "pffffffffffffffffff",
                                      "Pffff=00"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        SAYS(bad[i], "E16");
}

/* --- memory */

TEST(gdb_memory)
{
    char text[4200], want[4200];
    start_talking(true);
    snprintf(want, sizeof want, "%02x%02x%02x%02x", f.ram[0xffe], f.ram[0xfff], f.ram[0x1000], f.ram[0x1001]);
    SAYS("mffe,4", want);
    SAYS("mffffffff80000ffe,4", want);
    snprintf(want, sizeof want, "%02x%02x", f.ram[0x7ffe], f.ram[0x7fff]);
    SAYS("m7ffe,10", want); /* as far as it is mapped */
    SAYS("m8000,1", "E0e");
    SAYS("m20000,4", "E0e"); /* mapped, and no RAM */
    SAYS("mffffffffffffffff,2", "E0e");
    SAYS("m0,0", "");
    SAYS("M100,3:a1b2c3", "OK");
    CHECK(!memcmp(f.ram + 0x100, "\xa1\xb2\xc3", 3));
    uint8_t before = f.ram[0x7fff];
    SAYS("M7fff,2:0000", "E0e"); /* all or nothing */
    CHECK_EQ(f.ram[0x7fff], before);
    size_t n = (size_t)sprintf(text, "Xffe,4:");
    memcpy(text + n, "#$}\0", 4);
    CHECK(send_bytes(text, n + 4));
    CHECK_STR(reply, "$OK#9a");
    CHECK(!memcmp(f.ram + 0xffe, "#$}\0", 4));
    SAYS("X0,0:", "OK");
    static const char *const bad[] = {
        "m",       "m0",     "m0,",  "m,4",     "mz,4",     "m0,4:", "m11111111111111111,1",
        "M0,2:00", "M0,1:0", "M0,1", "M0,1:zz", "X0,5:abc", "X0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        SAYS(bad[i], "E16");
}

TEST(gdb_soft_breakpoints_are_not_seen)
{
    char want[16];
    start_talking(true);
    uint8_t was = f.ram[0x2000];
    SAYS("Z0,2000,1", "OK");
    CHECK_EQ(f.ram[0x2000], INT3);
    SAYS("Z0,2000,1", "OK");             /* the same */
    SAYS("Z0,ffffffff80002000,1", "OK"); /* the same byte */
    snprintf(want, sizeof want, "%02x%02x", was, f.ram[0x2001]);
    SAYS("m2000,2", want);
    SAYS("mffffffff80002000,2", want);
    SAYS("M1fff,3:010203", "OK"); /* below it */
    CHECK_EQ(f.ram[0x1fff], 1);
    CHECK_EQ(f.ram[0x2000], INT3);
    SAYS("m1fff,3", "010203");
    SAYS("z0,2000,1", "OK");
    CHECK_EQ(f.ram[0x2000], INT3); /* there is another */
    SAYS("z0,ffffffff80002000,1", "OK");
    CHECK_EQ(f.ram[0x2000], 2);
    SAYS("z0,2000,1", "OK"); /* none is none */

    SAYS("Z0,3000,1", "OK");
    f.ram[0x3000] = 0x99; /* the guest loads another program there */
    SAYS("m3000,1", "99");
    SAYS("z0,3000,1", "OK");
    CHECK_EQ(f.ram[0x3000], 0x99);
    SAYS("Z0,8000,1", "E0e");  /* not mapped */
    SAYS("Z0,20000,1", "E0e"); /* no RAM */
    static const char *const bad[] = {"Z", "Z0", "Z0,", "Z0,1", "Z0,1,", "Z0,z,1", "z0,1,1,"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        SAYS(bad[i], "E16");
}

TEST(gdb_soft_breakpoints_have_an_end)
{
    char text[64];
    uint8_t before[RAM];
    start_talking(true);
    memcpy(before, f.ram, RAM);
    for (unsigned i = 0; i <= GDB_SOFT_MAX; i++) {
        snprintf(text, sizeof text, "Z0,%x,1", i * 3);
        SAYS(text, i < GDB_SOFT_MAX ? "OK" : "E1c");
    }
    gdb_close(gdb); /* and it vanishes */
    CHECK(!memcmp(before, f.ram, RAM));
    CHECK(!f.stopped);
}

TEST(gdb_hardware_breakpoints)
{
    start_talking(true);
    SAYS("Z1,1000,4", "OK");  /* the length of an instruction is no concern of DR7's */
    SAYS("Z1,1000,1", "OK");  /* the same */
    SAYS("Z2,2001,8", "E1c"); /* 1 + 2 + 4 + 1 bytes, and three are free: */
    SAYS("Z2,2002,4", "OK");  /* 2 + 2 */
    SAYS("Z4,3000,8", "OK");
    SAYS("Z3,4000,1", "E1c");
    SAYS("z2,2002,4", "OK");
    SAYS("Z3,4000,1", "OK");
    SAYS("Z2,0,0", "E16");
    SAYS("Z2,0,ffffffffffffffff", "E16");
    CHECK(!strcmp(ask("vCont;c"), "(none)"));
    for (unsigned i = 0; i < CPUS; i++) {
        const struct vcpu_debug *d = &f.armed[i];
        CHECK(!d->soft && !d->step);
        CHECK(d->hard[0].kind == VCPU_HARD_EXECUTE && d->hard[0].size == 1 && d->hard[0].addr == 0x1000);
        unsigned seen = 0;
        for (unsigned s = 1; s < VCPU_HARD; s++) {
            seen |= d->hard[s].addr == 0x3000 && d->hard[s].size == 8 && d->hard[s].kind == VCPU_HARD_ACCESS
                        ? 1
                        : 0;
            seen |= d->hard[s].addr == 0x4000 && d->hard[s].size == 1 && d->hard[s].kind == VCPU_HARD_ACCESS
                        ? 2
                        : 0;
        }
        CHECK_EQ(seen, 3);
    }
    unsigned slot = f.armed[0].hard[1].addr == 0x3000 ? 1 : f.armed[0].hard[2].addr == 0x3000 ? 2 : 3;
    MEETS(1, VCPU_DEBUG_HARD, slot, 0x1234, "T05thread:2;awatch:3000;");
    CHECK(f.stopped);
    SAYS("c", "(none)");
    MEETS(0, VCPU_DEBUG_HARD, 0, 0x1000, "T05thread:1;hwbreak:;");
    SAYS("z1,1000,4", "OK");
    SAYS("z4,3000,8", "OK");
    SAYS("z3,4000,1", "OK");
    SAYS("c", "(none)");
    for (unsigned s = 0; s < VCPU_HARD; s++)
        CHECK_EQ(f.armed[0].hard[s].kind, VCPU_HARD_NONE);
}

/* --- running and stopping */

TEST(gdb_runs_whom_it_names)
{
    start_talking(true);
    SAYS("vCont?", "vCont;c;C;s;S");
    SAYS("vCont;s:2", "(none)");
    CHECK(!f.stopped && f.held[0] && !f.held[1] && f.armed[1].step && !f.armed[0].step);
    SAYS("g", "E01"); /* it runs */
    MEETS(1, VCPU_DEBUG_STEP, 0, 0x2001, "T05thread:2;");
    SAYS("qC", "QC2");
    SAYS("vCont;C05:1;s", "(none)");
    CHECK(!f.held[0] && !f.held[1] && f.armed[1].step && !f.armed[0].step);
    MEETS(0, VCPU_DEBUG_STEP, 0, 0, "(none)"); /* nobody asked it to */
    CHECK(!f.stopped);
    CHECK(feed("\3", 1));
    CHECK(f.stopped && strstr(reply, "$T02thread:2;"));
    reply_n = 0;
    CHECK(feed("\3", 1)); /* again: it stands already */
    CHECK_EQ(reply_n, 0);
    SAYS("Hc1", "OK");
    SAYS("s", "(none)");
    CHECK(!f.held[0] && f.held[1] && f.armed[0].step);
    MEETS(0, VCPU_DEBUG_STEP, 0, 0, "T05thread:1;");
    SAYS("Hc-1", "OK");
    SAYS("c1230", "(none)");
    CHECK_EQ(f.regs[0].rip, 0x1230);
    CHECK(!f.held[0] && !f.held[1] && !f.armed[0].step && !f.armed[1].step);
    CHECK(feed("\3", 1));
    f.refuse_arm = true;
    SAYS("vCont;s:1", "E16"); /* KVM does not */
    CHECK(f.stopped);
    static const char *const bad[] = {"vCont;",    "vCont;x", "vCont;c:0", "vCont;c:3", "vCont;c:-2",
                                      "vCont;c:z", "vCont;C", "vCont;c;",  "cz",        "sz"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        SAYS(bad[i], "E16");
    CHECK(f.stopped);
}

TEST(gdb_tells_its_int3_from_the_guests)
{
    start_talking(true);
    SAYS("Z0,1000,1", "OK");
    SAYS("c", "(none)");
    CHECK(f.armed[0].soft && f.armed[1].soft);
    unsigned stops = f.stops;
    MEETS(1, VCPU_DEBUG_SOFT, 0, 0x5000, "(none)"); /* a kernel that patches itself */
    CHECK_EQ(f.injected[1], 1);
    CHECK(!f.stopped && f.stops == stops + 1);
    MEETS(1, VCPU_DEBUG_SOFT, 0, HIGH + 0x1000, "T05thread:2;swbreak:;"); /* at its other address */
    CHECK_EQ(f.injected[1], 1);
    SAYS("z0,1000,1", "OK");
    SAYS("vCont;s:2", "(none)");
    CHECK(!f.armed[1].soft);
}

TEST(gdb_two_things_at_once)
{
    start_talking(true);
    SAYS("Z2,2000,4", "OK");
    SAYS("Z1,3000,1", "OK");
    SAYS("c", "(none)");
    const struct vcpu_debug_event watch = {VCPU_DEBUG_HARD, 0, 0x1111};
    gdb_event(gdb, 1, &watch);
    MEETS(0, VCPU_DEBUG_HARD, 1, 0x3000, "T05thread:1;hwbreak:;");
    unsigned resumes = f.resumes;
    SAYS("c", "T05thread:2;watch:2000;"); /* told now; nobody has run */
    CHECK_EQ(f.resumes, resumes);
    SAYS("c", "(none)");
    gdb_event(gdb, 1, &watch);
    MEETS(0, VCPU_DEBUG_HARD, 1, 0x3000, "T05thread:2;watch:2000;"); /* who was last looked at comes first */
    SAYS("c", "(none)");                                             /* and a breakpoint will be met again */
    gdb_event(gdb, 0, &watch);
    MEETS(1, VCPU_DEBUG_HARD, 0, 0, "T05thread:2;watch:2000;");
    SAYS("z2,2000,4", "OK");
    SAYS("c", "(none)"); /* the watchpoint is gone, and what it saw with it */
    /* Ctrl-C and a breakpoint in the same moment: the breakpoint is told */
    const struct vcpu_debug_event hard = {VCPU_DEBUG_HARD, 1, 0x3000};
    gdb_event(gdb, 0, &hard);
    reply_n = 0;
    CHECK(feed("\3", 1));
    CHECK(strstr(reply, "T05thread:1;hwbreak:;"));
}

TEST(gdb_leaves_no_trace)
{
    static const char *const ways[] = {"D", "D;1", NULL};
    uint8_t before[RAM];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        for (int running = 0; running < 2; running++) {
            start_talking(true);
            memcpy(before, f.ram, RAM);
            SAYS("Z0,1000,1", "OK");
            SAYS("Z1,2000,1", "OK");
            SAYS("vCont;s:1", "(none)");
            const struct vcpu_debug_event soft = {VCPU_DEBUG_SOFT, 0, 0x1000},
                                          own = {VCPU_DEBUG_SOFT, 0, 0x1001};
            gdb_event(gdb, 0, &soft); /* one that nobody has looked at yet */
            gdb_event(gdb, 1, &own);
            if (!running)
                CHECK(feed("\3", 1) && f.stopped);
            if (ways[i] && !running) {
                SAYS(ways[i], "OK");
                CHECK(gdb_done(gdb));
            }
            gdb_close(gdb);
            CHECK(!memcmp(before, f.ram, RAM));
            static const struct vcpu_debug none;
            for (unsigned c = 0; c < CPUS; c++)
                CHECK(!f.held[c] && !memcmp(&f.armed[c], &none, sizeof none));
            CHECK(!f.stopped);
            CHECK_EQ(f.injected[0], 0); /* its int3 was ours */
            CHECK_EQ(f.injected[1], 1);
            gdb_events(gdb); /* the loop's turn comes late */
            CHECK_EQ(f.injected[1], 1);
            gdb_open(gdb); /* and another comes */
            CHECK(strstr(ask("?"), "T05thread:1;"));
            CHECK(f.stopped);
        }
}

TEST(gdb_kill_and_exit)
{
    start_talking(true);
    SAYS("vKill;1", "OK");
    CHECK(f.killed && gdb_done(gdb));
    start_talking(true);
    SAYS("k", "(none)");
    CHECK(f.killed && gdb_done(gdb));
    start_talking(true);
    reply_n = 0;
    gdb_exited(gdb, 42);
    take();
    CHECK_EQ(reply_n, 0); /* gdb has the word, and does not listen */
    SAYS("c", "(none)");
    gdb_exited(gdb, 42);
    take();
    CHECK_STR(reply, "$W2a#ea");
}

/* --- threads, monitor */

TEST(gdb_threads)
{
    start_talking(true);
    SAYS("qfThreadInfo", "m1,2");
    SAYS("qsThreadInfo", "l");
    SAYS("qThreadExtraInfo,2", "7643505520312c2068616c746564"); /* vCPU 1, halted */
    CHECK(strstr(ask("qXfer:threads:read::0,1000"),
                 "<thread id=\"2\" core=\"1\" name=\"vCPU 1\">halted</thread>"));
    SAYS("T2", "OK");
    SAYS("T3", "E16");
    SAYS("T0", "E16");
    SAYS("Hg0", "OK");
    SAYS("Hg-1", "OK");
    static const char *const bad[] = {
        "H", "Hx1", "Hg", "Hg3", "Hgz", "Hg-2", "Hc3", "T", "Tz", "qThreadExtraInfo,", "qThreadExtraInfo,9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        SAYS(bad[i], "E16");
}

TEST(gdb_monitor)
{
    start_talking(true);
    f.answer = 3;
    SAYS("qRcmd,696e666f20697271", "O616263");
    CHECK_STR(f.line, "info irq");
    CHECK(strstr(reply, "$OK#9a"));
    f.answer = 0;
    CHECK(strstr(ask("qRcmd,78"), "O6e6f2073756368")); /* no such… */
    SAYS("qRcmd,7", "E16");
    SAYS("qRcmd,00", "E16");
    SAYS("qRcmd,zz", "E16");
    f.answer = 100000; /* comes in parts, and none of what follows is looked at before it has gone */
    bool ok;
    static const char two[] = "$qRcmd,78#92$?#3f";
    CHECK_EQ(gdb_input(gdb, two, sizeof two - 1, &ok), 12);
    CHECK(ok);
    size_t parts = 0, text = 0, n;
    const char *data;
    while (data = gdb_output(gdb, &n), n) {
        CHECK(n < GDB_PACKET);
        CHECK_EQ(gdb_input(gdb, two + 12, 4, &ok), 0);
        if (data[1] == 'O' && data[2] != 'K') {
            parts++;
            text += (n - 5) / 2;
        }
        gdb_sent(gdb, n);
    }
    CHECK_EQ(text, 100000);
    CHECK(parts > 10);
    f.answer = 100000;
    CHECK(gdb_input(gdb, two, 12, &ok) == 12);
    gdb_close(gdb); /* gone in the middle of it */
    CHECK(!f.stopped);
}

/* --- nonsense */

TEST(gdb_any_bytes)
{
    uint64_t seed = 20;
    static const char *const starts[] = {"q",
                                         "Q",
                                         "v",
                                         "vCont",
                                         "m",
                                         "M",
                                         "X",
                                         "Z0,",
                                         "z0,",
                                         "Z2,",
                                         "G",
                                         "P",
                                         "p",
                                         "H",
                                         "T",
                                         "s",
                                         "c",
                                         "C",
                                         "qXfer:features:read:target.xml:",
                                         "qRcmd,",
                                         "qThreadExtraInfo,",
                                         "D",
                                         "vCont;s:",
                                         "qXfer:threads:read::"};
    static const char letters[] = "0123456789abcdef,;:=-+zZ\0}#$*cs";
    f.answer = 10;
    for (unsigned run = 0; run < 400; run++) {
        start_talking(run & 1);
        f.answer = 10;
        for (unsigned i = 0; i < 40; i++) {
            char text[300];
            const char *begin = starts[test_rand(&seed) % (sizeof starts / sizeof *starts)];
            size_t n = (size_t)snprintf(text, sizeof text, "%s", begin), extra = test_rand(&seed) % 40;
            for (; extra; extra--)
                text[n++] = test_rand(&seed) % 8 ? letters[test_rand(&seed) % (sizeof letters - 1)]
                                                 : (char)test_rand(&seed);
            if (!send_bytes(text, n))
                break;
            CHECK(reply_n < 2 * GDB_PACKET + 64);
            if (test_rand(&seed) % 4 == 0)
                feed("\3", 1);
            if (test_rand(&seed) % 4 == 0)
                event((unsigned)test_rand(&seed) % CPUS, (enum vcpu_debug_what)(test_rand(&seed) % 3),
                      test_rand(&seed) % VCPU_HARD, test_rand(&seed) % RAM);
        }
        gdb_close(gdb);
        CHECK(!f.stopped && !f.held[0] && !f.held[1]);
    }
    for (unsigned run = 0; run < 200; run++) { /* and not even packets */
        start(true);
        char junk[2000];
        for (size_t i = 0; i < sizeof junk; i++)
            junk[i] = test_rand(&seed) % 4 ? "$#+\3m0,}"[test_rand(&seed) % 8] : (char)test_rand(&seed);
        feed(junk, sizeof junk);
        gdb_close(gdb);
        CHECK(!f.stopped);
    }
}

/* Events come from other threads. For the thread sanitizer. */
static void *meet(void *arg)
{
    const struct vcpu_debug_event e = {VCPU_DEBUG_SOFT, 0, 0x1000};
    gdb_event(gdb, (unsigned)(uintptr_t)arg, &e);
    return NULL;
}
TEST(gdb_events_from_threads)
{
    start_talking(true);
    SAYS("Z0,1000,1", "OK");
    SAYS("c", "(none)");
    pthread_t t[CPUS];
    for (uintptr_t i = 0; i < CPUS; i++)
        pthread_create(&t[i], NULL, meet, (void *)i);
    for (unsigned i = 0; i < CPUS; i++)
        pthread_join(t[i], NULL);
    gdb_events(gdb);
    reply_n = 0;
    take();
    CHECK(strstr(reply, "swbreak:;"));
}
