"""dctnet lab spectral-bias: the order in which a network learns the frequencies of a function (Rahaman et al. 2019).

targets.py makes the functions, training.py learns them and records each frequency, perturbation.py moves the learned
parameters, labels.py puts noise on the labels of digits, results.py condenses the rows, and report.py writes the page.
"""
