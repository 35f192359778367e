# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# Traces, lint, faults and their files from outside, with a bare-metal driver of edu.

drive() { # WORDS...: standard error in err
    status "${want_status:-0}" "$vmlet" run -k "$edu_driver" -m 16 -c 1 --device exit --device edu "$@"
}

# words FILE: the operations of a trace without what differs from run to run, repetitions once
words() {
    sed -n 's/.*"op":"\([^"]*\)"\(.*\)}$/\1\2/p' "$1" | sed 's/,"\(space\|reg\|size\|dir\|addr\|len\|up\|cause\|led\|value\|error\|text\)":/ /g' | uniq
}

test_trace_file_has_every_word() {
    drive --trace edu,pci --trace-file trace
    words trace >got
    cat >want <<'END'
W "config" "COMMAND" 2 "0x6","bits":{"MEMORY":1,"MASTER":1}
R "ID" 4 "0x10000ed"
W "FACTORIAL" 4 "0x5"
R "STATUS" 4 "0x1","bits":{"COMPUTING":1}
R "STATUS" 4 "0x0","bits":{}
R "FACTORIAL" 4 "0x78"
W "INTR_RAISE" 4 "0x100","bits":{"DMA":1}
irq true "0x100" "INTx line 17"
R "INTR_STATUS" 4 "0x100","bits":{"DMA":1}
W "INTR_ACK" 4 "0x100","bits":{"DMA":1}
irq false "INTx line 17 down"
W "DMA_SRC" 4 "0x100000"
W "DMA_DST" 4 "0x40000"
W "DMA_CNT" 4 "0x40"
W "DMA_CMD" 4 "0x1","bits":{"RUN":1} "64 bytes 0x100000 -> 0x40000, from RAM"
R "DMA_CMD" 4 "0x1","bits":{"RUN":1}
dma "R" "0x100000" 64
R "DMA_CMD" 4 "0x0","bits":{}
W "STATUS","offset":1 1 "0x5","bits":{} "a size that it does not take"
END
    diff want got
    grep -q '^{"t":[0-9]*,"cpu":0,"pc":"0x4[0-9a-f]*","dev":"edu0","class":"edu","op":"R","reg":"ID"' trace
    [ "$(wc -l <trace)" = "$(grep -c '^ *[0-9]*\.[0-9]* ' err)" ] || { echo "the text has other lines than the file"; return 1; }
    if command -v python3 >/dev/null; then
        python3 -c 'import json, sys
for line in open("trace"):
    assert type(json.loads(line)) is dict' || { echo "no JSON"; return 1; }
    fi
}

# What a driver polls would scroll everything else away.
test_a_terminal_is_told_of_repetitions() {
    command -v script >script.path || { echo "no script"; exit 77; }
    timeout 60 script -qefc "'$vmlet' run -k $edu_driver -m 16 -c 1 --device exit --device edu --trace edu --trace-file trace" /dev/null \
        </dev/null | tr -d '\r' >seen
    [ "$(wc -l <seen)" -lt 40 ] || { echo "$(wc -l <seen) lines"; return 1; }
    again=$(sed -n 's/^ *[0-9.]* -     -                  the same \([0-9]*\) times more$/\1/p' seen | paste -sd+)
    [ $(($(wc -l <seen) - $(grep -c 'times more' seen) + $again)) = "$(wc -l <trace)" ] || { cat seen; return 1; }
}

test_trace_diff() {
    drive --trace edu --trace-file a
    drive --trace edu --trace-file b
    status 0 "$vmlet" trace-diff a b
    [ ! -s out ]
    drive --trace edu --trace-file c --fault edu0:dma:fail@1
    status 1 "$vmlet" trace-diff a c
    grep -q '^a:[0-9]*: .*"op":"dma"' out && grep -q '^c:[0-9]*: .*"op":"fault"' out
    status 2 "$vmlet" trace-diff a
    status 2 "$vmlet" trace-diff a nothing && line 'nothing: No such file'
}

test_lint_and_the_gate() {
    drive --lint
    line 'lint: edu0: a register access of a size that it does not take: W STATUS\+1/1=5, at 0x4[0-9a-f]* on cpu0'
    want_status=123
    drive --fail-on lint --result result
    result source=vmlet status=123 reason=gate
    grep -q '^detail=lint: edu0: a register access of a size .* (the guest.s status was 0)$' result
    want_status=0
    status 42 "$vmlet" run -k "$value" --device exit --device edu --fail-on lint # nothing to find
    want_status=125
    drive --fail-on lint,nonsense && line 'there is no `nonsense`'
}

test_faults() {
    want_status=1 # step 1: all ones instead of the identity
    drive --fault edu0:read.ID:drop@1
    want_status=2
    drive --fault edu0:read.FACTORIAL:ones@1
    want_status=3
    drive --fault edu0:write.INTR_RAISE:drop@1
    want_status=0
    drive --fault edu0:irq:drop@1 --trace edu
    grep -q 'edu0 fault: edu0:irq:drop@1$' err
    drive --fault edu0:irq:drop@2 && line 'fault: edu0:irq:drop@2: it did not come to that \(1 such'
    want_status=125
    drive --fault edu0:irq:drop && line '^vmlet: --fault edu0:irq:drop: which one\?'
    drive --fault net0:link:flap@1 && line '^vmlet: --fault net0:link:flap@1: there is no device `net0`'
    drive --fault "$(printf 'edu0:\033[31m:drop@1')" && line 'there is no event .\?\[31m'
}

test_trace_words_that_are_wrong() {
    want_status=125
    drive --trace nonsense && line '^vmlet: --trace nonsense: no such device or kind \(.*edu0.* pci irq dma mem all\)$'
    drive --trace-file x && line '^vmlet: --trace-file: nothing is traced'
    drive --trace edu --trace-file /nowhere/x && line '^vmlet: --trace-file /nowhere/x: No such file'
    drive --trace edu --trace-file . && line '^vmlet: --trace-file .: Is a directory'
}

# S3 for traces: a full disk, a reader that goes away, and one that never reads; none holds the guest up.
test_S3_traces_nobody_takes() {
    drive --trace edu --trace-file /dev/full
    grep -q '^vmlet: --trace-file /dev/full: No space left on device' err
    mkfifo fifo
    (exec 3<fifo; head -n 1 <&3 >first; exec 3<&-) &
    drive --trace edu --trace-file fifo
    wait $!
    grep -q '"reg":"ID"' first
    (exec 3<fifo; exec sleep 30) &
    reader=$!
    drive --trace edu --trace-file fifo
    kill $reader
    wait $reader || : # it is the last one
    want_status=125
    drive --trace edu --trace-file fifo --timeout 1 && line 'fifo: nobody opened the FIFO for reading'
    "$vmlet" run -k "$edu_driver" -m 16 -c 1 --device exit --device edu --trace edu --trace-file fifo 2>err &
    guest=$!
    sleep 0.5
    kill -TERM $guest
    ended 143
}

test_info_stats_and_map_changes() {
    guest t "$idle" --device edu
    status 0 "$vmlet" info t stats
    grep -qx edu0: out && grep -qx machine: out
    status 0 "$vmlet" info t stats edu0
    [ "$(cat out)" = edu0: ]
    status 1 "$vmlet" info t stats nobody
    status 0 "$vmlet" info t mtree
    grep -q '^map changes of memory: 0$' out
    status 0 "$vmlet" stop t
    ended 123
}
