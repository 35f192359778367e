// SPDX-License-Identifier: MIT
#include "guest/classes.h"

#include "devices/edu.h"
#include "devices/platform.h"

const struct device_class *const device_classes[] = {
    &edu_class,       /* PCI 1234:11e8 */
    &exit_class,      /* port 0xf8 */
    &debugexit_class, /* port 0xf4 */
    &rtc_class,       /* in every machine: named for its options */
    NULL,
};
