"""Find out who uses the GPUs: a root oneshot beside the exporter, off by default.

driver and nvml look at the GPUs, workloads and containers at processes; grouping sums up, and
collector writes the file.
"""
