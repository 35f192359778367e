// SPDX-License-Identifier: MIT
#include "guest/drivers.h"

#include <string.h>

static const struct {
    const char *class, *modules[4];
} table[] = {
    {"virtio-rng",     {"virtio_pci", "virtio_rng"}                },
    {"virtio-blk",     {"virtio_pci", "virtio_blk"}                },
    {"virtio-console", {"virtio_pci", "virtio_console"}            },
    {"virtio-balloon", {"virtio_pci", "virtio_balloon"}            },
    {"virtio-net",     {"virtio_pci", "virtio_net"}                },
    {"virtio-fs",      {"virtio_pci", "virtiofs"}                  },
    {"virtio-vsock",   {"virtio_pci", "vmw_vsock_virtio_transport"}},
    {"e1000",          {"e1000"}                                   },
};

void drivers_add_module(struct drivers *d, const char *module)
{
    for (size_t i = 0; i < d->n; i++)
        if (!strcmp(d->names[i], module))
            return;
    if (d->n < DRIVERS_MAX)
        d->names[d->n++] = module;
}

void drivers_add(struct drivers *d, const char *class)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].class, class))
            for (const char *const *m = table[i].modules; *m; m++)
                drivers_add_module(d, *m);
}
