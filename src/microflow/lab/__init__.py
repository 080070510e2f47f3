"""Laboratory: trials in new processes, offered load, statistics, results in PostgreSQL, bundles, reproduction.

It knows experiments by their contract (`microflow.lab.experiment`) and never by name. A trial's target is a function
``target(config) -> result``, both JSON. Of its result, lists of numbers are stored as raw sample series of that name,
everything else as metrics. Every target keeps these conventions:

=================== =================================================================================================
``samples``         the positive measurements that arms are compared by, in order, warm-up included
``data_checksum``   says what was read; equal for all arms of a block that share ``config["data_type"]``
``output_checksum`` says what was computed, where arms must compute the same
``evidence``        what the purity guard saw of each pass; without it a trial is not shown to be pure
=================== =================================================================================================

Nothing is imported here: a trial's process loads its target's module, and what that needs, and no more.
"""
