"""dctnet validate and test: accuracy of each class, confusions, calibration, worst images; as tables and a page."""
