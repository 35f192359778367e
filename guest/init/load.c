// SPDX-License-Identifier: MIT
/* Kernel modules, in the order of the command file: what one needs comes before it (guest/modules.c sorted
 * them). One that was asked for by name and does not load ends the run: a test of a driver that is not there
 * has no result. */
#include "sys.h"

const char *last_part(const char *path)
{
    const char *name = path;
    for (; *path; path++)
        if (*path == '/')
            name = path + 1;
    return name;
}

int load_modules(const struct command *cmd, char *text, size_t size)
{
    for (uint32_t i = 0; i < cmd->modules; i++) {
        const char *path = cmd->module[2 * i], *params = cmd->module[2 * i + 1];
        bool optional = *path == COMMAND_MODULE_OPTIONAL;
        long fd = SYS(open, path + optional, O_RDONLY | O_CLOEXEC);
        long error = fd < 0 ? fd : SYS(finit_module, fd, params, 0);
        if (fd >= 0)
            SYS(close, fd);
        if (error >= 0 || error == -EEXIST || optional)
            continue;
        text_join(text, size, "module ", last_part(path), ": ",
                  error == -ENOSYS ? "this kernel loads no modules" : text_error(error),
                  error == -ENOEXEC || error == -ENOENT || error == -EINVAL ? " (the kernel's log says more)"
                                                                            : "",
                  NULL);
        return 125;
    }
    return 0;
}
