"""One model divided over several processes (tensor parallel), on one host or several: starting them, meeting, sharing out weights."""
