// SPDX-License-Identifier: MIT
/* As whom files are made. As root, a thread becomes the guest's user for the one call that makes a file: then the owner, the
 * group of a setgid folder, default ACLs and quotas are what the host's kernel makes of them, at once, and no name is looked
 * at twice (a chown after the fact would be of whatever the name stands for by then). It keeps its capabilities, since it is the
 * guest's kernel that says who may do what, and it knows groups that are not in the request. All of this is the thread's own
 * in Linux (setfsuid(2), capset(2)); so is the umask, once the thread has left the process's by unshare(CLONE_FS). Where that
 * is forbidden (containers do it) the process's umask stays, and the guest's is taken from the mode before the host's kernel
 * sees it: then a folder's default ACL does not outdo it. */
#include "virtio/fuse_priv.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local bool own_fs;
static _Thread_local mode_t old_mask;

static bool caps(long call, uint64_t value[2])
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)value[0],         (uint32_t)value[1],         0},
        {(uint32_t)(value[0] >> 32), (uint32_t)(value[1] >> 32), 0}
    };
    if (syscall(call, &header, data) < 0)
        return false;
    value[0] = (uint64_t)data[1].effective << 32 | data[0].effective;
    value[1] = (uint64_t)data[1].permitted << 32 | data[0].permitted;
    return true;
}

bool fuse_id_init(struct fuse_server *s)
{
    uint64_t need = 0;
    static const uint8_t list[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
                                   CAP_FSETID, CAP_SETUID,       CAP_SETGID};
    for (unsigned i = 0; i < sizeof list; i++)
        need |= UINT64_C(1) << list[i];
    s->root = geteuid() == 0 && caps(SYS_capget, s->caps) && (s->caps[0] & need) == need;
    return s->root;
}

static void back(const struct fuse_call *c)
{
    if (c->h.uid)
        setfsuid(0); /* gives the file capabilities back, too */
    if (c->h.gid)
        setfsgid(0);
}

int fuse_id_enter(const struct fuse_call *c, unsigned mask, mode_t *mode)
{
    if (!own_fs)
        own_fs = unshare(CLONE_FS) == 0;
    if (c->s->root && (c->h.uid || c->h.gid)) {
        uint64_t value[2] = {c->s->caps[0], c->s->caps[1]};
        if (c->h.gid)
            setfsgid(c->h.gid);
        if (c->h.uid)
            setfsuid(c->h.uid);
        /* They do not say whether they did: an id that is no id here (a user namespace). */
        if ((uint32_t)setfsgid((gid_t)-1) != c->h.gid || (uint32_t)setfsuid((uid_t)-1) != c->h.uid ||
            (c->h.uid && !caps(SYS_capset, value))) {
            back(c);
            return -EPERM;
        }
    }
    if (own_fs)
        old_mask = umask(mask & 0777);
    else
        *mode &= ~(mode_t)(mask & 0777);
    return 0;
}

void fuse_id_leave(const struct fuse_call *c)
{
    if (own_fs)
        umask(old_mask);
    if (c->s->root && (c->h.uid || c->h.gid))
        back(c);
}
