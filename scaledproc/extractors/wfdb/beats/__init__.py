"""Heart beats in ECG leads and pulses in pressure and pleth waves: where they are, how sure that is, what follows.

Both are found by one method in two stages. In ECG leads it is the detector of Hamilton and Tompkins (IEEE Trans Biomed
Eng 1986, 33:1157-1165, doi:10.1109/TBME.1986.325695) in Hamilton's open-source form (Computers in Cardiology 2002,
29:101-104, doi:10.1109/CIC.2002.1166717). In pulse waves the first stage is the slope sum function of Zong, Heldt,
Moody and Mark (Computers in Cardiology 2003, 30:259-262, doi:10.1109/CIC.2003.1291140), and the second is the same.
`filtering`, `decision` and `quality` tell what was changed, and why.
"""
