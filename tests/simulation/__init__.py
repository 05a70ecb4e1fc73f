"""The exporter under faults, in one process and in virtual time; a seed determines each run.

The rooms are real: service, agent, supervisor, publisher, sessions, collectors, the
exporter's own metrics, forwarder, and the simulated engine behind NVIDIA's calls. Only what
they stand on is replaced: clocks, threads, the wire to the engine, sockets to the endpoint.
A scheduler runs one thread at a time and decides every order by the seed.

    python -m tests.simulation --seeds 10000        many schedules, each with other faults
    python -m tests.simulation --seed 4711          one of them again, with its trace
"""
