"""A program that does nothing: started to find out how well this kernel confines."""
