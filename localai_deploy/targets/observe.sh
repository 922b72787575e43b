# Look at a host once and print what is there: read-only, POSIX sh, one line a section.
# A line is "NAME BASE64": the content of a file can never be taken for another section. Whatever
# login scripts print lies before "begin"; without "end" the look was cut short.
main() {
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"
UNIT=localai-llama-cpp.service
CONFIG=/etc/localai-deploy
MODELS=/var/lib/localai-deploy/models
PACKAGES=/opt/localai-deploy/envs/llama_cpp/conda-meta

encode() { base64 | tr -d '\n'; }
section() { printf '%s %s\n' "$1" "$(encode)"; }
file() { [ -f "$2" ] && [ -r "$2" ] && head -c 1048576 "$2" | section "$1"; }
# What is there of NVIDIA, and what the package sources have for it; asked only where there is a card.
nvidia() {
  for device in /sys/bus/pci/devices/*; do
    grep -qs '^0x10de$' "$device/vendor" || continue
    ( cd "$device" && printf '%s ' "${device##*/}" && cat class vendor device subsystem_vendor subsystem_device |
        tr '\n' ' '; printf '%s\n' "$(readlink driver)" )
  done 2>/dev/null | section nvidia_devices
  file nvidia_module /proc/driver/nvidia/version
  ls -1 /lib/modules/"$(uname -r)"/build/Makefile 2>/dev/null | section kernel_headers
  ls -1 /var/lib/apt/lists 2>/dev/null | grep -c '_Packages' | section apt_lists
  # 8be4df61-…: EFI's own variables; four bytes of attributes, then the value.
  od -An -t u1 -j 4 -N 1 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c 2>/dev/null |
    section secure_boot
  for key in /var/lib/dkms/mok.pub /var/lib/shim-signed/mok/MOK.der; do
    [ -f "$key" ] && mokutil --test-key "$key" 2>&1
  done | section secure_boot_keys
  dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\n' '*nvidia*' libcuda1 'cuda-drivers*' 2>/dev/null |
    section nvidia_packages
  running=$(uname -r | sed 's/[.+]/\\&/g') # in a pattern: Debian's kernels have a plus
  names=$(apt-cache pkgnames 2>/dev/null | grep -E "^(libcuda1|nvidia-(open-)?kernel-(open-)?dkms|nvidia-driver-cuda\
|nvidia-tesla-[0-9]+-kernel-dkms|nvidia-dkms(-[0-9]+)?(-server)?(-open)?|libnvidia-compute(-[0-9]+)?(-server)?\
|linux-modules-nvidia-[0-9]+(-server)?(-open)?-$running|linux-headers-$running)\$")
  # shellcheck disable=SC2086 # one word a package
  [ -z "$names" ] || apt-cache madison $names 2>/dev/null | section nvidia_offers
  [ -e /dev/dxg ] && echo yes | section dxg
  [ -x /usr/lib/wsl/lib/nvidia-smi ] && /usr/lib/wsl/lib/nvidia-smi \
    --query-gpu=pci.device_id,driver_version --format=csv,noheader 2>/dev/null | section wsl_cards
}

# What only WSL has; its drives of Windows are looked at for the user's own settings of WSL.
wsl() {
  file wsl_conf /etc/wsl.conf
  timeout 5 wslpath -w / 2>/dev/null | section wsl_root
  [ -d /usr/lib/wsl/lib ] && echo yes | section wsl_libraries
  disk_of /opt/localai-deploy $MODELS | section wsl_places
  sed -nE 's/^([A-Za-z]:|drvfs)[^ ]* ([^ ]+) .*/\2/p' /proc/mounts | while read -r drive; do
    for config in "$drive"/Users/*/.wslconfig; do
      [ -r "$config" ] && printf '%s %s\n' "$(printf %s "$config" | encode)" "$(head -c 65536 "$config" | encode)"
    done
  done | section wsl_configs
}
# A record that is there but cannot be read is told as an empty one.
record() { file "$@" || { { [ -e "$2" ] || [ -L "$2" ]; } && section "$1" </dev/null; }; }

printf '\n'
echo 1 | section begin
id -u | section uid
uname -n | section hostname
uname -m | section architecture
uname -r | section kernel
file os_release /etc/os-release
file meminfo /proc/meminfo
grep -m 1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null | section cpu_flags
nproc 2>/dev/null | section cpu_count
getconf GNU_LIBC_VERSION 2>/dev/null | section libc
systemd-detect-virt 2>/dev/null | section virtualization
file kernel_version /proc/version
[ -d /run/systemd/system ] && echo yes | section systemd_running
systemctl --version 2>/dev/null | section systemd
python3 --version 2>&1 | section python

disk_of() { # the file system that each path lies on, or would
  for path in "$@"; do
    there=$path
    while [ ! -d "$there" ]; do there=${there%/*}; there=${there:-/}; done
    printf '%s ' "$path"
    df -Pk "$there" 2>/dev/null | tail -n 1
  done
}
disk_of /opt/localai-deploy /var/lib/localai-deploy /etc /tmp /usr /var | section free
if grep -qsi microsoft /proc/version || [ -e /dev/dxg ]; then wsl; fi

sockets=$(ss -Hltnp 2>/dev/null) && printf '%s\n' "$sockets" | section sockets
[ -n "$sockets" ] || cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | section proc_net
for pid in $(printf '%s\n' "$sockets" | grep -o 'pid=[0-9]*' | cut -d = -f 2 | sort -u); do
  printf '%s %s\n' "$pid" "$(tr '\n' ' ' 2>/dev/null <"/proc/$pid/cgroup")"
done | section cgroups

ls -1 /etc/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system \
  /run/systemd/generator /run/systemd/transient 2>/dev/null | grep '\.service$' | sort -u | section units
for program in ollama vllm llama-server koboldcpp lms local-ai tabbyapi aphrodite sglang \
  text-generation-launcher llamafile; do
  found=$(command -v "$program" 2>/dev/null) && printf '%s\n' "$found"
done | section binaries
ls -1d /opt/[Ll][Mm]*[Ss]tudio* /home/*/.lmstudio /root/.lmstudio 2>/dev/null | section directories
separator=$(printf '\037') # of arguments; later ones may hold keys and stay where they are
( cd /proc && grep -alsiE 'ollama|vllm|llama|kobold|studio|local-?ai|tabby|aphrodite|sglang|text-generation' \
    [0-9]*/cmdline ) | while read -r cmdline; do
  printf '%s\t%s\t%s\n' "${cmdline%/*}" "$(readlink "/proc/${cmdline%/*}/exe")" \
    "$(tr '\000\n\t' '\037  ' <"/proc/$cmdline" 2>/dev/null | cut -d "$separator" -f 1-4 | head -c 2000)"
done 2>/dev/null | section processes

unit=$(systemctl show "$UNIT" -p LoadState -p ActiveState -p SubState -p MainPID -p NRestarts 2>/dev/null)
printf '%s\n' "$unit" | section unit
pid=$(printf '%s\n' "$unit" | sed -n 's/^MainPID=//p')
if [ "${pid:-0}" -gt 0 ] 2>/dev/null; then
  readlink "/proc/$pid/exe" 2>/dev/null | section unit_executable
  tr '\000' '\n' 2>/dev/null <"/proc/$pid/cmdline" | section unit_command
  [ -n "$sockets" ] || { echo "$UNIT"; readlink "/proc/$pid/fd"/* 2>/dev/null; } | section unit_sockets
fi

gateway=localai-gateway.service
if [ -e "/etc/systemd/system/$gateway" ] || [ -d $CONFIG/gateway ] || [ -d /opt/localai-deploy/gateway ]; then
  systemctl show "$gateway" -p LoadState -p ActiveState -p SubState -p MainPID -p NRestarts 2>/dev/null | section gateway
fi

grep -qs '^0x10de$' /sys/bus/pci/devices/*/vendor || [ -e /dev/dxg ] && nvidia
record driver $CONFIG/driver.json
record deployment $CONFIG/deployment.json
record lock $CONFIG/locks/llama_cpp.json
record runtime $CONFIG/runtime.json
record fit $CONFIG/fit.json
for path in $CONFIG/*.json $CONFIG/api-key $CONFIG/locks/*.json /usr/local/lib/localai-deploy/* \
  "/etc/systemd/system/$UNIT" "/etc/systemd/system/$UNIT.d"/*.conf; do
  [ -f "$path" ] || continue
  sum=""
  [ "$path" = $CONFIG/api-key ] || sum=$(sha256sum 2>/dev/null <"$path" | cut -d ' ' -f 1)
  printf '%s %s %s\n' "${sum:--}" "$(stat -L -c '%04a %s' "$path")" "$(printf %s "$path" | encode)"
done | section files

( cd $PACKAGES 2>/dev/null &&
  grep -HE '^(  |    )"(name|version|build|sha256)": "[^"\\]*",?$' ./*.json ) 2>/dev/null | section packages
find -L $MODELS -maxdepth 1 -type f -printf '%s %f\000' 2>/dev/null | section models
for path in $MODELS/*.json; do
  [ -f "$path" ] || continue
  printf '%s %s\n' "$(printf %s "${path##*/}" | encode)" "$(head -c 65536 "$path" | encode)"
done | section records

for path in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock; do
  inode=$(stat -c %i "$path" 2>/dev/null) && grep -E "^[0-9]+: [^-].*:$inode " /proc/locks
done 2>/dev/null | section apt_locks
# Half installed, unpacked or half configured, or in need of reinstallation; and what dpkg left in its journal.
{ dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | sed -nE 's/^.([HUF].|.R) (.*)/\2/p' | head -n 10
  ls -1 /var/lib/dpkg/updates 2>/dev/null | sed -nE '1s/^[0-9]+$/dpkg was interrupted/p'
} | tr '\n' ' ' | section packages_broken
echo 1 | section end
}
main </dev/null
