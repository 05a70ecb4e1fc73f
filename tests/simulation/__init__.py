"""The exporter under faults, in one process and in virtual time: every run follows its seed.

The rooms are the real ones: service, agent, supervisor, publisher, sessions, collectors,
telemetry, forwarder and its attempts, and the simulated engine behind NVIDIA's calls. Only
what they stand on is made here: clocks, threads, the wire to the engine, sockets to the
endpoint. One scheduler lets one of them run at a time and decides every order by the seed.

    python -m tests.simulation --seeds 10000        many schedules, each with other faults
    python -m tests.simulation --seed 4711          one of them again, with its trace
"""
