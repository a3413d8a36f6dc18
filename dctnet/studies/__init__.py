"""Measurements that write rows and a page: accuracy, throughput."""
