# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# What a new device takes: one file and one line. It is done here, with lamp.c and the line ENTRY(lamp), and the device is used.

test_a_new_device_is_one_file_and_one_line() {
    lib=$top/build/gcc/libvmlet.a
    [ -e "$lib" ] && [ -e "${lib%/*}/main.o" ] || { echo "no $lib (make)"; return 77; }
    sed '/^#define DEVICE_CLASSES/a\    ENTRY(lamp) /* the line */ \\' "$top/guest/classes.c" >classes.c
    [ "$(diff "$top/guest/classes.c" classes.c | grep -c '^[<>]')" = 1 ]
    $cc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wmissing-prototypes -Werror -pthread -I"$top" -I"$top/include" -o vmlet-lamp \
        "${lib%/*}/main.o" classes.c "$top/tests/cli/lamp.c" "$lib"
    cat >lamp.S <<'END'
#include "bare.inc"
#include "pci.inc"
    find 0x10f01af4
    command (COMMAND_MEMORY | COMMAND_MASTER)
    mov 0x10(%esi), %ebx
    step
    cmpl $0x1a3b, (%ebx)
    fail_if ne
    cmpl $100, 8(%ebx)
    fail_if ne
    step
    movl $2, 4(%ebx)
    movl $7, 4(%ebx)         /* it blinks: locked */
1:  cmpl $1, 4(%ebx)
    jne 1b
    cmpl $1, 12(%ebx)
    fail_if ne
    movl $1, 12(%ebx)
    movb $1, 8(%ebx)
    pass
END
    $cc -m32 -I"$top/tests/bare" -nostdlib -static -no-pie -Wl,-Ttext=0x400000,--build-id=none,-z,noexecstack,-n -o lamp lamp.S 2>log
    ./vmlet-lamp run --device help >help
    grep -q 'lamp .*a lamp that blinks' help
    ./vmlet-lamp run --device lamp,help >help
    grep -q 'watts=N .*how bright' help
    grep -q 'addr=SLOT' help
    status 125 ./vmlet-lamp run -k lamp --device lamp,volts=5
    status 0 ./vmlet-lamp run -k lamp -m 16 -c 1 --console none --device exit --device lamp,watts=40 --trace lamp --lint
    for l in 'lamp0 R ID=0x1a3b' 'lamp0 W CTL=2 BLINKS' 'lamp0 W CTL=7 ON BLINKS refused: locked' 'lamp0 R CTL=1 ON' 'lamp0 IRQ' \
        'lamp0 W SEEN=1' 'lamp0 IRQ -> INTx line 17 down' 'lint: lamp0: '; do
        grep -q "$l" err || { echo "no $l"; cat err; return 1; }
    done
    [ "$(wc -l <"$top/tests/cli/lamp.c")" -le 70 ]
}
