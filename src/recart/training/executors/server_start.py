"""Imported first by the server of processes: Python's collector rests while the rest is imported.

Its passes over all that was imported so far find nothing, and take a third of the time. Each
process that the server forks turns it on again, after it has set the imported things apart. This is
a module that does something when it is imported, as a server of processes knows no other way to be
told anything before it begins.
"""

import gc
import sys

if any("multiprocessing.forkserver" in own for own in sys.orig_argv):
    gc.disable()
