"""What a run takes in hours and dollars, before and after."""
