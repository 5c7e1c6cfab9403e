#!/bin/busybox sh
# shellcheck shell=dash
# The test guest whose file system is frozen: it writes a number to a file system on its disk, again and again, and says
# on the console which number is on disk, and when. The guest agent runs beside it.
busybox=/bin/busybox
$busybox mount -t proc none /proc
$busybox mount -t sysfs none /sys
$busybox mount -t devtmpfs none /dev
while read -r module; do $busybox insmod "$module"; done </modules/order
until [ -b /dev/vda ] && port=$($busybox grep -l guest_agent /sys/class/virtio-ports/*/name); do $busybox sleep 0.2; done
$busybox mount -t ext4 /dev/vda /mnt || echo 'frozen: no file system'
port=/dev/$($busybox basename "$($busybox dirname "$port")")
/usr/sbin/qemu-ga -m virtio-serial -p "$port" -t /run -f /run/qemu-ga.pid </dev/null >/dev/console 2>&1 &
number=0
while :; do
    number=$((number + 1))
    echo $number >/mnt/number.new && $busybox mv /mnt/number.new /mnt/number && $busybox sync
    read -r up _ </proc/uptime
    echo "frozen: $number at $up" >/dev/console
    $busybox sleep 0.1
done
