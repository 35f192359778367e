// SPDX-License-Identifier: MIT
#include "kvm/host/log.h"

int main(void)
{
    die("no verb is built in yet");
}
