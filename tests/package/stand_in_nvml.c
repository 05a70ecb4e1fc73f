/* A stand-in for NVIDIA's libnvidia-ml.so.1: one GPU, one process.
 *
 * The file STATE holds the process and its memory in bytes. */
#include <stdio.h>
#include <string.h>

struct process {
    unsigned int pid;
    unsigned long long used_memory;
    unsigned int gpu_instance, compute_instance;
};

static struct process known = {0, 0, 0xFFFFFFFF, 0xFFFFFFFF};

int nvmlInit_v2(void)
{
    FILE *state = fopen(STATE, "r");
    int found = state ? fscanf(state, "%u %llu", &known.pid, &known.used_memory) : 0;

    if (state)
        fclose(state);
    return found == 2 ? 0 : 9;
}

int nvmlShutdown(void)
{
    return 0;
}

const char *nvmlErrorString(int status)
{
    return status == 9 ? "Driver Not Loaded" : "Not Found";
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **device)
{
    *device = &known;
    return strcmp(bus_id, "0000:1b:00.0") ? 6 : 0;
}

int nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned int *count, struct process *list)
{
    if (device != &known || *count < 1)
        return 7;
    *list = known;
    *count = 1;
    return 0;
}

int nvmlDeviceGetGraphicsRunningProcesses_v2(void *device, unsigned int *count, struct process *list)
{
    (void)device, (void)list;
    *count = 0;
    return 0;
}

int nvmlDeviceGetMPSComputeRunningProcesses_v2(void *device, unsigned int *count, struct process *list)
{
    (void)device, (void)count, (void)list;
    return 3;
}
