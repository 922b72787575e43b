# Look at a node's PCI devices and at how it boots: read-only, POSIX sh, one line a section, as observe.sh does.
# Devices are read with the shell's own means, without a process for each value.
main() {
export LC_ALL=C PATH="$PATH:/usr/sbin:/usr/bin:/sbin:/bin"
PCI=/sys/bus/pci

encode() { base64 | tr -d '\n'; }
section() { printf '%s %s\n' "$1" "$(head -c 1048576 | encode)"; }
file() { [ -f "$2" ] && [ -r "$2" ] && section "$1" <"$2"; }
value() { read_value=""; [ -r "$1" ] && IFS= read -r read_value <"$1" 2>/dev/null; printf '%s' "$read_value"; }

printf '\n'
echo 1 | section begin
id -u | section uid
uname -r | section kernel
file cmdline /proc/cmdline
file meminfo /proc/meminfo
head -n 40 /proc/cpuinfo 2>/dev/null | section cpu
file iomem /proc/iomem

for device in $PCI/devices/*; do
  [ -e "$device" ] || continue
  printf '%s' "${device##*/}"
  for name in class vendor device subsystem_vendor subsystem_device boot_vga driver_override reset_method; do
    printf '|'
    value "$device/$name"
  done
  printf '|'
  while IFS= read -r line; do printf '%s,' "$line"; done 2>/dev/null <"$device/resource"
  printf '\n'
done 2>/dev/null | section pci
for entry in /sys/kernel/iommu_groups/*/devices/*; do
  group=${entry#/sys/kernel/iommu_groups/}
  [ -e "$entry" ] && printf '%s %s\n' "${entry##*/}" "${group%%/*}"
done | section groups
for entry in $PCI/drivers/*/*:*:*.*; do
  driver=${entry%/*}
  [ -e "$entry" ] && printf '%s %s\n' "${entry##*/}" "${driver##*/}"
done | section drivers

file boot_uuids /etc/kernel/proxmox-boot-uuids
file kernel_cmdline /etc/kernel/cmdline
grub=/boot/grub/grub.cfg
[ -r $grub ] && sed -n 's/^[[:space:]]*linux[[:space:]]\{1,\}//p' $grub | sed -n 1p | section grub
od -An -tx1 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c 2>/dev/null \
  | section secure_boot
sed -n 's/^bind \([0-9a-f:.]*\) .*/\1/p' /etc/initramfs-tools/scripts/init-top/localai_vfio 2>/dev/null \
  | section prepared
echo 1 | section end
}
main </dev/null
