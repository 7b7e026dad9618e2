"""Heart beats in ECG leads and pulses in pressure and pleth waves: where they are, how sure that is, what follows."""
