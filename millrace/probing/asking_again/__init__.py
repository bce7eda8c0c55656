"""What a run asked, put to another model; what its model answered, judged by another judge."""
