# SPDX-License-Identifier: MIT
# virtio-balloon with Debian's own driver, worked by `vmlet balloon` and `vmlet stat -m`.

balloon_is() { # MIB
    vmlet balloon bal | grep -q "^balloon  $1 MiB of 256 MiB, "
}
guest_free_mib() {
    vmlet stat bal -m | awk '$1 == "free" { print int($2 / 1024) }'
}
reported_mib() {
    vmlet stat bal -m | awk '/reported free/ { print int($7 / 1024) }'
}
test_virtio_balloon() { # 240 s
    mkfifo lines
    exec 4<>lines
    vmlet run -k "$CLOUD" -m 256 -n mode=none --balloon --name bal -- sh -c 'mkdir /m; mount -t tmpfs -o size=200m none /m; echo ready; read line
        dd if=/dev/zero of=/m/f bs=1M count=64 2>/dev/null; rm /m/f; echo freed; read line
        dd if=/dev/zero of=/m/f bs=1M count=130 2>/dev/null && echo enough; read line' <lines >out 2>err &
    pid=$!
    wait_for 60 grep -q ready out
    vmlet stat bal -m >stat.log
    expect_match stat.log '^         total  *[12][0-9]* KiB$'
    expect_match stat.log '^         available  *[0-9]* KiB$'
    before=$(guest_free_mib)
    expect "$before" -gt 100
    vmlet balloon bal +64
    wait_for 60 balloon_is 64
    expect "$(guest_free_mib)" -lt $((before - 50))
    vmlet balloon bal -i 16 # as lkvm has it
    wait_for 60 balloon_is 80
    vmlet balloon bal -d 60
    wait_for 60 balloon_is 20
    vmlet balloon bal 0
    wait_for 60 balloon_is 0
    status=0
    vmlet balloon bal +300 2>refused.log || status=$?
    expect_status 1
    expect_match refused.log 'the balloon has 0 MiB of the guest'"'"'s 256'
    # what the guest frees is the host's again, without a balloon
    reported=$(reported_mib)
    echo >&4
    wait_for 60 grep -q freed out
    enough() { [ "$(reported_mib)" -ge $((reported + 40)) ]; }
    wait_for 60 enough
    # a guest that runs out of memory takes its own back
    vmlet balloon bal 120
    wait_for 60 balloon_is 120
    echo >&4
    wait_for 60 grep -q enough out
    vmlet balloon bal >taken.log
    expect "$(awk '{ print $2 }' taken.log)" -lt 120
    echo >&4
    wait $pid
}
