// SPDX-License-Identifier: MIT
#include "guest/classes.h"

#include "mem/device.h"

#include "devices/edu.h"
#include "devices/platform.h"

const struct device_class *const device_classes[] = {
    &edu_class, &exit_class, &debugexit_class, &rtc_class, /* in every machine: named for its options */
    NULL,
};
