"""What is on this machine: units, commands, processes, containers, the engine."""
