// SPDX-License-Identifier: MIT
/* SPEC = ID:EVENT[.ARG]:ACTION@K, against the devices that there are: see include/guest/fault.h. */
#include "guest/fault_priv.h"

#include <ctype.h>
#include <string.h>

#define BIT(action) (1u << (action))
#define ACCESS      (BIT(FAULT_DROP) | BIT(FAULT_DOUBLE) | BIT(FAULT_SPURIOUS) | BIT(FAULT_ONES))

static const char *const actions[] = {
    [FAULT_DROP] = "drop", [FAULT_DOUBLE] = "double", [FAULT_SPURIOUS] = "spurious", [FAULT_ONES] = "ones",
    [FAULT_FAIL] = "fail", [FAULT_DELAY] = "delay",   [FAULT_CABLE] = "flap",        [FAULT_COUNT] = "count",
};
enum {
    ACTIONS = sizeof actions / sizeof *actions,
};

static const char *no_arg(struct fault *f, const char *arg);
static const char *arg_register(struct fault *f, const char *arg);
static const char *arg_direction(struct fault *f, const char *arg);
static const char *arg_vector(struct fault *f, const char *arg);

static const struct {
    const char *name;
    enum fault_event event;
    unsigned actions;
    bool pci;
    const char *(*arg)(struct fault *f, const char *arg);
} events[] = {
    {"read",  FAULT_READ,  ACCESS,                                      false, arg_register },
    {"write", FAULT_WRITE, ACCESS,                                      false, arg_register },
    {"look",  FAULT_LOOK,  ACCESS,                                      false, no_arg       },
    {"bar",   FAULT_BAR,   ACCESS,                                      true,  no_arg       },
    {"dma",   FAULT_DMA,   ACCESS | BIT(FAULT_FAIL) | BIT(FAULT_DELAY), true,  arg_direction},
    {"irq",   FAULT_IRQ,   ACCESS | BIT(FAULT_DELAY),                   true,  arg_vector   },
    {"link",  FAULT_LINK,  BIT(FAULT_DROP) | BIT(FAULT_CABLE),          false, no_arg       },
};
enum {
    EVENTS = sizeof events / sizeof *events,
    PART = 80, /* characters of a part */
};

static const char *no_arg(struct fault *f, const char *arg)
{
    (void)f;
    return opts_say(".%s: this event has no argument", arg);
}

static const char *arg_register(struct fault *f, const char *arg)
{
    for (unsigned b = 0; b < f->dev->n_maps; b++) {
        struct reg_map *map = &f->dev->maps[b];
        for (const struct reg *r = map->bank->regs; r->name; r++) {
            unsigned count = r->count ? r->count : 1, stride = r->stride ? r->stride : r->width;
            for (unsigned i = 0; i < count; i++) {
                char name[64];
                bool whole =
                    count > 1 && i == 0 && !strcmp(arg, r->name); /* an array without an index: all of it */
                if (!whole && strcmp(arg, reg_name_text(r, i, name, sizeof name)))
                    continue;
                f->map = map;
                f->first = r->offset + (uint64_t)i * stride;
                f->last = (whole ? r->offset + (uint64_t)(count - 1) * stride : f->first) + r->width - 1;
                return NULL;
            }
        }
    }
    return opts_say(".%s: %s has no such register (`vmlet info NAME regs %s` lists them)", arg, f->dev->id,
                    f->dev->id);
}

static const char *arg_direction(struct fault *f, const char *arg)
{
    f->write = !strcmp(arg, "w");
    return f->write || !strcmp(arg, "r") ? NULL : opts_say(".%s: r or w", arg);
}

static const char *arg_vector(struct fault *f, const char *arg)
{
    uint64_t vec;
    if (!isdigit((unsigned char)*arg) || opts_u64(arg, &vec) || vec >= PCI_MSIX_MAX)
        return opts_say(".%s: not an interrupt vector (0 to %d)", arg, PCI_MSIX_MAX - 1);
    f->vec = (unsigned)vec;
    return NULL;
}

bool fault_in_bar(const struct fault *f, const struct reg_map *map)
{
    const struct region *r = &map->region;
    while (r && r != f->region)
        r = r->parent;
    return r != NULL;
}

static const char *find_bar(struct fault *f, char digit)
{
    f->region = f->pci->bars[digit - '0'].region;
    if (!f->region)
        return opts_say("%s has no BAR %c", f->dev->id, digit);
    for (unsigned i = 0; i < f->dev->n_maps; i++)
        if (fault_in_bar(f, &f->dev->maps[i]))
            return NULL;
    return opts_say("%s has no registers in BAR %c that could be counted", f->dev->id, digit);
}

static const char *parse_event(struct fault *f, char *text, unsigned *allowed)
{
    char *arg = strchr(text, '.');
    size_t n = arg ? (size_t)(arg - text) : strlen(text);
    bool bar = n == 4 && !memcmp(text, "bar", 3) && text[3] >= '0' && text[3] <= '5';
    for (unsigned i = 0; i < EVENTS; i++) {
        bool is_bar = events[i].event == FAULT_BAR;
        if (is_bar ? !bar : strlen(events[i].name) != n || memcmp(text, events[i].name, n))
            continue;
        f->event = events[i].event;
        *allowed = events[i].actions;
        f->has_arg = arg != NULL;
        if (events[i].pci && !f->pci)
            return opts_say("%s is no PCI device", f->dev->id);
        const char *error = is_bar ? find_bar(f, text[3]) : NULL;
        return error ? error : arg ? events[i].arg(f, arg + 1) : NULL;
    }
    return opts_say("there is no event `%.*s` (read, write, look, bar0-bar5, dma, irq, link)", (int)n, text);
}

static const char *parse_action(struct fault *f, const char *text, unsigned allowed)
{
    const char *at = strchr(text, '@');
    if (!strcmp(text, actions[FAULT_COUNT])) {
        f->action = FAULT_COUNT;
        return NULL;
    }
    if (!at)
        return "which one? (ACTION@K: the K-th)";
    size_t n = (size_t)(at - text);
    unsigned i = 0;
    while (i < ACTIONS && (strlen(actions[i]) != n || memcmp(actions[i], text, n)))
        i++;
    if (i == ACTIONS)
        return opts_say("there is no action `%.*s` (drop, double, spurious, ones, fail, delay, flap, count)",
                        (int)n, text);
    if (i == FAULT_COUNT)
        return "count goes without @K";
    if (!(allowed & BIT(i)))
        return opts_say("%s does not go with that event", actions[i]);
    f->action = (enum fault_action)i;
    if (!isdigit((unsigned char)at[1]) || opts_u64(at + 1, &f->k) || f->k == 0)
        return opts_say("@%s: not a count (the first is @1)", at + 1);
    if (f->action == FAULT_DELAY && f->event == FAULT_DMA) {
        if (f->has_arg && !f->write)
            return "what is read from RAM cannot come late (dma.w)";
        f->has_arg = f->write = true;
    }
    bool all =
        f->action == FAULT_SPURIOUS || (f->action == FAULT_ONES && !(f->event == FAULT_READ && f->has_arg));
    return all && !f->pci ? opts_say("%s is no PCI device", f->dev->id) : NULL;
}

/* By its id, or by its class where it is the only one. */
static const char *find_device(struct fault *f, struct board *board, const char *name)
{
    unsigned n = 0;
    if ((f->dev = device_find(board, name)))
        return NULL;
    for (struct device *dev = board->devices; dev; dev = dev->next)
        if (!strcmp(dev->class->name, name)) {
            f->dev = dev;
            n++;
        }
    if (n == 1)
        return NULL;
    return n ? opts_say("there are %u devices of class %s: which one? (%s)", n, name, f->dev->id)
             : opts_say("there is no device `%s` (`vmlet info NAME qtree` lists them)", name);
}

const char *fault_parse(struct fault *f, struct board *board, const char *spec)
{
    char parts[3][PART];
    const char *at = spec, *error = NULL;
    unsigned allowed = 0;
    for (unsigned i = 0; i < 3 && !error; i++) {
        size_t n = strcspn(at, ":");
        if (n >= PART || (at[n] == ':') != (i < 2))
            error = "not ID:EVENT[.ARG]:ACTION@K (edu0:irq:drop@2)";
        else
            snprintf(parts[i], PART, "%.*s", (int)n, at);
        at += n + 1;
    }
    if (!error)
        error = find_device(f, board, parts[0]);
    if (!error) {
        f->spec = spec;
        f->pci = pci_device_of(f->dev);
        error = parse_event(f, parts[1], &allowed);
    }
    if (!error)
        error = parse_action(f, parts[2], allowed);
    return error ? opts_say("--fault %.100s: %s", spec, error) : NULL;
}
