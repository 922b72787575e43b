# Look at a host once and print what is there: read-only, POSIX sh, one line a section.
# A line is "NAME BASE64": the content of a file can never be taken for another section.
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
UNIT=localai-llama-cpp.service
CONFIG=/etc/localai-deploy

section() { printf '%s %s\n' "$1" "$(base64 | tr -d '\n')"; }
file() { [ -r "$2" ] && section "$1" <"$2"; }

id -u | section uid
uname -n | section hostname
uname -m | section architecture
uname -r | section kernel
file os_release /etc/os-release
file meminfo /proc/meminfo
grep -m1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null | section cpu_flags
nproc 2>/dev/null | section cpu_count
getconf GNU_LIBC_VERSION 2>/dev/null | section libc
systemd-detect-virt 2>/dev/null | section virtualization
[ -d /run/systemd/system ] && echo yes | section systemd_running
systemctl --version 2>/dev/null | section systemd
python3 --version 2>&1 | section python

for path in /opt/localai-deploy /var/lib/localai-deploy; do
  there=$path
  while [ ! -d "$there" ]; do there=$(dirname "$there"); done
  printf '%s ' "$path"
  df -Pk "$there" 2>/dev/null | tail -n 1
done | section free

ss -Hltnp 2>/dev/null | section sockets
for pid in $(ss -Hltnp 2>/dev/null | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u); do
  printf '%s %s\n' "$pid" "$(tr '\n' ' ' <"/proc/$pid/cgroup" 2>/dev/null)"
done | section cgroups
systemctl list-units --all --plain --no-legend --type=service 2>/dev/null | awk '{print $1, $3, $4}' | section units
for program in ollama vllm llama-server koboldcpp lms local-ai localai tabbyapi aphrodite; do
  found=$(command -v "$program" 2>/dev/null) && printf '%s %s\n' "$program" "$found"
done | section binaries
for comm in /proc/[0-9]*/comm; do
  pid=${comm#/proc/}
  printf '%s %s\n' "${pid%/comm}" "$(cat "$comm" 2>/dev/null)"
done | section processes

systemctl show "$UNIT" -p LoadState -p ActiveState -p SubState -p MainPID -p NRestarts 2>/dev/null | section unit
pid=$(systemctl show "$UNIT" -p MainPID --value 2>/dev/null)
if [ "${pid:-0}" -gt 0 ] 2>/dev/null; then
  readlink "/proc/$pid/exe" 2>/dev/null | section unit_executable
  tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | section unit_command
fi

file deployment $CONFIG/deployment.json
file lock $CONFIG/locks/llama_cpp.json
file runtime $CONFIG/runtime.json
for path in $CONFIG/*.json $CONFIG/api-key $CONFIG/locks/*.json /usr/local/lib/localai-deploy/* \
  "/etc/systemd/system/$UNIT"; do
  [ -f "$path" ] || continue
  sum=""
  [ "$path" = $CONFIG/api-key ] || sum=$(sha256sum <"$path" 2>/dev/null | cut -d' ' -f1)
  printf '%s %s %s\n' "${sum:--}" "$(stat -c '%04a %s' "$path")" "$path"
done | section files

command -v python3 >/dev/null && python3 - <<'PYTHON' 2>/dev/null | section store
import glob, json, os

MODELS = "/var/lib/localai-deploy/models"


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
        return value if isinstance(value, dict) else {}
    except (OSError, ValueError):
        return {}


def size(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


packages = []
for path in sorted(glob.glob("/opt/localai-deploy/envs/llama_cpp/conda-meta/*.json")):
    record = read(path)
    packages.append({key: str(record.get(key) or "") for key in ("name", "version", "build", "sha256")})

names = set()
for name in os.listdir(MODELS) if os.path.isdir(MODELS) else []:
    if name.startswith("."):
        continue
    for suffix in (".json", ".part"):
        name = name[: -len(suffix)] if name.endswith(suffix) else name
    if name.endswith((".gguf", ".safetensors")):
        names.add(name)

models = []
for name in sorted(names):
    path = os.path.join(MODELS, name)
    record = read(path + ".json") if os.path.isfile(path) else {}
    models.append({
        "file_name": name,
        "size_bytes": size(path),
        "partial_bytes": size(path + ".part") if not os.path.isfile(path) else 0,
        "sha256": str(record.get("sha256") or ""),
        "reference": str(record.get("reference") or ""),
        "url": str(record.get("url") or ""),
        "revision": str(record.get("revision") or ""),
        "trusted_first_download": bool(record.get("trusted_first_download")),
    })

held = set()
try:
    with open("/proc/locks", encoding="ascii") as file:
        held = {int(line.split()[5].rsplit(":", 1)[1]) for line in file if "->" not in line}
except (OSError, ValueError, IndexError):
    pass
locks = ["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock"]
busy = any(os.path.exists(lock) and os.stat(lock).st_ino in held for lock in locks)

print(json.dumps({"packages": packages, "models": models, "apt_locked": busy}))
PYTHON
echo done | section end
