"""What a support person needs of a machine, in one file and without its secrets."""
