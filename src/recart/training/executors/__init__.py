"""Where jobs run: this process, processes of this machine, a Ray cluster, SLURM."""
