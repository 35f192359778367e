// SPDX-License-Identifier: MIT
/* The log of map changes on a board with PCI: include/mem/maplog.h. */
#include "test.h"
#include "mem/maplog.h"
#include "mem/mtree.h"
#include "pci_board.h"

static char told[8192];
static void tell(void *ctx, const char *line)
{
    (void)ctx;
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s\n", line);
}

static char *printed(void (*fn)(FILE *out))
{
    static char *buf;
    static size_t size;
    free(buf);
    FILE *f = open_memstream(&buf, &size);
    fn(f);
    fclose(f);
    return buf;
}

static struct toy *toy;
static struct maplog *memory_log, *io_log;

static void board_new(const char *options)
{
    machine_new();
    toy = toy_new(options);
    CHECK(toy && placed());
    told[0] = 0;
    memory_log = maplog_new(&m->memory, tell, NULL);
    io_log = maplog_new(&m->io, tell, NULL);
}

static void board_done(void)
{
    maplog_free(memory_log);
    maplog_free(io_log);
}

TEST(moves_are_told_once)
{
    board_new("bars=m12+i8");
    unsigned devfn = toy->pci.devfn;
    CHECK_STR(told, "");
    cf8_write(devfn, PCI_BAR0, 0xfe000000, 4);
    cf8_write(devfn, PCI_BAR0, 0xfe000000, 4); /* nothing new */
    cf8_write(devfn, PCI_BAR0, 0xfeb00000, 4);
    cf8_write(devfn, PCI_BAR0 + 4, 0xd000, 4);
    cf8_write(devfn, PCI_COMMAND, PCI_COMMAND_IO, 2);
    cf8_write(devfn, PCI_BAR0, 0xc0000000, 4); /* while it is off */
    cf8_write(devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    CHECK_STR(told, "BAR0 of toy0 0xc0000000 -> 0xfe000000\n"
                    "BAR0 of toy0 0xfe000000 -> 0xfeb00000\n"
                    "BAR1 of toy0 0xc000 -> 0xd000\n"
                    "BAR0 of toy0 0xfeb00000 -> off\n"
                    "BAR0 of toy0 nowhere -> 0xc0000000\n"
                    "BAR1 of toy0 0xd000 -> off\n");
    CHECK_STR(printed(maplog_print), "map changes of io: 2\n"
                                     "  BAR1 of toy0 0xc000 -> 0xd000\n"
                                     "  BAR1 of toy0 0xd000 -> off\n\n"
                                     "map changes of memory: 4\n"
                                     "  BAR0 of toy0 0xc0000000 -> 0xfe000000\n"
                                     "  BAR0 of toy0 0xfe000000 -> 0xfeb00000\n"
                                     "  BAR0 of toy0 0xfeb00000 -> off\n"
                                     "  BAR0 of toy0 nowhere -> 0xc0000000\n\n");
    CHECK(strstr(printed(mtree_print), "map changes of memory: 4\n"));
    board_done();
}

/* Over RAM a BAR is hidden; half under ECAM it is where it was, in one piece or two. */
TEST(what_is_covered_is_hidden)
{
    board_new("bars=m24");
    unsigned devfn = toy->pci.devfn;
    cf8_write(devfn, PCI_BAR0, 0x00000000, 4); /* 1 MiB of RAM covers its beginning */
    cf8_write(devfn, PCI_BAR0, 0xe1000000, 4); /* ECAM all of it */
    cf8_write(devfn, PCI_BAR0, 0xfe000000, 4); /* the APICs' range lies in it */
    CHECK_STR(told, "BAR0 of toy0 0xc0000000 -> 0x0\n"
                    "BAR0 of toy0 0x0 -> hidden\n"
                    "BAR0 of toy0 nowhere -> 0xfe000000\n");
    board_done();
}

TEST(the_log_is_bounded)
{
    board_new("bars=m12");
    for (unsigned i = 0; i < 1000; i++)
        cf8_write(toy->pci.devfn, PCI_BAR0, 0xd0000000 + (i << 12), 4);
    char *s = printed(maplog_print), *line = strstr(s, "map changes of memory");
    CHECK(!strncmp(line, "map changes of memory: 1000, the last 64\n", 41));
    unsigned lines = 0;
    for (; (line = strchr(line, '\n')) && line[1] == ' '; line++)
        lines++;
    CHECK_EQ(lines, MAPLOG_LINES);
    CHECK(strstr(s, "0xd03e6000 -> 0xd03e7000\n\n"));
    board_done();
}
