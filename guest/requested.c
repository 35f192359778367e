// SPDX-License-Identifier: MIT
#include "guest/requested.h"

#include "guest/classes.h"
#include "guest/drivers.h"
#include "guest/machine.h"
#include "kvm/host/ctl.h"
#include "guest/share.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"

#include <string.h>
#include <unistd.h>

#define VSOCK_SUFFIX ".vsock"

/* `FILE,ro,direct` is `file=FILE,ro,direct`. */
static const char *disk_spec(const char *text)
{
    return opts_say("file=%s", text);
}

/* `CID[,path=SOCKET]` is `cid=CID,path=SOCKET`; without a path it is beside the control socket. NULL: err has a sentence. */
static const char *vsock_spec(const struct machine_options *o, char *err, size_t err_size)
{
    const char *error, *path;
    if (strstr(o->vsock, ",path="))
        return opts_say("cid=%s", o->vsock);
    path = ctl_beside(o->name ? o->name : opts_say("guest-%ld", (long)getpid()), VSOCK_SUFFIX, &error);
    if (!path)
        snprintf(err, err_size, "--vsock: %s", error);
    return path ? opts_say("cid=%s,path=%s", o->vsock, path) : NULL;
}

static bool build_vsock(const struct machine_options *o, struct board *board, char *err, size_t err_size)
{
    const char *spec = o->vsock ? vsock_spec(o, err, err_size) : NULL;
    return !o->vsock || (spec && device_new(board, &vsock_class, NULL, spec, err, err_size));
}

bool requested_build(const struct machine_options *o, struct board *board, char *err, size_t err_size)
{
    if (o->console == CONSOLE_VIRTIO &&
        !device_new(board, &vconsole_class, REQUESTED_HVC, "terminal", err, err_size))
        return false;
    for (size_t i = 0; i < o->disks.n; i++)
        if (!device_new(board, &blk_class, NULL, disk_spec(o->disks.v[i]), err, err_size))
            return false;
    if (!share_build(o, board, err, err_size))
        return false;
    for (size_t i = 0; i < o->devices.n; i++)
        if (!device_add(board, device_classes, o->devices.v[i], err, err_size))
            return false;
    if (o->balloon && !device_new(board, &balloon_class, NULL, NULL, err, err_size))
        return false;
    if (!build_vsock(o, board, err, err_size))
        return false;
    return !o->rng || device_new(board, &rng_class, NULL, NULL, err, err_size);
}

void requested_drivers(const struct machine_options *o, struct drivers *d)
{
    if (o->console == CONSOLE_VIRTIO)
        drivers_add(d, vconsole_class.name);
    if (o->disks.n)
        drivers_add(d, blk_class.name);
    for (size_t i = 0; i < o->devices.n; i++) {
        const char *rest;
        drivers_add(d, opts_first(o->devices.v[i], &rest));
    }
    share_drivers(o, d);
    if (o->vsock)
        drivers_add(d, vsock_class.name);
    if (o->balloon)
        drivers_add(d, balloon_class.name);
    if (o->rng)
        drivers_add(d, rng_class.name);
}
