// SPDX-License-Identifier: MIT
#include "guest/classes.h"

#include "devices/e1000.h"
#include "devices/edu.h"
#include "devices/ivshmem.h"
#include "devices/platform.h"
#include "devices/testdev.h"
#include "virtio/net.h"
#include "virtio/blk.h"
#include "virtio/fs.h"
#include "virtio/rng.h"

const struct device_class *const device_classes[] = {
    &e1000_class,       /* PCI 8086:100e */
    &edu_class,         /* PCI 1234:11e8 */
    &ivshmem_class,     /* PCI 1af4:1110 */
    &pci_testdev_class, /* PCI 1b36:0005 */
    &pc_testdev_class,  /* ports 0xe0-0xeb, 0x2000-0x2017, memory 0xff000000 */
    &blk_class,         /* PCI 1af4:1042 */
    &rng_class,         /* PCI 1af4:1044 */
    &fs_class,          /* PCI 1af4:105a */
    &exit_class,        /* port 0xf8 */
    &debugexit_class,   /* port 0xf4 */
    &rtc_class,         /* in every machine: named for its options */
    &virtio_net_class,  /* PCI 1af4:1041 */
    NULL,
};
