# SPDX-License-Identifier: MIT
# vmlet: `make` builds ./vmlet; `make help` lists the rest.
#   STATIC=1              a static binary            SAN=address,undefined | thread   sanitizers
#   DEBUG=1               assertions on lock order   CC=clang                         another compiler
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
comma  := ,
B      := build/$(notdir $(CC))$(subst $(comma),-,$(SAN:%=-%))$(STATIC:%=-static)$(DEBUG:%=-debug)

CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -Iinclude -I. -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes \
	-Wstrict-prototypes -Wpointer-arith -Wwrite-strings -fno-strict-aliasing -fno-common -pthread $(CFLAGS)
ALL_LDFLAGS := -pthread $(LDFLAGS)
ifdef SAN
ALL_CFLAGS  += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer -DSANITIZED=1
ALL_LDFLAGS += -fsanitize=$(SAN)
DEBUG := 1
endif
ifdef DEBUG
ALL_CFLAGS += -DDEBUG=1
endif
ifdef STATIC
ALL_LDFLAGS += -static
endif

LIB_SRC  := $(wildcard kvm/*.c kvm/host/*.c mem/*.c pci/*.c devices/*.c net/*.c virtio/*.c guest/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$B/%.o) $(patsubst %.S,$B/%.o,$(wildcard guest/*.S))
UNIT_SRC := $(wildcard tests/unit/*.c)
UNIT     := $(UNIT_SRC:tests/unit/%.c=$B/unit/%)

.DEFAULT_GOAL := all
.PHONY: all vmlet unit test soak lint bench run install help clean
all: vmlet

vmlet: $B/vmlet # of whatever kind was asked for last
	@cmp -s $< $@ || { cp -f $< $@.tmp && mv -f $@.tmp $@; }

$B/vmlet: $B/main.o $B/libvmlet.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^

$B/libvmlet.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$B/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The in-guest init: static, without libc, and the same in every kind of build (no sanitizer, no -O0).
INIT_CFLAGS := -std=gnu11 -Os -ffreestanding -fno-builtin -fno-stack-protector -fno-pie -fno-pic \
	-fno-asynchronous-unwind-tables -fno-strict-aliasing -mno-sse -Iinclude -Wall -Wextra -Wshadow -Wmissing-prototypes
$B/guest/init.elf: $(wildcard guest/init/*.c guest/init/*.h) include/guest/init_proto.h Makefile
	@mkdir -p $(@D)
	$(CC) $(INIT_CFLAGS) $(filter -Werror,$(CFLAGS)) -nostdlib -static -Wl,--build-id=none \
		-Wl,-z,noseparate-code -Wl,-z,max-page-size=4096 -s -o $@ $(filter %.c,$^)

$B/guest/init_blob.o: guest/init_blob.S $B/guest/init.elf
	$(CC) -c -DINIT_ELF='"$B/guest/init.elf"' -o $@ $<

$B/unit/%: $B/tests/unit/%.o $B/libvmlet.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^

# Programs of the tests' own that run in guests.
TOOLS = build/tools/netpeer build/tools/netfoe build/tools/fsops build/tools/kexec
build/tools/netpeer: tests/bench/netpeer.c
build/tools/fsops: tests/linux/fsops.c
build/tools/netfoe: tests/linux/netfoe.c
build/tools/kexec: tests/linux/kexec.c
$(TOOLS):
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -static -o $@ $<

unit: $(UNIT) ## build and run the unit tests
	@tests/unit/run $(UNIT)

test: all $(TOOLS) ## all tests: unit, bare-metal guests, Linux guests
	@tests/deps || true
	@MAKE="$(MAKE)" tests/run

soak: all $(TOOLS) ## all tests, with fifty times the work where they count
	@tests/deps soak || true
	@tests/own-kernels || true
	@TEST_SCALE=50 TEST_TIMEOUT=3600 TEST_SLOW=10 MAKE="$(MAKE)" tests/run

lint: ## layers, format, static checks
	@tests/lint/run

bench: all $(TOOLS) ## measure; tests/bench/README.md says what and how
	@tests/bench/run

run: all ## boot a Debian kernel with a short check
	@tests/tryout

install: all ## install vmlet, its manual page and bash completion (PREFIX=/usr/local)
	install -D -m 755 vmlet $(DESTDIR)$(PREFIX)/bin/vmlet
	@mkdir -p $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	./vmlet help man >$(DESTDIR)$(PREFIX)/share/man/man1/vmlet.1
	./vmlet help completion >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/vmlet

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' Makefile

clean: ## remove what was built
	rm -rf build vmlet

-include $(shell find $B -name '*.d' 2>/dev/null)
