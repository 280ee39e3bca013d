"""What a process does with the memory of freed tensors."""

import multiprocessing
import resource
import sys

import pytest

from maml_cli.core.machine import keep_memory

LARGE = 40_000_000
"""Bytes; the C library gives back at once what is larger than 32 MiB."""


def page_faults():
    """How often the system had to find memory for what was just freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        _ = b"x" * LARGE
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def kept_and_not(answers):
    given_back = page_faults()
    keep_memory()
    page_faults()
    answers.put((given_back, page_faults()))


@pytest.mark.skipif(sys.platform != "linux", reason="it is for the C library of Linux")
def test_freed_memory_is_kept():
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    process = fork.Process(target=kept_and_not, args=(answers,))
    process.start()
    given_back, kept = answers.get()
    process.join()
    assert given_back >= 3 * LARGE / resource.getpagesize() / 512  # at the least, of huge pages
    assert kept <= 5
