"""Where jobs run: in this process, in processes of this machine."""
