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

for path in /opt/localai-deploy /var/lib/localai-deploy; do
  there=$path
  while [ ! -d "$there" ]; do there=${there%/*}; there=${there:-/}; done
  printf '%s ' "$path"
  df -Pk "$there" 2>/dev/null | tail -n 1
done | section free

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

record deployment $CONFIG/deployment.json
record lock $CONFIG/locks/llama_cpp.json
record runtime $CONFIG/runtime.json
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
echo 1 | section end
}
main </dev/null
