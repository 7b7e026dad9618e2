"""What WFDB records must give: random and damaged ones, and their rows by the specification and by wfdb."""
