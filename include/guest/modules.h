/* SPDX-License-Identifier: MIT
 *
 * Which kernel modules the guest is to load, in which order: those asked for, each after what it depends on. A module
 * is a file (--module ./drv.ko) or a name that is looked up in the module folder of the kernel; what it depends on stands in its own
 * .modinfo section (`depends=`), so no depmod is needed: modules.dep, where there is one, only spares the walk through the folder.
 *
 * Set-up only, any thread. Module files are untrusted (include/guest/elfdyn.h).
 */
#ifndef GUEST_MODULES_H
#define GUEST_MODULES_H

#include <stdbool.h>
#include <stddef.h>

struct modules_item {
    char *name; /* as in lsmod */
    char *host_path;
    void *unpacked; /* the module, where the file is compressed; NULL: the file is it */
    size_t size;    /* of that */
    char *params;   /* "a=1 b=2", "" if none */
    bool optional;  /* only the machine's devices wanted it */
};

struct modules {
    struct modules_item *items; /* in the order of loading */
    size_t count;
    char error[512]; /* a sentence, when a call failed */
    struct modules_index *index;
};

/* dir: the module folder, NULL if there is none. release: what the modules' vermagic must begin with, NULL: not known. */
void modules_init(struct modules *m, const char *dir, const char *release);
void modules_free(struct modules *m);

/* NAME|FILE[,param=value…]; a part after a comma without `=` belongs to the parameter before it (array=1,2). A name that
 * is built into the kernel is fine and adds nothing. */
bool modules_add(struct modules *m, const char *spec);
/* A name that would be useful: left out, with what it depends on, when it is not there, and with a warning when it is there but
 * cannot be used (for another kernel, or compressed and there is no tool). */
void modules_want(struct modules *m, const char *name);

/* The module folder that belongs to a kernel image: from the image's own place (../lib/modules/RELEASE beside /boot, a
 * kernel tree around arch/x86/boot), else /lib/modules/RELEASE. malloc()ed; NULL if there is none. Either may be NULL. */
char *modules_find_dir(const char *kernel_path, const char *release);

#endif
