/* SPDX-License-Identifier: MIT
 *
 * What a kernel was built with, as its configuration file says: config-RELEASE or config beside the image, the .config of the tree
 * that the image lies in, /boot/config-RELEASE. (A configuration inside the image, IKCONFIG, is gzip in any case, and is not
 * looked at.)
 *
 * The file is a hint for people and nothing else: none, or one that cannot be read or is not of an x86 kernel, is no error.
 * Any thread that may block.
 */
#ifndef GUEST_KCONFIG_H
#define GUEST_KCONFIG_H

#include <stddef.h>
#include <stdint.h>

struct kconfig;

enum kconfig_value {
    KCONFIG_NO, /* not set, or not in the file: something that it depends on is not set */
    KCONFIG_MODULE,
    KCONFIG_YES, /* or a number, a string */
};

/* release may be "". NULL: there is none. */
struct kconfig *kconfig_find(const char *kernel, const char *release) __attribute__((warn_unused_result));
struct kconfig *kconfig_open(const char *path) __attribute__((warn_unused_result));
/* From text; name as the path. For tests. */
struct kconfig *kconfig_open_data(const char *name, const void *text, size_t n)
    __attribute__((warn_unused_result));
void kconfig_free(struct kconfig *k);
const char *kconfig_path(const struct kconfig *k);

/* Without the CONFIG_. */
enum kconfig_value kconfig_get(const struct kconfig *k, const char *option);
/* A number's value; 0 where there is none. */
uint64_t kconfig_number(const struct kconfig *k, const char *option);

#endif
