"""ACPI: write a topology as the tables a kernel boots from; read the tables of a machine as a topology."""
