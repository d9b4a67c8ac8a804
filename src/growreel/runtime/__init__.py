"""What knows of the machine: processes, files, memory, arithmetic, random draws."""
