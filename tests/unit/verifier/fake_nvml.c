/* A stand-in for libnvidia-ml.so.1: one card; its energy and utilisation rise while FAKE_NVML_BUSY exists.
   FAKE_NVML chooses what is wrong: mismatch, no-energy, old (before version 3 of the process list), wsl. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct { unsigned pid; unsigned long long used; unsigned gpu, compute; } process;
typedef struct { unsigned pid; unsigned long long used; } old_process;
typedef struct { char legacy[16]; unsigned domain, bus, device, ids, subsystem; char bus_id[32]; } pci;

static int is(const char *fault) {
    const char *chosen = getenv("FAKE_NVML");
    return chosen && strcmp(chosen, fault) == 0;
}
static int busy(void) {
    const char *file = getenv("FAKE_NVML_BUSY");
    return file && access(file, F_OK) == 0;
}
static unsigned pid(void) { return getenv("FAKE_NVML_PID") ? atoi(getenv("FAKE_NVML_PID")) : 4242; }

int nvmlInit_v2(void) { return is("mismatch") ? 18 : 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "550.163.01", size); return 0; }
int nvmlSystemGetNVMLVersion(char *text, unsigned size) {
    strncpy(text, is("mismatch") ? "12.535.261.03" : "12.550.163.01", size);
    return 0;
}
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = (void *)7; return (int)index; }
int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
    strncpy(text, "GPU-6b7e11ba-7c31-4d0e-9a51-3f5dd2a1c0de", size);
    return handle != (void *)7;
}
int nvmlDeviceGetName(void *handle, char *text, unsigned size) {
    strncpy(text, "NVIDIA GeForce RTX 4090", size);
    return handle != (void *)7;
}
int nvmlDeviceGetPciInfo_v3(void *handle, pci *found) {
    memset(found, 0, sizeof *found);
    found->bus = 1;
    found->ids = 0x268410de;
    strcpy(found->bus_id, "00000000:01:00.0");
    return handle != (void *)7;
}
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *found) {
    found[0] = 24564ull << 20, found[2] = 702ull << 20, found[1] = found[0] - found[2];
    return handle != (void *)7;
}
int nvmlDeviceGetUtilizationRates(void *handle, unsigned *found) {
    found[0] = busy() ? 61 : 0, found[1] = 0;
    return handle != (void *)7;
}
static unsigned power(void) { return busy() ? 74000 : 21500; }
static double energy(void) {
    static double total;
    static struct timespec last;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (last.tv_sec) total += power() * (now.tv_sec - last.tv_sec + (now.tv_nsec - last.tv_nsec) / 1e9);
    last = now;
    return total;
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
    *millijoules = (unsigned long long)energy();
    return is("no-energy") ? 3 : handle != (void *)7;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    energy();
    *milliwatts = power();
    return handle != (void *)7;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process *found) {
    if (is("old") || handle != (void *)7) return 13;
    *count = 1;
    found[0] = (process){pid(), is("wsl") ? ~0ull : 702ull << 20, ~0u, ~0u};
    return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v2(void *handle, unsigned *count, process *found) {
    return handle != (void *)7 || count == NULL || found == NULL || is("old") ? 13 : 0;
}
int nvmlDeviceGetComputeRunningProcesses(void *handle, unsigned *count, old_process *found) {
    *count = 1;
    found[0] = (old_process){pid(), 640ull << 20};
    return handle != (void *)7;
}
