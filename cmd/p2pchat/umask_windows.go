package main

// closeFiles has nothing to do: files inherit the access list of the user's own
// directory.
func closeFiles() {}
