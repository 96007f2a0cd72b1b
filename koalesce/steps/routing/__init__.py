"""What programs that speak BGP say of themselves: commands that ask, and readers of their answers."""
