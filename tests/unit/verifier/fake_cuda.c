/* A stand-in for libcuda.so.1: one device, and the proof's kernel computed by the processor.
   FAKE_CUDA chooses what is wrong: wrong-words, no-kernel, crash, hang, no-device, init-fails. */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is(const char *fault) {
    const char *chosen = getenv("FAKE_CUDA");
    return chosen && strcmp(chosen, fault) == 0;
}

int cuInit(unsigned flags) {
    if (is("crash")) kill(getpid(), SIGKILL);
    if (is("hang")) sleep(60);
    return is("init-fails") ? 100 : flags != 0;
}

int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuDeviceGetCount(int *count) { *count = is("no-device") ? 0 : 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }

int cuDeviceGetUuid(unsigned char *uuid, int device) {
    static const unsigned char bytes[16] = {0x6b, 0x7e, 0x11, 0xba, 0x7c, 0x31, 0x4d, 0x0e,
                                            0x9a, 0x51, 0x3f, 0x5d, 0xd2, 0xa1, 0xc0, 0xde};
    memcpy(uuid, bytes, 16);
    return device;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 24080ull << 20; return device; }
int cuDeviceGetPCIBusId(char *id, int size, int device) {
    strncpy(id, "0000:01:00.0", size);
    return device;
}
int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, "NVIDIA GeForce RTX 4090", size);
    return device;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : -1;
    return device;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)1; return device; }
int cuDevicePrimaryCtxRelease_v2(int device) { return device; }
int cuCtxSetCurrent(void *context) { return context == NULL; }
int cuCtxSynchronize(void) { return 0; }

int cuModuleLoadData(void **module, const char *image) {
    *module = (void *)2;
    return is("no-kernel") || strstr(image, ".target sm_50") == NULL ? 209 : 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    *function = (void *)3;
    return module == NULL || strcmp(name, "generate") != 0;
}
int cuMemAlloc_v2(void **memory, size_t bytes) { return (*memory = calloc(1, bytes)) == NULL; }
int cuMemFree_v2(void *memory) { free(memory); return 0; }
int cuMemcpyDtoH_v2(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); return 0; }

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
    uint32_t *out = *(uint32_t **)arguments[0];
    uint32_t seed = *(uint32_t *)arguments[1], count = *(uint32_t *)arguments[2];
    uint32_t rounds = *(uint32_t *)arguments[3];
    if (function == NULL || gy * gz * by * bz != 1 || shared || stream || extra || gx * bx < count) return 1;
    if (is("wrong-words")) return 0;
    for (uint32_t index = 0; index < count; index++) {
        uint32_t value = index + seed;
        for (uint32_t round = 0; round < rounds; round++) value = value * 1664525u + 1013904223u;
        out[index] = value;
    }
    return 0;
}
