"""Measurements that write rows and a page: accuracy, evaluation, throughput."""
