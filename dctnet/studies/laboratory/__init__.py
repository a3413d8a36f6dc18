"""Frequency laboratory: which frequencies a network learns first, relies on, and detects.

A study is a module or package with a function that is its command. It opens a network as a
:class:`~dctnet.studies.laboratory.subject.Subject`, measures in units that a
:class:`~dctnet.studies.laboratory.study.Study` runs and records, and writes its page with
:func:`~dctnet.studies.laboratory.page.write_study`.
"""
