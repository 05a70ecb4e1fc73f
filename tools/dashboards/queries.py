"""Expressions that both dashboards ask for.

They hold for whole GPUs and for MIG instances: what an instance repeats of its GPU (power,
temperature) is taken once per GPU.
"""

GPUS = 'instance=~"$instance",gpu=~"$gpu"'
HOSTS = 'instance=~"$instance"'
UTILIZATION = (
    f"(max by (instance, gpu) (DCGM_FI_DEV_GPU_UTIL{{{GPUS}}}) / 100"
    f" or avg by (instance, gpu) (DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{GPUS}}}))"
)
POWER = f"max by (instance, gpu, modelName) (DCGM_FI_DEV_POWER_USAGE{{{GPUS}}})"
MARGIN = (
    f"(max by (instance, Hostname, hostname, gpu) (DCGM_FI_DEV_SLOWDOWN_TEMP{{{GPUS}}})"
    f" - max by (instance, Hostname, hostname, gpu) (DCGM_FI_DEV_GPU_TEMP{{{GPUS}}}))"
)
MEMORY = "sum%s (DCGM_FI_DEV_FB_USED{%s}) / sum%s (DCGM_FI_DEV_FB_TOTAL{%s})"
LOST = f"sum(1 - do_dcgm_exporter_gpu_up{{{GPUS}}})"
LOST_BY_HOST = f"sum by (instance) (1 - do_dcgm_exporter_gpu_up{{{GPUS}}})"
XID_AGE = f"time() - DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS{{{GPUS}}}"

ENTITY = "GPU {{gpu}} {{GPU_I_PROFILE}} {{GPU_I_ID}} {{hpc_job}}"
"""The legend of a whole GPU and of an instance, with its job if it has one."""
