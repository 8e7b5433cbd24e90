#!/bin/busybox sh
# The guest's first process: mounts, modules, then the plan. What it says on the second serial line is read by
# xtask/src/vm/transcript.rs; the kernel's own words are on the first.
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/bin HOME=/ TMPDIR=/tmp RUST_BACKTRACE=0
export NODEWALL_VM=1 NODEWALL_REQUIRE_ROOT=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
# Nothing is mounted on /tmp or /run: all is memory already.
mount -t bpf bpf /sys/fs/bpf
exec </dev/null >/dev/ttyS1 2>&1
say() { echo "NODEWALL-VM $*"; }
while read -r module; do
    insmod "/modules/$module" || say "module $module could not be loaded"
done </modules/order
ip link set lo up
say "boot $(uname -r) $(cut -d' ' -f1 /proc/uptime)"
if [ -d /guest ]; then
    # A disk with a Debian: its systemd becomes the first process, and runs the plan by a unit (tests/vm/systemd/plan.service).
    mount -t ext4 /dev/vda /system
    if [ ! -e /system/plan.done ]; then
        cp -a /guest/. /system/
        cp /plan /plan.sh /system/
        cp -a /tests /system/
    fi
    umount /sys/fs/bpf /sys /proc
    exec switch_root /system /sbin/init
fi
exec sh /plan.sh
