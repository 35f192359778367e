// SPDX-License-Identifier: MIT
/* `vmlet balloon`, and what a balloon knows for `vmlet stat -m`: see include/guest/balloon.h. */
#include "guest/balloon.h"

#include "guest/machine_priv.h"
#include "kvm/host/ctl.h"
#include "kvm/host/opts.h"
#include "mem/ram.h"
#include "virtio/balloon.h"

#include <inttypes.h>
#include <string.h>

static const char usage[] = "balloon takes +MIB (from the guest), -MIB (back to it), or MIB (so much in all)";
static const char none[] = "this guest has no balloon (start it with --balloon)";

static const struct {
    const char *name, *letter; /* lkvm's */
    char sign;
} words[] = {
    {"--inflate", "-i", '+'},
    {"--deflate", "-d", '-'},
};

/* Its sign, or 0: so much in all. */
static const char *parse(int argc, char **argv, char *sign, uint64_t *mib)
{
    const char *text = argv[argc - 1];
    *sign = 0;
    if (argc == 2) {
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (!strcmp(argv[0], words[i].name) || !strcmp(argv[0], words[i].letter))
                *sign = words[i].sign;
        if (!*sign)
            return usage;
    } else if (*text == '+' || *text == '-') {
        *sign = *text++;
    }
    const char *error = opts_u64(text, mib);
    return error ? ctl_say("balloon %.40s: %s; %s", text, error, usage) : NULL;
}

static void print(struct machine *m, struct device *dev, FILE *out)
{
    struct balloon_state s;
    virtio_balloon_state(dev, &s);
    fprintf(out, "balloon  %" PRIu64 " MiB of %" PRIu64 " MiB, %" PRIu64 " MiB asked for%s\n", s.actual / MIB,
            m->ram->size / MIB, s.wanted / MIB, s.running ? "" : " (the guest has no driver for it)");
}

const char *balloon_verb(struct machine *m, int argc, char **argv, FILE *out)
{
    struct device *dev = device_of_class(&m->board, &balloon_class);
    struct balloon_state s;
    uint64_t mib, size = m->ram->size / MIB;
    char sign;
    if (!dev)
        return none;
    if (!argc) {
        print(m, dev, out);
        return NULL;
    }
    const char *error = argc > 2 ? usage : parse(argc, argv, &sign, &mib);
    if (error)
        return error;
    virtio_balloon_state(dev, &s);
    uint64_t before = s.wanted / MIB;
    if (sign == '-' ? mib > before : mib > size - (sign ? before : 0))
        return ctl_say("the balloon has %" PRIu64 " MiB of the guest's %" PRIu64, before, size);
    virtio_balloon_set(dev, (sign == '+' ? before + mib : sign ? before - mib : mib) * MIB);
    return NULL;
}

bool balloon_memory(struct machine *m, FILE *out)
{
    struct device *dev = device_of_class(&m->board, &balloon_class);
    struct balloon_state s;
    uint64_t age;
    if (!dev)
        return true;
    if (!virtio_balloon_stats(dev, &age) && !m->hold.by)
        return false;
    print(m, dev, out);
    virtio_balloon_state(dev, &s);
    fprintf(out, "         %" PRIu64 " KiB were freed by it, %" PRIu64 " KiB reported free by the guest\n",
            s.freed >> 10, s.reported >> 10);
    if (age == UINT64_MAX) {
        fputs("guest    does not say what its memory is used for\n", out);
        return true;
    }
    fprintf(out, "guest    what it says of its memory%s\n",
            age < SECOND ? "" : " (it does not answer; before that:)");
    virtio_balloon_print(dev, out);
    return true;
}
