// SPDX-License-Identifier: MIT
/* Drops, misuse and their counters: include/mem/watch.h. */
#include "test.h"
#include "said.h"
#include "kvm/host/log.h"
#include "mem/watch.h"

#include <unistd.h>

enum {
    DROP_RX_OFF,
    DROP_TX_LONG,
    LINT_TAIL = 0,
};
static const char *const drops[] = {"rx drop: RCTL.EN=0", "tx drop: too long", NULL};
static const char *const lints[] = {"the tail is beyond the ring", NULL};

static void stats(struct device *dev, FILE *out)
{
    (void)dev;
    fputs("  more\n", out);
}
static const struct device_class plain = {.name = "plain", .size = sizeof(struct device)};
static const struct device_class teller = {
    .name = "teller", .size = sizeof(struct device), .drops = drops, .lints = lints, .stats = stats};

static struct board board;

static struct device *make(const struct device_class *class)
{
    char err[128];
    board = (struct board){0};
    board.devices_tail = &board.devices;
    struct device *dev = device_new(&board, class, NULL, NULL, err, sizeof err);
    CHECK(dev);
    return dev;
}

static char *text(struct device *dev)
{
    static char *buf;
    static size_t size;
    free(buf);
    FILE *f = open_memstream(&buf, &size);
    device_stats(dev, f);
    fclose(f);
    return buf;
}

/* What the function says on standard error. */
static char *said(void (*fn)(struct device *dev), struct device *dev)
{
    static char buf[512];
    said_begin();
    fn(dev);
    return said_end(buf, sizeof buf);
}

static void drop_twice(struct device *dev)
{
    device_drop(dev, DROP_TX_LONG);
    device_drop(dev, DROP_TX_LONG);
}

TEST(a_drop_is_said_once_and_counted)
{
    struct device *dev = make(&teller);
    log_set_level(LOG_LEVEL_INFO);
    CHECK_STR(said(drop_twice, dev), "vmlet: teller0: tx drop: too long\n");
    CHECK_STR(said(drop_twice, dev), "");
    log_set_level(LOG_LEVEL_WARNING);
    device_lint(dev, LINT_TAIL);
    dev->refused[REG_FAULT_SIZE] = 3;
    CHECK_STR(text(dev), "teller0:\n"
                         "  register refused: a size that it does not take: 3\n"
                         "  tx drop: too long: 4\n"
                         "  misuse: the tail is beyond the ring: 1\n"
                         "  more\n");
    devices_free(&board);
}

TEST(drops_are_silent_below_info)
{
    struct device *dev = make(&teller);
    CHECK_STR(said(drop_twice, dev), "");
    devices_free(&board);
}

TEST(a_device_without_reasons_has_stats)
{
    struct device *dev = make(&plain);
    CHECK_STR(text(dev), "plain0:\n");
    devices_free(&board);
}
