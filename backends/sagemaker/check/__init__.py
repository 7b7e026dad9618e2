"""What only an account shows: the smallest jobs that settle what AWS does not document."""
