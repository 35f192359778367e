// SPDX-License-Identifier: MIT
#include "guest/classes.h"

/* A line a device: the name of its NAME_class. */
#define DEVICE_CLASSES(ENTRY)                                                                                \
    ENTRY(e1000)       /* PCI 8086:100e */                                                                   \
    ENTRY(edu)         /* PCI 1234:11e8 */                                                                   \
    ENTRY(ivshmem)     /* PCI 1af4:1110 */                                                                   \
    ENTRY(pci_testdev) /* PCI 1b36:0005 */                                                                   \
    ENTRY(pc_testdev)  /* ports 0xe0-0xeb, 0x2000-0x2017, memory 0xff000000 */                               \
    ENTRY(blk)         /* PCI 1af4:1042 */                                                                   \
    ENTRY(vconsole)    /* PCI 1af4:1043 */                                                                   \
    ENTRY(rng)         /* PCI 1af4:1044 */                                                                   \
    ENTRY(balloon)     /* PCI 1af4:1045 */                                                                   \
    ENTRY(fs)          /* PCI 1af4:105a */                                                                   \
    ENTRY(exit)        /* port 0xf8 */                                                                       \
    ENTRY(debugexit)   /* port 0xf4 */                                                                       \
    ENTRY(rtc)         /* in every machine: named for its options */                                         \
    ENTRY(virtio_net)  /* PCI 1af4:1041 */                                                                   \
    ENTRY(vsock)       /* PCI 1af4:1053 */

#define DECLARE(name) extern const struct device_class name##_class;
#define LIST(name)    &name##_class,
DEVICE_CLASSES(DECLARE)

const struct device_class *const device_classes[] = {DEVICE_CLASSES(LIST) NULL};
